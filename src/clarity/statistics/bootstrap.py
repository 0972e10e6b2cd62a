"""Resampling people: a check on the linearised intervals, and what has no linearisation."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from clarity.errors import ClarityError
from clarity.statistics.crossed import Floats, as_codes, as_values
from clarity.statistics.interval import Interval
from clarity.statistics.means import mean_interval

#: Weights held at a time (float64), so that memory stays near 64 MiB.
_CHUNK = 8_000_000


def bootstrap_means(
    values: ArrayLike, groups: ArrayLike, resamples: int = 10_000, seed: int = 0
) -> Floats:
    """Means of every row over resampled people, the same people for every row.

    People are drawn with replacement with all their images, as often as there are people; the mean
    is over images. One product of a matrix of multinomial weights with the people's sums.

    Args:
        values: (K, N) one row for each training (or whatever is measured per image).
        groups: (N,).

    Returns:
        (resamples, K).
    """
    x = as_values(values, "values")
    codes, count = as_codes(groups, x.shape[1])
    sums = np.stack([np.bincount(codes, weights=row, minlength=count) for row in x], axis=1)
    sizes = np.bincount(codes, minlength=count).astype(np.float64)
    out = np.empty((resamples, len(x)))
    start = 0
    for weights in group_weights(count, resamples, seed):
        stop = start + len(weights)
        out[start:stop] = (weights @ sums) / (weights @ sizes)[:, None]
        start = stop
    return out


def simultaneous_bands(
    values: Sequence[ArrayLike],
    groups: ArrayLike,
    confidence: float = 0.95,
    *,
    resamples: int = 10_000,
    seed: int = 0,
    deterministic: Sequence[bool] | None = None,
) -> list[Interval]:
    """Intervals of several models' means that hold all at once: a band for a curve over sizes.

    Models are measured on the same people, so their errors move together and Bonferroni would be
    wider than need be. Resampled people give the joint distribution of the deviations, to which
    the trainings' share is added independently for each model; the largest standardised deviation
    (max-t) then says at which level each model's own small-sample interval has to be taken.

    Args:
        values: (S_m, N) of each model on the same images.
        confidence: that all means lie within their intervals.

    Returns:
        One interval a model; ``confidence`` is each interval's own level, at or above the asked.
    """
    flags = [False] * len(values) if deterministic is None else list(deterministic)
    arrays = [as_values(v, f"values of model {m}") for m, v in enumerate(values)]
    intervals = [
        mean_interval(v, groups, confidence, deterministic=flag)
        for v, flag in zip(arrays, flags, strict=True)
    ]
    if len(intervals) < 2 or not all(i.known for i in intervals):
        return intervals
    means = np.stack([v.mean(axis=0) for v in arrays])
    resampled = bootstrap_means(means, groups, resamples, seed)
    deviations = resampled - resampled.mean(axis=0)
    spread = deviations.std(axis=0)
    deviations /= np.where(spread > 0, spread, 1.0)
    share = np.array([i.people_share for i in intervals])
    rng = np.random.default_rng((seed, 1))
    noise = rng.standard_normal(deviations.shape)
    largest = np.abs(np.sqrt(share) * deviations + np.sqrt(1 - share) * noise).max(axis=1)
    critical = float(np.quantile(largest, confidence))
    level = max(float(special.erf(critical / np.sqrt(2))), confidence)
    return [i.at(level) for i in intervals]


def group_weights(count: int, resamples: int, seed: int | tuple[int, ...]) -> Iterator[Floats]:
    """Chunks (r, count) of multinomial weights: how often each person is drawn."""
    if resamples < 1:
        raise ClarityError(f"resamples is {resamples}; at least 1 is needed")
    rng = np.random.default_rng(seed)
    size = max(1, _CHUNK // count)
    for start in range(0, resamples, size):
        rows = min(size, resamples - start)
        drawn = rng.integers(count, size=(rows, count))
        drawn += count * np.arange(rows)[:, None]
        flat = np.bincount(drawn.ravel(), minlength=rows * count)
        yield flat.reshape(rows, count).astype(np.float64)
