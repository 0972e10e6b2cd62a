"""The two budgets that sizes are compared under, and the best weights within each.

*alike*: every size sees each training image ``train.epochs`` times. *compute*: every size spends
``train.compute`` GFLOP on each training image. One training runs to the later of the two.
"""

from __future__ import annotations

from dataclasses import dataclass

from clarity.params import Train

ALIKE, COMPUTE = "alike", "compute"


@dataclass(frozen=True)
class Budget:
    """Where a budget ends.

    Attributes:
        name: ``alike`` or ``compute``.
        steps: optimiser steps that it pays for, at least 1.
        epochs: the same in epochs; a fraction where it ends within one.
        gflop_per_image: the same in GFLOP spent on each training image.
    """

    name: str
    steps: int
    epochs: float
    gflop_per_image: float


def budgets(recipe: Train, batches: int, gflop: float) -> dict[str, Budget]:
    """The budgets that a recipe names; ``alike`` always.

    Args:
        batches: steps of an epoch.
        gflop: that one image costs in a training step, forward and backward.
    """
    found = {ALIKE: Budget(ALIKE, recipe.epochs * batches, recipe.epochs, recipe.epochs * gflop)}
    if recipe.compute is not None:
        steps = max(1, round(recipe.compute / gflop * batches))
        epochs = steps / batches
        found[COMPUTE] = Budget(COMPUTE, steps, epochs, epochs * gflop)
    return found
