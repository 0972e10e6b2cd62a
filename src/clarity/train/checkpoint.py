"""Checkpoints: one safetensors file, written atomically, under the training's fingerprint.

They lie outside DVC's outputs, which DVC deletes before a stage runs. Tensors are the network's,
its running average's, the optimisers' and the best of each budget; the rest is JSON in the file's
header. Nothing of a random generator is kept: every draw comes from a seed of (training seed,
epoch, batch).
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from clarity.files import atomic_path
from clarity.layout import CHECKPOINTS

#: At most about this share of the time goes into saving.
SAVING_SHARE = 0.05


@dataclass
class State:
    """How far a training has come."""

    #: Optimiser steps taken.
    step: int = 0
    #: Seconds of training, without saving, over all its starts.
    seconds: float = 0.0
    #: Rows of curves.csv so far, and images a second in each.
    rows: list[dict[str, float]] = field(default_factory=list)
    speeds: list[float] = field(default_factory=list)
    #: By budget: the epoch after which its weights were best so far, and their validation MSE.
    best: dict[str, tuple[float, float]] = field(default_factory=dict)


class Checkpoint:
    """The checkpoint of one training, saved now and then, resumed from, deleted at the end.

    Args:
        fingerprint: of the training; another one never finds this checkpoint.
    """

    def __init__(self, fingerprint: str) -> None:
        self.directory = CHECKPOINTS / fingerprint
        self._path = self.directory / "checkpoint.safetensors"
        self._saved = time.monotonic()
        self._cost = 0.0

    @property
    def due(self) -> bool:
        """Whether enough time has passed since the last save for another to cost little."""
        return time.monotonic() - self._saved > self._cost / SAVING_SHARE

    def save(
        self,
        state: State,
        network: torch.nn.Module,
        averaged: torch.nn.Module,
        optimizers: Sequence[torch.optim.Optimizer],
        best: Mapping[str, Mapping[str, Tensor]],
    ) -> None:
        """Replace the checkpoint by this state."""
        started = time.monotonic()
        tensors = {f"network/{name}": value for name, value in network.state_dict().items()}
        tensors |= {f"averaged/{name}": value for name, value in averaged.state_dict().items()}
        for which, optimizer in enumerate(optimizers):
            for number, slots in optimizer.state_dict()["state"].items():
                place = f"optimizer-{which}/{number}"
                tensors |= {f"{place}/{slot}": value for slot, value in slots.items()}
        # Budgets that are still open share their best weights: written once, under the first name.
        owner = {id(best[budget]): budget for budget in reversed(list(best))}
        for budget in owner.values():
            tensors |= {f"best/{budget}/{name}": value for name, value in best[budget].items()}
        with atomic_path(self._path) as temporary:
            save_file(
                {name: value.cpu().contiguous() for name, value in tensors.items()},
                temporary,
                metadata={
                    "state": json.dumps(asdict(state)),
                    "best": json.dumps({name: owner[id(one)] for name, one in best.items()}),
                },
            )
        self._saved = time.monotonic()
        self._cost = self._saved - started

    def resume(
        self,
        network: torch.nn.Module,
        averaged: torch.nn.Module,
        optimizers: Sequence[torch.optim.Optimizer],
    ) -> tuple[State, dict[str, dict[str, Tensor]]] | None:
        """Fill networks and optimisers; the state and each budget's best weights, or None.

        A file that cannot be read counts as none: the training starts again.
        """
        try:
            with safe_open(self._path, framework="pt") as file:
                state = State(**json.loads(file.metadata()["state"]))
                owner = json.loads(file.metadata()["best"])
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        except (FileNotFoundError, SafetensorError, ValueError, KeyError, TypeError):
            return None
        network.load_state_dict(_part(tensors, "network"))
        averaged.load_state_dict(_part(tensors, "averaged"))
        for which, optimizer in enumerate(optimizers):
            _fill(optimizer, _part(tensors, f"optimizer-{which}"))
        kept = {name: _part(tensors, f"best/{name}") for name in set(owner.values())}
        return state, {budget: kept[name] for budget, name in owner.items()}

    def delete(self) -> None:
        """Remove the checkpoint and whatever lies beside it."""
        shutil.rmtree(self.directory, ignore_errors=True)


def _fill(optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    parameters = [value for group in optimizer.param_groups for value in group["params"]]
    slots: dict[int, dict[str, Any]] = {}
    for name, value in tensors.items():
        number, slot = name.split("/")
        parameter = parameters[int(number)]
        # The moments take their parameter's order in memory, which the file does not keep.
        same = value.shape == parameter.shape and slot != "step"
        filled = torch.empty_like(parameter).copy_(value) if same else value
        slots.setdefault(int(number), {})[slot] = filled
    groups = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict({"state": slots, "param_groups": groups})


def _part(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    start = f"{prefix}/"
    return {
        name.removeprefix(start): value for name, value in tensors.items() if name.startswith(start)
    }
