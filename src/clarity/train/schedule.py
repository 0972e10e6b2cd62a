"""How the learning rate runs over the steps."""

from __future__ import annotations


def learning_rate(step: int, steps: int, peak: float, warmup: float) -> float:
    """The rate of step ``step`` (from 0): a linear rise to ``peak``, which stays.

    The rise takes the share ``warmup`` of ``steps`` (Goyal et al. 2017). What follows does not know
    where the training will be cut.
    """
    rise = round(warmup * steps)
    return peak * min(1.0, (step + 1) / max(1, rise))


def grid_epochs(epochs: int, grids: int) -> list[int]:
    """At which epochs to keep a picture: 0, 1, the last, and some between, dense at the start."""
    if grids == 1:
        return [0]
    ratio = epochs ** (1 / max(1, grids - 2))
    return sorted({0, *(min(epochs, round(ratio**power)) for power in range(grids - 1))})
