"""Who hears of a training while it runs: a protocol, and a listener that ignores everything.

Listening is best effort. A listener that raises is dropped with one warning; the training and its
outputs do not change.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

from clarity.layout import Training


class Listener(Protocol):
    """What ``train`` tells, in this order."""

    def started(self, provenance: Mapping[str, Any]) -> None:
        """Training begins or resumes; ``provenance`` is what provenance.json will hold."""

    def epoch(self, row: Mapping[str, float], images_per_second: float) -> None:
        """An epoch ended; ``row`` is the row of curves.csv. Epochs before a resume come again."""

    def picture(self, epoch: int, path: Path) -> None:
        """A grid of reconstructions lies at ``path`` (PNG) for as long as the call lasts."""

    def finished(self, training: Training) -> None:
        """Every output of the training is in its place."""


class NullListener:
    """Hears nothing."""

    def started(self, provenance: Mapping[str, Any]) -> None:
        """Ignored."""

    def epoch(self, row: Mapping[str, float], images_per_second: float) -> None:
        """Ignored."""

    def picture(self, epoch: int, path: Path) -> None:
        """Ignored."""

    def finished(self, training: Training) -> None:
        """Ignored."""


class BestEffort:
    """Passes on to ``listener`` until it raises; then warns once on stderr and falls silent."""

    def __init__(self, listener: Listener) -> None:
        self._listener: Listener = listener

    def started(self, provenance: Mapping[str, Any]) -> None:
        """See `Listener.started`."""
        self._try(lambda listener: listener.started(provenance))

    def epoch(self, row: Mapping[str, float], images_per_second: float) -> None:
        """See `Listener.epoch`."""
        self._try(lambda listener: listener.epoch(row, images_per_second))

    def picture(self, epoch: int, path: Path) -> None:
        """See `Listener.picture`."""
        self._try(lambda listener: listener.picture(epoch, path))

    def finished(self, training: Training) -> None:
        """See `Listener.finished`."""
        self._try(lambda listener: listener.finished(training))

    def _try(self, tell: Callable[[Listener], None]) -> None:
        try:
            tell(self._listener)
        except Exception as error:
            first = (str(error).splitlines() or [""])[0]
            reason = f"{type(error).__name__}: {first}"
            print(f"clarity: the training goes on without its mirror: {reason}", file=sys.stderr)
            self._listener = NullListener()
