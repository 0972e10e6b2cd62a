"""Under which budget sizes are compared, whether it was the same for all, and had they converged.

*alike*: every size sees each training image equally often. *compute*: every size spends as many
FLOPs on each training image.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from clarity.compare.results import Floats, ModelResults, Question

#: A model has converged if its validation error fell by less than this share …
CONVERGED = 0.02
#: … over this last part of its budget.
LAST = 0.25
#: Budgets that differ by less than this are the same: they end at a whole step.
SAME = 0.02

TITLES: dict[Question, str] = {"alike": "Trained alike", "compute": "For the same compute"}


@dataclass(frozen=True)
class Course:
    """How one training's validation error fell.

    Attributes:
        gflop: spent on each training image, by epoch.
        best: smallest validation MSE until then: that of the weights that would be kept.
    """

    epochs: Floats
    gflop: Floats
    best: Floats

    def at(self, epoch: float) -> float:
        """The best until the last measured epoch that is not after ``epoch``."""
        place = max(int(np.searchsorted(self.epochs, epoch + 1e-9, side="right")) - 1, 0)
        return float(self.best[place])


def courses(model: ModelResults) -> list[Course]:
    """One for each seed; empty for PCA, which is fitted at once."""
    found = []
    for curve, budgets in zip(model.curves, model.budgets, strict=False):
        alike = budgets["alike"]
        assert alike is not None
        rows = curve.dropna(subset=["val_mse"])
        epochs = rows["epoch"].to_numpy(float)
        best = np.minimum.accumulate(rows["val_mse"].to_numpy(float))
        found.append(Course(epochs, epochs * alike.gflop / max(alike.epochs, 1e-9), best))
    return found


def improvement(model: ModelResults, question: Question) -> float | None:
    """By which share the best validation MSE still fell over the last quarter of the budget.

    Mean over seeds; None for a model without that budget.
    """
    spent = model.spent(question)
    if not spent:
        return None
    shares = []
    for course, budget in zip(courses(model), spent, strict=True):
        before, after = course.at((1 - LAST) * budget.epochs), course.at(budget.epochs)
        shares.append(1 - after / before if before > 0 else 0.0)
    return float(np.mean(shares))


def converged(model: ModelResults, question: Question) -> bool | None:
    """Whether that share is below `CONVERGED`; None for a model without that budget."""
    share = improvement(model, question)
    return None if share is None else share < CONVERGED


def withheld(models: Sequence[ModelResults], question: Question) -> str:
    """Why these sizes can't be compared under a budget; empty where they can."""
    spent = {model.name: model.spent(question) for model in models}
    if question == "compute":
        without = [name for name, budgets in spent.items() if not budgets]
        if len(without) == len(models):
            return "not asked (train.compute is empty)"
        if without or any(model.same_compute is None for model in models):
            names = without or [model.name for model in models if model.same_compute is None]
            return f"not for the same compute: no such weights of {', '.join(names)}"
    amounts = {
        name: [b.epochs if question == "alike" else b.gflop for b in budgets]
        for name, budgets in spent.items()
    }
    every = [amount for values in amounts.values() for amount in values]
    if max(every) <= min(every) * (1 + SAME):
        return ""
    told = ", ".join(f"{name} {np.mean(values):.4g}" for name, values in amounts.items())
    if question == "alike":
        return f"not trained alike: {told} epochs"
    return f"not for the same compute: {told} GFLOP an image"
