"""Intervals of average precision and of the false positive rate at 95 % true positives.

Neither is a mean of contributions of single images, so people are resampled (clustered bootstrap)
for their part of the variance; the trainings' part is a small-sample one, as everywhere.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from clarity.errors import ClarityError
from clarity.statistics.auroc import Labels, as_labels, numbers_of
from clarity.statistics.bootstrap import group_weights
from clarity.statistics.crossed import Codes, Floats, as_codes, as_values, assemble, combine
from clarity.statistics.interval import (
    POPULATION,
    THIS_TRAINING,
    Interval,
    check_confidence,
)

Statistic = Literal["ap", "fpr95"]
#: Share of anomalies that must be found, for ``fpr95``.
TRUE_POSITIVES = 0.95
_CHUNK = 4_000_000


def ranking_interval(
    scores: ArrayLike,
    labels: ArrayLike,
    groups: ArrayLike,
    statistic: Statistic = "ap",
    confidence: float = 0.95,
    *,
    kinds: ArrayLike | None = None,
    resamples: int = 10_000,
    seed: int = 0,
    deterministic: bool = False,
) -> Interval:
    """Average precision (``ap``) or false positive rate at 95 % true positives (``fpr95``).

    Args:
        scores: (S, N), higher is more anomalous.
        labels: (N,) 1 for anomalies.
        groups: (N,) cluster of each image.
        kinds: (N,) kind of each image; clusters without normals (photographs) are then resampled
            within their kind, so that the mix of kinds stays.

    Returns:
        The mean over trainings, with an interval on the logit scale.
    """
    if statistic not in ("ap", "fpr95"):
        raise ClarityError(f"no ranking statistic {statistic!r}; there are ap, fpr95")
    check_confidence(confidence)
    x = as_values(scores, "scores")
    positive = as_labels(labels, x.shape[1])
    codes, count = as_codes(groups, x.shape[1])
    ones = np.ones((1, count))
    estimates = np.array([_resampled(row, positive, codes, ones, statistic)[0] for row in x])
    drawn = np.concatenate(
        [
            np.stack([_resampled(row, positive, codes, w, statistic) for row in x], axis=1)
            for w in _weights(_strata(codes, count, positive, kinds), len(codes), resamples, seed)
        ]
    )
    drawn = drawn[np.isfinite(drawn).all(axis=1)]
    estimate = float(estimates.mean())
    floor = numbers_of(groups, positive)
    n, trainings = np.bincount(codes), len(x)
    df_people = max(len(codes) ** 2 / float((n.astype(float) ** 2).sum()) - 1, 1.0)
    unknown = min(floor[:2]) < 2 or len(drawn) < 2
    people = math.inf if unknown else float(np.var(drawn.mean(axis=1), ddof=1))
    seeds, residuals = [], []
    if trainings > 1 and not deterministic and not unknown:
        apart = drawn - drawn.mean(axis=1, keepdims=True)
        residuals = [float(np.var(apart, axis=0, ddof=1).sum()) / (trainings * (trainings - 1))]
        seeds = [float(np.var(estimates, ddof=1)) / trainings]
    inside = 0 < estimate < 1
    return assemble(
        estimate,
        combine(people, df_people, seeds, residuals, [trainings - 1] * len(seeds)),
        confidence,
        seeds=trainings,
        groups=count,
        images=x.shape[1],
        scope=POPULATION if trainings > 1 or deterministic else THIS_TRAINING,
        method=f"{statistic} on the logit scale; {resamples:,} resamples of people, t for seeds",
        scale="logit",
        derivative=1 / (estimate * (1 - estimate)) if inside else 1.0,
        floor=floor,
    )


def _strata(codes: Codes, count: int, positive: Labels, kinds: ArrayLike | None) -> list[Codes]:
    """Clusters resampled together: people, and by kind those clusters that hold no normal."""
    people = np.bincount(codes[~positive], minlength=count) > 0
    if kinds is None or people.all():
        return [np.arange(count)]
    names = np.asarray(kinds)
    others = positive & ~people[codes]
    return [np.flatnonzero(people)] + [
        np.unique(codes[others & (names == name)]) for name in np.unique(names[others])
    ]


def _weights(strata: list[Codes], images: int, resamples: int, seed: int) -> Iterator[Floats]:
    """People's weights, few rows at a time, so that (rows, images) arrays stay small."""
    rows = max(1, _CHUNK // images)
    count = sum(len(s) for s in strata)
    for number, start in enumerate(range(0, resamples, rows)):
        size = min(rows, resamples - start)
        weights = np.empty((size, count))
        for k, stratum in enumerate(strata):
            drawn = group_weights(len(stratum), size, (seed, number, k))
            weights[:, stratum] = np.concatenate(list(drawn))
        yield weights


def _resampled(
    scores: Floats, positive: Labels, codes: Codes, weights: Floats, statistic: Statistic
) -> Floats:
    """(R,) the statistic under each row of people's weights; NaN where one kind is absent."""
    order = np.argsort(-scores, kind="stable")
    ordered = scores[order]
    last = np.append(np.flatnonzero(np.diff(ordered)), len(ordered) - 1)
    w = weights[:, codes[order]]
    found = np.cumsum(w * positive[order], axis=1)[:, last]
    raised = np.cumsum(w, axis=1)[:, last]
    anomalies = found[:, -1:]
    normals = raised[:, -1:] - anomalies
    present = ((anomalies > 0) & (normals > 0))[:, 0]
    out = np.full(len(w), np.nan)
    if statistic == "ap":
        precision = np.divide(found, raised, out=np.zeros_like(found), where=raised > 0)
        gains = np.diff(found, axis=1, prepend=0)
        out[present] = (gains * precision)[present].sum(axis=1) / anomalies[present, 0]
        return out
    enough = found >= TRUE_POSITIVES * anomalies - 1e-9
    first = enough.argmax(axis=1)
    rows = np.arange(len(w))
    alarms = raised[rows, first] - found[rows, first]
    out[present] = alarms[present] / normals[present, 0]
    return out
