"""The variance of a mean over people crossed with trainings: the core that every interval uses.

Every statistic here is brought to one form: per training s an estimate θ_s, and per image a
linearised contribution x_si, so that θ_s varies with the sample of people as the mean of x_si does
(docs/statistics.md). Two blocks of images (normals, anomalies) have their means added.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from clarity.errors import ClarityError
from clarity.statistics.interval import (
    POPULATION,
    THIS_TRAINING,
    Interval,
    Scale,
    Scope,
    check_confidence,
    limits,
    mixed_quantile,
)

Floats = NDArray[np.float64]
Codes = NDArray[np.intp]


@dataclass(frozen=True)
class Part:
    """One model's share in a statistic, its trainings being independent of other models'.

    Attributes:
        estimates: (S,) the statistic of each training.
        contributions: (S, N) per image.
        coefficient: with which it enters the statistic (-1 for the subtrahend).
        deterministic: the training has no randomness (PCA): one training is all of them.
    """

    estimates: Floats
    contributions: Floats
    coefficient: float = 1.0
    deterministic: bool = False

    @property
    def seeds(self) -> int:
        return len(self.estimates)


@dataclass(frozen=True)
class _Block:
    """The clusters of one block of images, with the small-sample corrections of its residuals."""

    members: Codes
    codes: Codes
    images: int
    clusters: int
    root: Floats
    weights: Floats
    variances: Floats


def as_values(values: ArrayLike, name: str) -> Floats:
    """(S, N) finite floats; (N,) counts as one training.

    Raises:
        ClarityError: another shape, nothing in it, or a value that is not finite.
    """
    array = np.asarray(values, dtype=np.float64)
    if array.ndim == 1:
        array = array[None, :]
    if array.ndim != 2 or array.size == 0:
        raise ClarityError(f"{name} has the shape {array.shape}; expected (seeds, images)")
    if not np.isfinite(array).all():
        seed, image = np.argwhere(~np.isfinite(array))[0]
        raise ClarityError(
            f"{name}: seed {seed}, image {image} is {array[seed, image]}; leave such images out"
        )
    return array


def as_codes(groups: ArrayLike, images: int) -> tuple[Codes, int]:
    """Labels of any kind as 0 … G-1, and G."""
    labels = np.asarray(groups)
    if labels.shape != (images,):
        raise ClarityError(
            f"groups has the shape {labels.shape}; expected ({images},), one a label"
        )
    unique, codes = np.unique(labels, return_inverse=True)
    return codes.astype(np.intp), len(unique)


def crossed_interval(
    estimate: float,
    parts: Sequence[Part],
    groups: ArrayLike,
    confidence: float,
    *,
    method: str,
    blocks: NDArray[Any] | None = None,
    scale: Scale = "linear",
    derivative: float = 1.0,
    floor: tuple[int, int, int, int] | None = None,
) -> Interval:
    """The interval of a statistic from its parts.

    With P people and S seeds, V_people estimates σ_p²/P + σ_r²/PS, V_seeds σ_s²/S + σ_r²/PS and
    V_residual σ_r²/PS; the variance is V_people + V_seeds - V_residual: the two-way crossed
    random-effects analysis of variance. People of unequal numbers of images enter by the ratio
    estimator's linearisation, with the small-sample correction and the degrees of freedom of
    Bell & McCaffrey (2002).

    Args:
        derivative: of the link of ``scale`` at the estimate.
        blocks: (N,) which mean an image enters; None: all the same.
    """
    check_confidence(confidence)
    images = parts[0].contributions.shape[1]
    codes, count = as_codes(groups, images)
    combined = np.sum([p.coefficient * p.contributions.mean(axis=0) for p in parts], axis=0)
    prepared = [
        _prepare(combined, codes, count, members)
        for members in (
            [np.arange(images)]
            if blocks is None
            else [np.flatnonzero(blocks == b) for b in np.unique(blocks)]
        )
    ]
    unknown = any(block.clusters < 2 for block in prepared)
    deviations = _cluster_deviations(combined[None, :], prepared, count)[0]
    people = math.inf if unknown else float(deviations @ deviations)
    df_people = 0.0 if unknown else _people_df(prepared)
    random = [p for p in parts if not p.deterministic]
    single = any(p.seeds < 2 for p in random)
    seeds: list[float] = []
    residuals: list[float] = []
    for part in random:
        if part.seeds < 2:
            continue
        factor = part.coefficient**2 / part.seeds
        seeds.append(factor * float(np.var(part.estimates, ddof=1)))
        z = _cluster_deviations(part.contributions, prepared, count)
        spread = float(((z - z.mean(axis=0)) ** 2).sum())
        residuals.append(factor * spread / (part.seeds - 1))
    freedoms = [p.seeds - 1 for p in random if p.seeds >= 2]
    return assemble(
        estimate,
        combine(people, df_people, seeds, residuals, freedoms),
        confidence,
        seeds=min((p.seeds for p in random), default=min(p.seeds for p in parts)),
        groups=count,
        images=images,
        scope=THIS_TRAINING if single else POPULATION,
        method=method,
        scale=scale,
        derivative=derivative,
        floor=floor,
    )


@dataclass(frozen=True)
class Components:
    """A variance, its shares and degrees of freedom: people, seeds, residual."""

    variance: float
    df: float
    shares: tuple[float, float, float]
    dfs: tuple[float, float, float]


def combine(
    people: float,
    df_people: float,
    seeds: Sequence[float],
    residuals: Sequence[float],
    freedoms: Sequence[int],
) -> Components:
    """From the three mean squares (as variances of the mean) to components.

    Args:
        people: V_people, which includes the residual, as does each of ``seeds``.
        seeds, residuals, freedoms: V_seeds, V_residual and S - 1 of each part with several seeds.

    Components whose estimate is negative count as zero.
    """
    residual = sum(residuals)
    of_people = max(people - residual, 0.0)
    of_seeds = sum(max(s - r, 0.0) for s, r in zip(seeds, residuals, strict=True))
    total = of_people + of_seeds + residual
    if not math.isfinite(total):
        return Components(math.inf, 0.0, (math.nan,) * 3, (0.0, math.inf, math.inf))
    between = sum(s**2 / d for s, d in zip(seeds, freedoms, strict=True))
    inner = sum(r**2 / (d * df_people) for r, d in zip(residuals, freedoms, strict=True))
    dfs = (
        df_people,
        sum(seeds) ** 2 / between if between > 0 else math.inf,
        residual**2 / inner if inner > 0 else math.inf,
    )
    if total == 0:
        return Components(0.0, df_people, (1.0, 0.0, 0.0), dfs)
    df = total**2 / (people**2 / df_people + between + inner)
    return Components(total, df, (of_people / total, of_seeds / total, residual / total), dfs)


def assemble(
    estimate: float,
    components: Components,
    confidence: float,
    *,
    seeds: int,
    groups: int,
    images: int,
    scope: Scope,
    method: str,
    scale: Scale = "linear",
    derivative: float = 1.0,
    floor: tuple[int, int, int, int] | None = None,
) -> Interval:
    """The interval from its components of variance; see :func:`crossed_interval`."""
    error = abs(derivative) * math.sqrt(components.variance)
    quantile = mixed_quantile(1 - confidence, components.shares, components.dfs)
    low, high = limits(estimate, error, quantile, confidence, scale, floor)
    return Interval(
        estimate=estimate,
        low=low,
        high=high,
        confidence=confidence,
        seeds=seeds,
        groups=groups,
        scope=scope,
        method=method,
        images=images,
        scale=scale,
        standard_error=error,
        quantile=quantile,
        df=components.df,
        df_people=components.dfs[0],
        df_seeds=components.dfs[1],
        df_residual=components.dfs[2],
        people_share=components.shares[0],
        seed_share=components.shares[1],
        residual_share=components.shares[2],
        floor=floor,
    )


def _prepare(x: Floats, codes: Codes, count: int, members: Codes) -> _Block:
    """Working variances of the clusters' sums and the factors that unbias their residuals.

    The working model is a random effect of the person plus noise, its two variances estimated by
    the one-way analysis of variance (Imbens & Kolesár 2016). It serves only the corrections: the
    variance itself is the residuals' own.
    """
    own = codes[members]
    n = np.bincount(own, minlength=count).astype(np.float64)
    total = len(members)
    present = n > 0
    number = int(present.sum())
    values = x[members]
    means = np.divide(
        np.bincount(own, weights=values, minlength=count), n, out=np.zeros(count), where=present
    )
    within = float(((values - means[own]) ** 2).sum())
    between = float((n * (means - values.mean()) ** 2).sum())
    noise, person = 1.0, 0.0
    if number > 1 and total > number:
        mean_square = within / (total - number)
        typical = (total - float((n**2).sum()) / total) / (number - 1)
        effect = max((between / (number - 1) - mean_square) / typical, 0.0)
        if mean_square + effect > 0:
            noise, person = mean_square, effect
    v = (n * noise + n**2 * person) / total**2
    w = n / total
    expected = v * (1 - w) ** 2 + w**2 * (v.sum() - v)
    if number > 1:
        root = np.sqrt(np.divide(v, expected, out=np.zeros(count), where=expected > 0))
    else:
        root = np.zeros(count)
    return _Block(members, own, total, number, root, w, v)


def _cluster_deviations(contributions: Floats, blocks: Sequence[_Block], count: int) -> Floats:
    """(S, G): each cluster's corrected share in the deviation of the training's statistic."""
    z = np.zeros((len(contributions), count))
    for block in blocks:
        own = contributions[:, block.members]
        centred = own - own.mean(axis=1, keepdims=True)
        for s, row in enumerate(centred):
            z[s] += (
                block.root * np.bincount(block.codes, weights=row, minlength=count) / block.images
            )
    return z


def _people_df(blocks: Sequence[_Block]) -> float:
    """Degrees of freedom tr(R)²/tr(R²), R the working covariance of the corrected residuals.

    R is a diagonal plus two ranks a block, so this takes time in proportion to the clusters.
    """
    diagonal = np.sum([b.root**2 * b.variances for b in blocks], axis=0)
    columns, core = [], np.zeros((2 * len(blocks), 2 * len(blocks)))
    for i, block in enumerate(blocks):
        columns += [block.root * block.weights, block.root * block.variances]
        core[2 * i : 2 * i + 2, 2 * i : 2 * i + 2] = [[block.variances.sum(), -1], [-1, 0]]
    factor = np.stack(columns, axis=1)
    low_rank = np.einsum("gi,ij,gj->g", factor, core, factor)
    product = core @ (factor.T @ factor)
    trace = float((diagonal + low_rank).sum())
    square = float((diagonal**2).sum() + 2 * diagonal @ low_rank + np.trace(product @ product))
    return trace**2 / square if square > 0 else 0.0
