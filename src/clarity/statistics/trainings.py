"""Intervals of what is one number a training: a Fréchet distance, sharpness of a model's samples.

Here only the trainings vary; what each number was measured on (pairs of faces, samples) is part of
the measurement. Differences are Welch's, since two models' trainings vary differently.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from clarity.errors import ClarityError
from clarity.statistics.crossed import Components, Floats, assemble
from clarity.statistics.interval import POPULATION, THIS_TRAINING, Interval, check_confidence


def training_interval(
    values: ArrayLike, confidence: float = 0.95, *, deterministic: bool = False
) -> Interval:
    """The mean over trainings of one number a training: Student's t.

    Args:
        values: (S,) one number a training. With one training the interval is unbounded.
        deterministic: the model has no randomness: the interval has no width.
    """
    x = _numbers(values, "values")
    return _welch(float(x.mean()), [(x, 1.0, deterministic)], confidence, "mean over trainings, t")


def training_difference_interval(
    a: ArrayLike,
    b: ArrayLike,
    confidence: float = 0.95,
    *,
    deterministic: tuple[bool, bool] = (False, False),
) -> Interval:
    """Mean of ``a`` less mean of ``b`` over independent trainings: Welch's t.

    Args:
        a, b: (Sa,), (Sb,).
    """
    x, y = _numbers(a, "a"), _numbers(b, "b")
    parts = [(x, 1.0, deterministic[0]), (y, -1.0, deterministic[1])]
    return _welch(float(x.mean() - y.mean()), parts, confidence, "difference of trainings, Welch")


def training_log_ratio_interval(
    a: ArrayLike,
    b: ArrayLike,
    confidence: float = 0.95,
    *,
    deterministic: tuple[bool, bool] = (False, False),
) -> Interval:
    """log(mean of ``a`` / mean of ``b``) over independent trainings: Welch's t, delta method.

    Args:
        a, b: (Sa,), (Sb,), of positive mean.
    """
    x, y = _numbers(a, "a"), _numbers(b, "b")
    for values, name in ((x, "a"), (y, "b")):
        if not values.mean() > 0:
            raise ClarityError(
                f"{name}: the mean is {values.mean():g}; a ratio needs positive means"
            )
    estimate = math.log(x.mean() / y.mean())
    parts = [(x / x.mean(), 1.0, deterministic[0]), (y / y.mean(), -1.0, deterministic[1])]
    return _welch(estimate, parts, confidence, "log ratio of trainings, Welch")


def _numbers(values: ArrayLike, name: str) -> Floats:
    array = np.atleast_1d(np.asarray(values, dtype=np.float64))
    if array.ndim != 1 or not len(array) or not np.isfinite(array).all():
        raise ClarityError(f"{name}: expected one finite number for each training")
    return array


def _welch(
    estimate: float, parts: list[tuple[Floats, float, bool]], confidence: float, method: str
) -> Interval:
    check_confidence(confidence)
    random = [(x, k) for x, k, deterministic in parts if not deterministic]
    single = any(len(x) < 2 for x, _ in random)
    several = [(x, k) for x, k in random if len(x) > 1]
    variances = [k**2 * float(np.var(x, ddof=1)) / len(x) for x, k in several]
    total = sum(variances)
    curvature = sum(v**2 / (len(x) - 1) for v, (x, _) in zip(variances, several, strict=True))
    df = 0.0 if single else total**2 / curvature if curvature > 0 else math.inf
    shares = (math.nan, math.nan, math.nan) if single else (0.0, 1.0, 0.0)
    variance = math.inf if single else total
    return assemble(
        estimate,
        Components(variance, df, shares, (math.inf, df, math.inf)),
        confidence,
        seeds=min((len(x) for x, _ in random), default=min(len(x) for x, _, _ in parts)),
        groups=0,
        images=0,
        scope=THIS_TRAINING if single else POPULATION,
        method=method,
    )
