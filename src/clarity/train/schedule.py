"""How the learning rate runs over the steps."""

from __future__ import annotations

import math


def learning_rate(step: int, steps: int, peak: float, warmup: float) -> float:
    """The rate of step ``step`` (from 0) of ``steps``: a linear rise to ``peak``, then a cosine.

    The rise takes the share ``warmup`` of all steps, the fall the rest; the last step still moves.
    Warm-up: Goyal et al. 2017; cosine: Loshchilov & Hutter 2017.
    """
    rise = round(warmup * steps)
    if step < rise:
        return peak * (step + 1) / rise
    return peak * 0.5 * (1 + math.cos(math.pi * (step - rise) / max(1, steps - rise)))


def grid_epochs(epochs: int, grids: int) -> list[int]:
    """At which epochs to keep a picture: 0, 1, the last, and some between, dense at the start."""
    if grids == 1:
        return [0]
    ratio = epochs ** (1 / max(1, grids - 2))
    return sorted({0, *(min(epochs, round(ratio**power)) for power in range(grids - 1))})
