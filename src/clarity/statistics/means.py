"""Intervals of means over images: one model's, a difference, a ratio, a slope over sizes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from clarity.errors import ClarityError
from clarity.statistics.crossed import Floats, Part, as_values, crossed_interval
from clarity.statistics.interval import Interval, Scale

_DESIGN = "people crossed with seeds, two-way random-effects variance, Satterthwaite t"


def mean_interval(
    values: ArrayLike,
    groups: ArrayLike,
    confidence: float = 0.95,
    *,
    deterministic: bool = False,
    scale: Scale = "linear",
) -> Interval:
    """The mean over images of a model's metric.

    Args:
        values: (S, N) the metric of every training on every image, or (N,) for one training.
        groups: (N,) person (or folder, or image) of each image.
        deterministic: the model has no randomness (PCA): one training is all of them.
        scale: ``log`` for what cannot be negative, ``logit`` for what lies in [0, 1], ``fisher``
            for [-1, 1]: the interval then stays within these bounds (delta method).

    Returns:
        The interval of the mean over the population of people and, with two or more trainings,
        over trainings.

    Raises:
        ClarityError: shapes that do not fit, a value that is not finite.
    """
    x = as_values(values, "values")
    part = Part(x.mean(axis=1), x, 1.0, deterministic)
    mean = float(x.mean())
    return crossed_interval(
        mean,
        [part],
        groups,
        confidence,
        method=f"mean; {_DESIGN}" if scale == "linear" else f"mean on the {scale} scale; {_DESIGN}",
        scale=scale,
        derivative=_derivative(mean, scale),
    )


def _derivative(mean: float, scale: Scale) -> float:
    """Of the scale's link at the mean; 1 where the mean lies at a bound and nothing varies."""
    slopes = {"log": mean, "logit": mean * (1 - mean), "fisher": 1 - mean**2}
    slope = slopes.get(scale, 1.0)
    return 1 / slope if slope > 0 else 1.0


def difference_interval(
    a: ArrayLike,
    b: ArrayLike,
    groups: ArrayLike,
    confidence: float = 0.95,
    *,
    deterministic: tuple[bool, bool] = (False, False),
) -> Interval:
    """Mean of ``a`` less mean of ``b`` over the same images.

    Args:
        a, b: (Sa, N), (Sb, N); the trainings of a and of b are independent, their numbers free.
        deterministic: which of the two has no randomness.
    """
    x, y = _pair(a, b)
    parts = [
        Part(x.mean(axis=1), x, 1.0, deterministic[0]),
        Part(y.mean(axis=1), y, -1.0, deterministic[1]),
    ]
    estimate = float(x.mean() - y.mean())
    return crossed_interval(estimate, parts, groups, confidence, method=f"difference; {_DESIGN}")


def log_ratio_interval(
    a: ArrayLike,
    b: ArrayLike,
    groups: ArrayLike,
    confidence: float = 0.95,
    *,
    deterministic: tuple[bool, bool] = (False, False),
) -> Interval:
    """log(mean of ``a`` / mean of ``b``) over the same images, by the delta method.

    ``.as_reduction()`` of the result reads "a is x below b", x = 1 - a/b.

    Args:
        a, b: (Sa, N), (Sb, N), of positive mean.

    Raises:
        ClarityError: a mean that is not positive.
    """
    x, y = _pair(a, b)
    parts = [
        _log_part(x, 1.0, deterministic[0], "a"),
        _log_part(y, -1.0, deterministic[1], "b"),
    ]
    estimate = float(np.log(x.mean()) - np.log(y.mean()))
    return crossed_interval(estimate, parts, groups, confidence, method=f"log ratio; {_DESIGN}")


def slope_interval(
    sizes: ArrayLike,
    values: Sequence[ArrayLike],
    groups: ArrayLike,
    confidence: float = 0.95,
    *,
    deterministic: Sequence[bool] | None = None,
) -> Interval:
    """Least-squares slope of log(mean error) on log(size): -0.1 is 6.7 % less per doubling.

    The sizes are fixed, the line a summary of these models: the interval holds no uncertainty
    about other sizes or another form of the curve.

    Args:
        sizes: (M,) parameters of each model, at least two different ones.
        values: M arrays (S_m, N) over the same images.
        deterministic: which of the models have no randomness.
    """
    x = np.log(np.asarray(sizes, dtype=np.float64))
    if x.ndim != 1 or len(x) != len(values) or not np.isfinite(x).all():
        raise ClarityError(f"sizes: expected {len(values)} positive numbers, one for each model")
    centred = x - x.mean()
    if not np.any(np.abs(centred) > 1e-12):
        raise ClarityError("sizes: all are equal; a slope needs at least two different sizes")
    weights = centred / (centred @ centred)
    arrays = [as_values(v, f"values of model {m}") for m, v in enumerate(values)]
    flags = [False] * len(arrays) if deterministic is None else list(deterministic)
    parts = [
        _log_part(v, float(k), flag, f"model {m}")
        for m, (v, k, flag) in enumerate(zip(arrays, weights, flags, strict=True))
    ]
    _same_images(arrays)
    estimate = float(weights @ np.log([v.mean() for v in arrays]))
    return crossed_interval(estimate, parts, groups, confidence, method=f"log-log slope; {_DESIGN}")


def _log_part(values: Floats, coefficient: float, deterministic: bool, name: str) -> Part:
    mean = values.mean()
    if not mean > 0:
        raise ClarityError(f"{name}: the mean is {mean:g}; a logarithm needs positive means")
    scaled = values / mean
    return Part(scaled.mean(axis=1), scaled, coefficient, deterministic)


def _pair(a: ArrayLike, b: ArrayLike) -> tuple[Floats, Floats]:
    x, y = as_values(a, "a"), as_values(b, "b")
    _same_images([x, y])
    return x, y


def _same_images(arrays: Sequence[Floats]) -> None:
    numbers = {v.shape[1] for v in arrays}
    if len(numbers) > 1:
        raise ClarityError(
            f"models were measured on different numbers of images ({sorted(numbers)}); "
            "a paired comparison needs the same images"
        )
