"""Resampling people: a check on the linearised intervals, and what has no linearisation."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import ArrayLike

from clarity.errors import ClarityError
from clarity.statistics.crossed import Floats, as_codes, as_values

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


def group_weights(count: int, resamples: int, seed: int) -> Iterator[Floats]:
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
