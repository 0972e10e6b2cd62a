"""The mean over kinds of the AUROC against each, where every kind may have scores of its own.

A score that was fitted without a kind judges that kind alone: so the mean over kinds says what a
detector is worth against what it has not seen. Kinds weigh alike, however many images they have.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike, NDArray

from clarity.errors import ClarityError
from clarity.statistics.auroc import (
    Labels,
    Strata,
    area_interval,
    as_labels,
    difference_of_areas,
    numbers_of,
    placement_values,
)
from clarity.statistics.crossed import Floats, Part, as_values
from clarity.statistics.interval import Interval

_WHAT = "mean AUROC over kinds"


def kinds_interval(
    scores: Mapping[str, ArrayLike],
    labels: ArrayLike,
    groups: ArrayLike,
    kinds: ArrayLike,
    confidence: float = 0.95,
    *,
    deterministic: bool = False,
) -> Interval:
    """The mean over kinds of the AUROC of each kind's own scores, averaged over trainings.

    Args:
        scores: by kind of anomaly, (S, N); read for normals and for that kind.
        labels, groups, kinds: (N,); see `clarity.statistics.auroc.auroc_interval`.

    Raises:
        ClarityError: the kinds are not those of the anomalies, or shapes do not fit.
    """
    positive, strata = _strata(scores, labels, groups, kinds)
    areas, placements = _over_kinds(scores, positive, np.asarray(kinds))
    part = Part(areas, strata.contributions(placements), 1.0, deterministic)
    return area_interval(part, strata, confidence, numbers_of(groups, positive), _WHAT)


def kinds_difference_interval(
    a: Mapping[str, ArrayLike],
    b: Mapping[str, ArrayLike],
    labels: ArrayLike,
    groups: ArrayLike,
    kinds: ArrayLike,
    confidence: float = 0.95,
    *,
    deterministic: tuple[bool, bool] = (False, False),
) -> Interval:
    """That mean of ``a`` less that of ``b``, on the same images; see `kinds_interval`."""
    positive, strata = _strata(a, labels, groups, kinds)
    names = np.asarray(kinds)
    (first, mine), (second, theirs) = (_over_kinds(one, positive, names) for one in (a, b))
    parts = [
        Part(first, strata.contributions(mine), 1.0, deterministic[0]),
        Part(second, strata.contributions(theirs), -1.0, deterministic[1]),
    ]
    same = all(np.array_equal(np.asarray(a[kind]), np.asarray(b[kind])) for kind in a)
    numbers = numbers_of(groups, positive)
    return difference_of_areas(parts, strata, confidence, numbers, same, _WHAT)


def kinds_area(scores: Mapping[str, ArrayLike], labels: ArrayLike, kinds: ArrayLike) -> float:
    """That mean alone, without an interval; see `kinds_interval`."""
    areas, _ = _over_kinds(scores, as_labels(labels, np.shape(labels)[0]), np.asarray(kinds))
    return float(areas.mean())


def _strata(
    scores: Mapping[str, ArrayLike], labels: ArrayLike, groups: ArrayLike, kinds: ArrayLike
) -> tuple[Labels, Strata]:
    images = as_values(next(iter(scores.values())), "scores").shape[1]
    positive = as_labels(labels, images)
    return positive, Strata.of(positive, groups, kinds, alike=True)


def _over_kinds(
    scores: Mapping[str, ArrayLike], positive: Labels, kinds: NDArray[np.str_]
) -> tuple[Floats, Floats]:
    """(S,) means over kinds of the areas, and (S, N) placement values: of a normal its mean over
    kinds, of an anomaly its own kind's."""
    there = sorted(set(kinds[positive].tolist()))
    if there != sorted(scores):
        raise ClarityError(f"scores of the kinds {sorted(scores)}; the anomalies are {there}")
    found = []
    for kind, given in scores.items():
        use = ~positive | (kinds == kind)
        values = as_values(np.asarray(given)[..., use], f"scores of {kind}")
        area, placements = placement_values(values, positive[use])
        spread = np.zeros((len(values), len(positive)))
        spread[:, use] = placements
        found.append((area, spread))
    # Divided once, after the sum: so many times 1 is 1 then, which is the end of the scale.
    areas = np.sum([area for area, _ in found], axis=0) / len(scores)
    total: Floats = np.sum([spread for _, spread in found], axis=0)
    total[:, ~positive] /= len(scores)
    return areas, total
