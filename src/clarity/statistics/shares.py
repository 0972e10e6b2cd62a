"""The interval of a share of looks: of the pairs that somebody decided, how many agree.

Looks at one person's pictures are alike, and so are looks by one looker; the two are crossed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import special, stats

from clarity.errors import ClarityError
from clarity.statistics.crossed import Codes, Components, Floats, as_codes, combine
from clarity.statistics.interval import check_confidence, mixed_quantile


@dataclass(frozen=True)
class Share:
    """A share of looks with its interval.

    Attributes:
        estimate, low, high: in [0, 1]; the limits are 0 and 1 where the looks hold no information.
        looks, people, lookers: behind it. With one looker the interval is over people alone.
        effect: the design effect: so many times fewer independent looks would tell as much.
    """

    estimate: float
    low: float
    high: float
    looks: int
    people: int
    lookers: int
    effect: float


def share_interval(
    hits: ArrayLike,
    groups: ArrayLike,
    lookers: ArrayLike,
    confidence: float = 0.95,
    *,
    least_effect: float = 1.0,
) -> Share:
    """The mean of ``hits`` over the population of people shown and, with several, of lookers.

    The interval of Clopper & Pearson for the effective number of looks (Korn & Graubard 1998): n
    over the design effect, shrunk by the ratio of the normal to Student's quantile for the few
    clusters. The variance is that of `clarity.statistics.crossed`, with lookers in the place of
    trainings, from the clusters' residual sums (Cameron, Gelbach & Miller 2011). It never leaves
    [0, 1] and is never of zero width.

    Args:
        hits: (n,) each in [0, 1]: 1 where a look agrees, 1/2 where there is a tie.
        groups: (n,) the person (or image) looked at.
        lookers: (n,) who looked.
        least_effect: the design effect is never taken below this, nor below 1; all agreeing looks
            show none of their own.

    Raises:
        ClarityError: nothing to take the share of, or a value outside [0, 1].
    """
    check_confidence(confidence)
    x, by, own = _checked(hits, groups, lookers)
    share, components = float(x.mean()), _components(x, by, own)
    (_, people), (_, eyes) = by, own
    alpha = 1 - confidence
    if people < 2 or not math.isfinite(components.variance):
        return Share(share, 0.0, 1.0, len(x), people, eyes, math.nan)
    quantile = mixed_quantile(alpha, _known(components), components.dfs)
    effect = max(_effect(x, components), least_effect, 1.0)
    shrink = (float(special.ndtri(1 - alpha / 2)) / quantile) ** 2
    looks = max(len(x) / effect * shrink, 1.0)
    hit = share * looks
    low = 0.0 if hit <= 0 else float(stats.beta.ppf(alpha / 2, hit, looks - hit + 1))
    high = 1.0 if hit >= looks else float(stats.beta.ppf(1 - alpha / 2, hit + 1, looks - hit))
    return Share(share, low, high, len(x), people, eyes, effect)


def design_effect(hits: ArrayLike, groups: ArrayLike, lookers: ArrayLike) -> float:
    """The variance of a share over that of as many independent looks; 1 where it shows none."""
    x, by, own = _checked(hits, groups, lookers)
    return _effect(x, _components(x, by, own))


def _effect(x: Floats, components: Components) -> float:
    independent = float(x.var()) / max(len(x) - 1, 1)
    if independent == 0 or not math.isfinite(components.variance):
        return 1.0
    return components.variance / independent


def _components(x: Floats, by: tuple[Codes, int], own: tuple[Codes, int]) -> Components:
    (codes, people), (eyes, lookers) = by, own
    centred = x - x.mean()
    cells, number = as_codes(codes * lookers + eyes, len(x))
    of_people, of_lookers, of_cells = (
        _clustered(centred, *clusters) for clusters in (by, own, (cells, number))
    )
    if lookers < 2:
        return combine(of_people, people - 1, [], [], [])
    return combine(of_people, people - 1, [of_lookers], [of_cells], [lookers - 1])


def _clustered(centred: Floats, codes: Codes, count: int) -> float:
    """Variance of the mean from the clusters' sums, with the factor for few of them."""
    if count < 2:
        return math.inf
    sums = np.bincount(codes, weights=centred, minlength=count)
    return float(sums @ sums) / len(centred) ** 2 * count / (count - 1)


def _known(components: Components) -> tuple[float, float, float]:
    """The shares of the variance; the people's where there is none to share."""
    people, lookers, rest = components.shares
    return components.shares if people + lookers + rest > 0 else (1.0, 0.0, 0.0)


def _checked(
    hits: ArrayLike, groups: ArrayLike, lookers: ArrayLike
) -> tuple[Floats, tuple[Codes, int], tuple[Codes, int]]:
    x = np.asarray(hits, dtype=np.float64)
    if x.ndim != 1 or not len(x):
        raise ClarityError(f"hits has the shape {x.shape}; expected at least one look")
    if not ((x >= 0) & (x <= 1)).all():
        raise ClarityError("hits: a value outside [0, 1]")
    return x, as_codes(groups, len(x)), as_codes(lookers, len(x))
