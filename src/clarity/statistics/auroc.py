"""Areas under the ROC curve, with people clustered and crossed with trainings.

Placement values (DeLong, DeLong & Clarke-Pearson 1988) linearise the AUROC image by image; summed
by person (Obuchowski 1997) they enter the same crossed variance as any mean.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from clarity.errors import ClarityError
from clarity.statistics.crossed import Codes, Floats, Part, as_codes, as_values, crossed_interval
from clarity.statistics.interval import Interval, score_limits

_DESIGN = "placement values, clusters crossed with seeds, Satterthwaite t"
Labels = NDArray[np.bool_]


def auroc_interval(
    scores: ArrayLike,
    labels: ArrayLike,
    groups: ArrayLike,
    confidence: float = 0.95,
    *,
    kinds: ArrayLike | None = None,
    deterministic: bool = False,
) -> Interval:
    """The AUROC, averaged over trainings, within [0, 1].

    Args:
        scores: (S, N), higher is more anomalous.
        labels: (N,) 1 for anomalies.
        groups: (N,) cluster of each image: the person; for an anomaly made of a person's picture,
            that person; for one made of a photograph, the photograph.
        kinds: (N,) kind of each image (read for anomalies alone); give it where there are several.
            The mix of kinds is then fixed, and clusters vary within their kind. A kind of which
            there is one cluster is treated as that cluster alone: its images vary. A kind of one
            image says nothing of how its images vary: see `Strata`.

    Returns:
        Estimate ± t × standard error on the logit scale. Within 0.05 of 0 or 1 at least as wide as
        the score interval of as many independent images; where every anomaly lies above every
        normal (or below), the score interval on the number of clusters.
    """
    x = as_values(scores, "scores")
    positive = as_labels(labels, x.shape[1])
    areas, placements = placement_values(x, positive)
    strata = Strata.of(positive, groups, kinds)
    numbers = numbers_of(groups, positive)
    part = Part(areas, strata.contributions(placements), 1.0, deterministic)
    return area_interval(part, strata, confidence, numbers, "AUROC")


def area_interval(
    part: Part, strata: Strata, confidence: float, numbers: tuple[int, int, int, int], what: str
) -> Interval:
    """Of a part whose estimates are areas, within [0, 1]; ``numbers`` as of `numbers_of`."""
    area = float(part.estimates.mean())
    inside = 0 < area < 1
    interval = crossed_interval(
        area,
        [part],
        strata.clusters,
        confidence,
        method=f"{what} on the logit scale; {_DESIGN}",
        blocks=strata.blocks,
        scale="logit",
        derivative=1 / (area * (1 - area)) if inside else 1.0,
        floor=numbers,
    )
    return replace(interval, groups=strata.groups)


def auroc_difference_interval(
    a: ArrayLike,
    b: ArrayLike,
    labels: ArrayLike,
    groups: ArrayLike,
    confidence: float = 0.95,
    *,
    kinds: ArrayLike | None = None,
    deterministic: tuple[bool, bool] = (False, False),
) -> Interval:
    """AUROC of ``a`` less AUROC of ``b`` on the same images.

    Args:
        a, b: (Sa, N), (Sb, N) scores; see :func:`auroc_interval` for the rest.
    """
    x, y = as_values(a, "a"), as_values(b, "b")
    if x.shape[1] != y.shape[1]:
        raise ClarityError(
            f"a has {x.shape[1]} images and b {y.shape[1]}; a paired comparison needs the same"
        )
    positive = as_labels(labels, x.shape[1])
    areas_a, placements_a = placement_values(x, positive)
    areas_b, placements_b = placement_values(y, positive)
    strata = Strata.of(positive, groups, kinds)
    parts = [
        Part(areas_a, strata.contributions(placements_a), 1.0, deterministic[0]),
        Part(areas_b, strata.contributions(placements_b), -1.0, deterministic[1]),
    ]
    same, numbers = np.array_equal(x, y), numbers_of(groups, positive)
    return difference_of_areas(parts, strata, confidence, numbers, same, "AUROC")


def difference_of_areas(
    parts: Sequence[Part],
    strata: Strata,
    confidence: float,
    numbers: tuple[int, int, int, int],
    same: bool,
    what: str,
) -> Interval:
    """The first of two parts less the second; ``same``: both are of the same scores."""
    first, second = (float(part.estimates.mean()) for part in parts)
    estimate = first - second
    interval = crossed_interval(
        estimate,
        parts,
        strata.clusters,
        confidence,
        method=f"{what} difference; {_DESIGN}",
        blocks=strata.blocks,
    )
    if interval.standard_error == 0 and not same:
        reach = _reach_without_variance(first, second, confidence, numbers)
        interval = replace(
            interval,
            low=max(estimate - reach, -1.0),
            high=min(estimate + reach, 1.0),
            standard_error=reach / interval.quantile,
            method=f"{what} difference; square-and-add of score intervals (no pair is misordered)",
        )
    return replace(interval, groups=strata.groups)


@dataclass(frozen=True)
class Strata:
    """Normals and each kind of anomaly apart, so that the mix of kinds adds no variance.

    Kinds of one image share a block: they vary as they differ from each other. Where there is one
    such kind alone, it shares that of the smallest other kind, and varies as it differs from it.
    Kinds differ by more than images of a kind do, so intervals are rather too wide.

    Attributes:
        blocks: (N,) 0 for normals, 1, 2, … for kinds of anomalies.
        clusters: (N,) of each image; images of a block with one cluster are clusters of their own.
        weights: (N,) what an image's placement counts for in the mean over its block.
        groups: clusters as given.
        lone: place of the image that is alone of its kind, and those of the kind it is put to.
    """

    blocks: Codes
    clusters: Codes
    weights: Floats
    groups: int
    lone: tuple[int, Codes] | None = None

    def contributions(self, placements: Floats) -> Floats:
        """(S, N) placement values weighed: their means over blocks sum to the AUROC."""
        found: Floats = placements * self.weights
        if self.lone is not None:
            # Kinds may count alike, so that one image weighs as much as many. What is weighed is
            # how far each lies from the other kind's mean, lest the weights pass for variance.
            alone, others = self.lone
            both = np.append(others, alone)
            usual = placements[:, others].mean(axis=1, keepdims=True)
            share = self.weights[both]
            found[:, both] = share * (placements[:, both] - usual) + share.mean() * usual
        return found

    @classmethod
    def of(
        cls, positive: Labels, groups: ArrayLike, kinds: ArrayLike | None, *, alike: bool = False
    ) -> Strata:
        """From labels, clusters and kinds (None: all anomalies are of one kind).

        With ``alike`` every kind has the same share, not that of its images.
        """
        clusters, count = as_codes(groups, len(positive))
        weights = np.ones(len(positive))
        if kinds is None:
            return cls(positive.astype(np.intp), clusters, weights, count)
        names = np.asarray(kinds)
        if names.shape != positive.shape:
            raise ClarityError(f"kinds has the shape {names.shape}; expected ({len(positive)},)")
        blocks = np.zeros(len(positive), dtype=np.intp)
        clusters = clusters.copy()
        known = [np.flatnonzero(positive & (names == k)) for k in np.unique(names[positive])]
        for number, own in enumerate(known, start=1):
            blocks[own] = number
            weights[own] = 1 / len(known) if alike else len(own) / positive.sum()
        lone, single = None, [own for own in known if len(own) == 1]
        if single and len(known) > 1:
            shared = single
            if len(single) == 1:
                others = min((own for own in known if len(own) > 1), key=len)
                lone, shared = (int(single[0][0]), others), [*single, others]
            size = sum(len(own) for own in shared)
            for own in shared:
                blocks[own] = blocks[shared[0][0]]
                weights[own] *= size / len(own)
        for number in range(1, len(known) + 1):
            own = np.flatnonzero(blocks == number)
            if len(np.unique(clusters[own])) == 1:
                clusters[own] = clusters.max() + 1 + np.arange(len(own))
        return cls(blocks, clusters, weights, count, lone)


def placement_values(scores: Floats, positive: Labels) -> tuple[Floats, Floats]:
    """AUROC of each training, and each image's placement value; ties count one half.

    Of an anomaly: the share of normals below it. Of a normal: the share of anomalies above it.

    Args:
        scores: (S, N).
        positive: (N,) True for anomalies.

    Returns:
        (S,) areas and (S, N) placement values.
    """
    m, n = int(positive.sum()), int((~positive).sum())
    placements = np.empty_like(scores)
    ranks = stats.rankdata(scores, axis=1)
    own = stats.rankdata(scores[:, positive], axis=1)
    placements[:, positive] = (ranks[:, positive] - own) / n
    own = stats.rankdata(scores[:, ~positive], axis=1)
    placements[:, ~positive] = 1 - (ranks[:, ~positive] - own) / m
    return placements[:, positive].mean(axis=1), placements


def _reach_without_variance(
    a: float, b: float, confidence: float, numbers: tuple[int, int, int, int]
) -> float:
    """Half-width where no pair is in the wrong order: Zou & Donner (2008), the wider side."""
    low_a, high_a = score_limits(a, confidence, numbers[:2])
    low_b, high_b = score_limits(b, confidence, numbers[:2])
    return max(math.hypot(a - low_a, high_b - b), math.hypot(high_a - a, b - low_b))


def as_labels(labels: ArrayLike, images: int) -> Labels:
    """(N,) True for anomalies; both kinds must be there."""
    array = np.asarray(labels)
    if array.shape != (images,):
        raise ClarityError(f"labels has the shape {array.shape}; expected ({images},)")
    if not np.isin(array, (0, 1)).all():
        raise ClarityError("labels: expected 0 for normal and 1 for anomalous, nothing else")
    positive = array.astype(bool)
    if positive.all() or not positive.any():
        raise ClarityError("labels: an AUROC needs normals and anomalies; only one kind is there")
    return positive


def numbers_of(groups: ArrayLike, positive: Labels) -> tuple[int, int, int, int]:
    """Clusters of normals and of anomalies, normals, anomalies."""
    codes, _ = as_codes(groups, len(positive))
    return (
        len(np.unique(codes[~positive])),
        len(np.unique(codes[positive])),
        int((~positive).sum()),
        int(positive.sum()),
    )
