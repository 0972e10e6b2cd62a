"""Scores judged on both sides: a value far below every normal's is a sign too.

An autoencoder reconstructs what is simpler than a face better than a face (Serrà et al. 2020), so
that a black picture has the smallest error of all. Below a turning point that lies under all
training and validation normals a score is therefore turned upwards: the further below, the higher.
Values above it, so all of these normals', stay as they are: what a model was trained on it
reconstructs better than what it was not, and that is no sign of an anomaly.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

#: Scores that may be negative or zero by nature. The others are judged by their logarithm.
LINEAR = ("combined", "elbo")
#: How far under the smallest of the normals a score turns, in their standard deviations, and how
#: much steeper than it fell it then rises.
MARGIN, STEEPNESS = 0.5, 4
#: Scores below this count as this before the logarithm.
TINY = 1e-12
#: A ratio above this counts as this before it is raised to a power: scores stay finite.
LARGEST = 1e9


def scaled(name: str, values: Tensor) -> Tensor:
    """The scale on which a score is judged: its logarithm, or for `LINEAR` ones itself."""
    return values if name in LINEAR else values.clamp_min(TINY).log()


def turning_point(name: str, normal: NDArray[np.float64]) -> float:
    """Where a score turns, in its own units, from the values of normals, those of training too."""
    values = scaled(name, torch.from_numpy(np.array(normal)))
    spread = float(values.std(correction=0))
    turn = float(values.min()) - MARGIN * spread
    return turn if name in LINEAR else float(np.exp(turn))


def two_sided(name: str, values: Tensor, turn: float) -> Tensor:
    """The score as it is judged, in its own units: unchanged from ``turn`` upwards."""
    if name in LINEAR:
        return torch.where(values >= turn, values, turn + STEEPNESS * (turn - values))
    ratio = (turn / values.clamp_min(TINY)).clamp_max(LARGEST)
    return torch.where(values >= turn, values, turn * ratio**STEEPNESS)
