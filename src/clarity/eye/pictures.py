"""The pictures of a deck: what the pool's models make of the items."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from clarity.evaluate.images import Images
from clarity.eye.draw import Trial
from clarity.layout import Training
from clarity.models.base import Autoencoder, to_images, to_input
from clarity.models.build import load

Picture = NDArray[np.uint8]


@dataclass(frozen=True)
class Shown:
    """The pictures of one trial, uint8 H×W×3; no middle where there is nothing to compare with."""

    left: Picture
    middle: Picture | None
    right: Picture


def reconstructions(trials: Sequence[Trial], images: Images, split: str, size: int) -> list[Shown]:
    """Originals between their reconstructions, 64×64 pixels each."""
    wanted: dict[Training, set[int]] = {}
    for trial in trials:
        for side in (trial.left, trial.right):
            wanted.setdefault(side, set()).add(trial.item.place)
    made: dict[tuple[Training, int], Picture] = {}
    for training in sorted(wanted, key=lambda t: t.name):
        network = load(training.directory).to(images.device)
        rows = np.array(sorted(wanted[training]), dtype=np.int64)
        rebuilt = [_through(network, batch) for batch in images.chunks(split, rows, size)]
        made |= {
            (training, int(row)): picture
            for row, picture in zip(rows, np.concatenate(rebuilt), strict=True)
        }
    originals = images.arrays[split, 0]
    return [
        Shown(
            made[trial.left, trial.item.place],
            np.array(originals[trial.item.place]),
            made[trial.right, trial.item.place],
        )
        for trial in trials
    ]


@torch.inference_mode()
def _through(network: Autoencoder, batch: torch.Tensor) -> Picture:
    return to_images(network(to_input(batch)))
