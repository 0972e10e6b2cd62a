"""Epochs said aloud, for whoever follows a training through a pipe: a flow's progress artifact."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from clarity.layout import Training
from clarity.params import load_params
from clarity.train.listener import Listener

#: Set by the flows for the stages that they run.
FLOW_RUN = "CLARITY_FLOW_RUN_ID"


def announced(listener: Listener, model: str) -> Listener:
    """``listener``, with a line an epoch where a flow listens; else as it is, and quiet."""
    if not os.environ.get(FLOW_RUN):
        return listener
    return _Announced(listener, load_params().recipe(model).epochs)


class _Announced:
    """Prints ``epoch 3/60: validation MSE 0.01234`` and passes everything on."""

    def __init__(self, listener: Listener, epochs: int) -> None:
        self._listener = listener
        self._epochs = epochs

    def started(self, provenance: Mapping[str, Any]) -> None:
        self._listener.started(provenance)

    def epoch(self, row: Mapping[str, float], images_per_second: float) -> None:
        number = int(row["epoch"])
        print(f"epoch {number}/{self._epochs}: validation MSE {row['val_mse']:.5f}", flush=True)
        self._listener.epoch(row, images_per_second)

    def picture(self, epoch: int, path: Path) -> None:
        self._listener.picture(epoch, path)

    def finished(self, training: Training) -> None:
        self._listener.finished(training)
