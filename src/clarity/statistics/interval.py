"""An interval with everything that is needed to read it, to widen it and to plan the next run."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from scipy import optimize, special, stats

from clarity.errors import ClarityError

Scope = Literal["population", "this training only"]
Scale = Literal["linear", "log", "logit", "fisher", "reduction"]

POPULATION: Scope = "population"
THIS_TRAINING: Scope = "this training only"


def _identity(value: float) -> float:
    return value


def _logit(value: float) -> float:
    return float(special.logit(value))


def _expit(value: float) -> float:
    return float(special.expit(value))


def _log(value: float) -> float:
    return math.log(value) if value > 0 else -math.inf


def _fisher(value: float) -> float:
    return math.atanh(value) if abs(value) < 1 else math.copysign(math.inf, value)


def _reduction_link(value: float) -> float:
    return math.log1p(-value) if value < 1 else -math.inf


def _reduction(value: float) -> float:
    return -math.expm1(value) if value < 700 else -math.inf


#: AUROCs this near to 0 or 1 get an interval at least as wide as independent images would give.
NEAR_END = 0.05

#: From the reported scale to the one on which the estimate is taken to be t-distributed, and back.
_LINKS: dict[Scale, tuple[Callable[[float], float], Callable[[float], float]]] = {
    "linear": (_identity, _identity),
    "log": (_log, math.exp),
    "fisher": (_fisher, math.tanh),
    "logit": (_logit, _expit),
    "reduction": (_reduction_link, _reduction),
}


#: Where the reported scale ends.
_ENDS: dict[Scale, tuple[float, float]] = {
    "linear": (-math.inf, math.inf),
    "log": (0.0, math.inf),
    "fisher": (-1.0, 1.0),
    "logit": (0.0, 1.0),
    "reduction": (-math.inf, 1.0),
}


@dataclass(frozen=True)
class Interval:
    """A two-sided confidence interval.

    Attributes:
        estimate, low, high: on the reported scale; ``low``/``high`` are the ends of the scale
            (infinite, or for an AUROC 0 and 1) where the data hold no information on the variance,
            as with a single person.
        confidence: nominal coverage, in (0, 1).
        seeds: trainings a model behind it (the smallest number, where models differ); models
            declared deterministic do not count.
        groups: people (or folders, or images where there are no groups): the clusters.
        images: images behind it.
        scope: ``population``: over people and over trainings; ``this training only``: over people,
            the training being fixed.
        method: how it was computed, in words.
        scale: on which scale the estimate was taken to be t-distributed, so that no limit leaves
            the quantity's bounds: ``linear``; ``log`` (above 0); ``logit`` (0 to 1); ``fisher``
            (Fisher's z, -1 to 1); ``reduction`` (1 - exp(x), x being a log ratio).
        standard_error: on that scale.
        quantile: the interval is estimate ± quantile × standard_error on that scale. It is the
            mean of Student's quantiles for the components' degrees of freedom, weighted by their
            shares of the variance (Cochran & Cox).
        df: Satterthwaite's degrees of freedom of the whole, for the reader; not used.
        df_people, df_seeds, df_residual: of the components.
        people_share, seed_share, residual_share: of the variance, sum 1 (with one training all of
            it is the people's, the residual included); NaN where nothing is known.
        floor: for AUROCs: clusters among normals and among anomalies, normals, anomalies.
    """

    estimate: float
    low: float
    high: float
    confidence: float
    seeds: int
    groups: int
    scope: Scope
    method: str
    images: int = 0
    scale: Scale = "linear"
    standard_error: float = math.nan
    quantile: float = math.nan
    df: float = math.nan
    df_people: float = math.inf
    df_seeds: float = math.inf
    df_residual: float = math.inf
    people_share: float = math.nan
    seed_share: float = math.nan
    residual_share: float = math.nan
    floor: tuple[int, int, int, int] | None = None

    @property
    def known(self) -> bool:
        """Whether the data hold information on the variance."""
        return math.isfinite(self.standard_error)

    @property
    def half_width(self) -> float:
        """Half the distance between the limits."""
        return (self.high - self.low) / 2

    def at(self, confidence: float) -> Interval:
        """The same interval at another confidence level."""
        check_confidence(confidence)
        quantile = float(self._quantile(1 - confidence))
        low, high = limits(
            self.estimate, self.standard_error, quantile, confidence, self.scale, self.floor
        )
        return replace(self, low=low, high=high, quantile=quantile, confidence=confidence)

    def lower_bound(self, confidence: float) -> float:
        """One-sided: with this confidence the estimand is above the returned value."""
        return self.at(round(2 * confidence - 1, 12)).low

    def p_value(self, value: float = 0.0) -> float:
        """Two-sided p-value of "the estimand is ``value``"; 1 where nothing is known."""
        if not self.known:
            return 1.0
        link, _ = _LINKS[self.scale]
        distance = abs(link(self.estimate) - link(value))
        if self.standard_error == 0:
            return 1.0 if distance == 0 else 0.0
        if math.isinf(distance):
            return 0.0
        ratio = distance / self.standard_error
        # The quantile lies between those of the components: so does the p-value.
        dfs = (self.df_people, self.df_seeds, self.df_residual)
        candidates = [2 * float(stats.t.sf(ratio, df)) for df in dfs if df > 0]
        low, high = min(candidates), max(candidates)
        if high - low <= 1e-9 * high or self._quantile(low) <= ratio:
            return low
        if self._quantile(high) >= ratio:
            return high
        return float(optimize.brentq(lambda p: self._quantile(p) - ratio, low, high, rtol=1e-6))

    def as_reduction(self) -> Interval:
        """A log ratio of a over b as relative reduction 1 - a/b (0.1: a is 10 % below b).

        Raises:
            ClarityError: the interval is not on the linear scale.
        """
        if self.scale != "linear":
            raise ClarityError(f"an interval on the scale {self.scale} is no log ratio")
        return replace(
            self,
            estimate=_reduction(self.estimate),
            low=_reduction(self.high),
            high=_reduction(self.low),
            scale="reduction",
            method=f"1 - exp of: {self.method}",
        )

    def _quantile(self, alpha: float) -> float:
        """Two-sided quantile; with one training all variance is the people's."""
        return mixed_quantile(
            alpha,
            (self.people_share, self.seed_share, self.residual_share),
            (self.df_people, self.df_seeds, self.df_residual),
        )

    def as_dict(self) -> dict[str, Any]:
        """For JSON: what is not finite becomes null."""
        content = {name: getattr(self, name) for name in self.__dataclass_fields__}
        content["floor"] = list(self.floor) if self.floor else None
        return {
            name: None if isinstance(value, float) and not math.isfinite(value) else value
            for name, value in content.items()
        }


def limits(
    estimate: float,
    standard_error: float,
    quantile: float,
    confidence: float,
    scale: Scale,
    floor: tuple[int, int, int, int] | None = None,
) -> tuple[float, float]:
    """Estimate ± quantile × standard error on ``scale``, taken back from it."""
    if not math.isfinite(standard_error):
        return _ENDS[scale]
    if floor and (estimate in (0.0, 1.0) or standard_error == 0):
        return score_limits(estimate, confidence, floor[:2])
    link, unlink = _LINKS[scale]
    if not math.isfinite(link(estimate)):
        return estimate, estimate  # a mean at its bound: every value lies there
    reach = quantile * standard_error
    ends = unlink(link(estimate) - reach), unlink(link(estimate) + reach)
    low, high = min(ends), max(ends)
    if floor and not NEAR_END < estimate < 1 - NEAR_END:
        # A few pairs in the wrong order tell little about the variance: never narrower than what
        # independent images would give.
        floor_low, floor_high = score_limits(estimate, confidence, floor[2:])
        low, high = min(low, floor_low), max(high, floor_high)
    return low, high


def mixed_quantile(
    alpha: float, shares: tuple[float, float, float], dfs: tuple[float, float, float]
) -> float:
    """Two-sided quantile at ``alpha`` of a mean whose variance has several estimated components.

    Student's quantiles weighted by the components' shares of the variance (Cochran & Cox 1950).
    With few seeds Satterthwaite's single number of degrees of freedom, being estimated from the
    very variances that are small by chance, covers too little: docs/statistics.md has figures.
    """
    total = 0.0
    for share, df in zip(shares, dfs, strict=True):
        if share > 0:
            total += share * float(
                special.stdtrit(df, 1 - alpha / 2) if df < 1e9 else special.ndtri(1 - alpha / 2)
            )
    return total


def score_limits(
    estimate: float, confidence: float, numbers: tuple[int, int]
) -> tuple[float, float]:
    """Limits of an AUROC without recourse to its observed variance: the θ not rejected by it.

    Score-type interval with the variance of Hanley & McNeil (1982) as Newcombe (2006, method 5)
    simplified it, for ``numbers`` independent normals and anomalies. Never of zero width.
    """
    m, n = numbers
    z = float(special.ndtri((1 + confidence) / 2))
    theta = special.expit(np.linspace(-16, 16, 16001))
    half = (m + n) / 2 - 1
    spread = 1 + half * (1 - theta) / (2 - theta) + half * theta / (1 + theta)
    accepted = theta[
        np.abs(theta - estimate) <= z * np.sqrt(theta * (1 - theta) * spread / (m * n))
    ]
    if not len(accepted):
        return estimate, estimate
    return min(float(accepted[0]), estimate), max(float(accepted[-1]), estimate)


def check_confidence(confidence: float) -> None:
    """Refuse what is no level of confidence."""
    if not 0 < confidence < 1:
        raise ClarityError(f"confidence is {confidence:g}; it must lie between 0 and 1")
