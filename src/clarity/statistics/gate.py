"""Whether a challenger is measurably better than the champion, on people kept for that question.

Champion and challenger are two given sets of weights, so the interval is of "this training only":
what varies is the sample of people.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import optimize, special

from clarity.errors import ClarityError
from clarity.statistics.auroc import auroc_difference_interval
from clarity.statistics.interval import Interval, check_confidence
from clarity.statistics.kinds import kinds_difference_interval
from clarity.statistics.means import log_ratio_interval


@dataclass(frozen=True)
class GateDecision:
    """The gate's answer.

    Attributes:
        promote: the lower bound is above the margin.
        lower_bound: one-sided, of the improvement.
        interval: two-sided, at level 2 × confidence - 1, so that ``low`` is the lower bound; for
            AUROCs the difference, for errors the relative reduction.
        margin, confidence: as asked.
        people_needed: people in the gate split with which an improvement of twice the margin would
            be promoted with probability 0.9; None where the variance is not known.
        reason: one line.
    """

    promote: bool
    lower_bound: float
    interval: Interval
    margin: float
    confidence: float
    people_needed: int | None
    reason: str


def gate_decision(
    challenger: ArrayLike | Mapping[str, ArrayLike],
    champion: ArrayLike | Mapping[str, ArrayLike],
    labels: ArrayLike,
    groups: ArrayLike,
    margin: float,
    confidence: float = 0.95,
    *,
    metric: str = "auroc",
    kinds: ArrayLike | None = None,
) -> GateDecision:
    """Promote if the improvement's one-sided lower bound is above the margin.

    Args:
        challenger, champion: (N,) on the same images of the gate split: anomaly scores for
            ``auroc``, by kind for ``auroc_unseen_kind`` (`clarity.statistics.kinds`), else
            distances from the original (0 at best) of the measure ``metric``.
        labels: (N,) 0 normal, 1 anomalous; errors are compared on normals alone.
        groups: (N,) person of each image.
        kinds: (N,) kind of each image; see :func:`~clarity.statistics.auroc.auroc_interval`.
        margin: smallest improvement that counts: a difference of AUROCs, or a relative reduction
            of the error (0.02: 2 % lower).
        confidence: one-sided.
    """
    check_confidence(confidence)
    if not confidence > 0.5:
        raise ClarityError(f"gate.confidence is {confidence:g}; a one-sided level is above 0.5")
    if not margin >= 0:
        raise ClarityError(f"gate.margin is {margin:g}; it must be at least 0")
    two_sided = round(2 * confidence - 1, 12)
    if isinstance(challenger, Mapping) or isinstance(champion, Mapping):
        assert isinstance(challenger, Mapping)
        assert isinstance(champion, Mapping)
        assert kinds is not None
        interval = kinds_difference_interval(challenger, champion, labels, groups, kinds, two_sided)
        unit = "AUROC against kinds never seen"
    elif metric == "auroc":
        interval = auroc_difference_interval(
            challenger, champion, labels, groups, two_sided, kinds=kinds
        )
        unit = "AUROC"
    else:
        normal = np.asarray(labels) == 0
        if not normal.any():
            raise ClarityError("labels: the gate split has no normal image to compare errors on")
        a, b, g = (np.asarray(v)[normal] for v in (challenger, champion, groups))
        interval = log_ratio_interval(a, b, g, two_sided).as_reduction()
        unit = f"relative reduction of {metric}"
    promote = bool(interval.low > margin)
    needed = people_needed(interval, 2 * margin, margin, confidence)
    reason = (
        f"{unit} {interval.estimate:+.4f}, at least {interval.low:+.4f} with "
        f"{100 * confidence:.4g}% confidence over {interval.groups} groups (people, or single "
        f"pictures), margin {margin:g}: "
    )
    worse = interval.high < 0
    reason += "better" if promote else "worse" if worse else "not shown to be better"
    if not promote and not worse and needed is not None:
        reason += f"; an improvement of {2 * margin:g} takes {needed:,} groups to be seen"
    return GateDecision(promote, interval.low, interval, margin, confidence, needed, reason)


def spent_confidence(confidence: float, attempt: int) -> float:
    """Confidence for the ``attempt``-th question put to the same gate people, from 1 on.

    One-sided error α/(k(k + 1)), which sums to α over any number of attempts: with it, the
    probability of even one false promotion in the whole history stays below 1 - ``confidence``,
    however the challengers were chosen before their turn.
    """
    check_confidence(confidence)
    if attempt < 1:
        raise ClarityError(f"attempt is {attempt}; attempts are counted from 1")
    return 1 - (1 - confidence) / (attempt * (attempt + 1))


def people_needed(
    interval: Interval,
    effect: float,
    margin: float,
    confidence: float = 0.95,
    power: float = 0.9,
) -> int | None:
    """People for a one-sided lower bound above ``margin`` with ``power``, given a true ``effect``.

    Args:
        interval: of a comparison like the planned one; its variance among people is scaled.

    Returns:
        Number of people, or None where the interval holds no variance or the effect is not beyond
        the margin or no less than all there is.
    """
    if not interval.known or effect <= margin or effect >= 1:
        return None  # neither an error nor an AUROC can improve by all there is
    if interval.standard_error == 0:
        return 2
    if interval.scale == "reduction":
        distance = math.log1p(-margin) - math.log1p(-effect)
    else:
        distance = effect - margin
    per_person = interval.standard_error * math.sqrt(interval.groups)
    thinning = interval.df_people / max(interval.groups - 1, 1)

    def surplus(people: float) -> float:
        df = max(thinning * (people - 1), 1e-3)
        shift = distance * math.sqrt(people) / per_person
        missed = float(special.nctdtr(df, shift, special.stdtrit(df, confidence)))
        # Far out the function gives NaN for what is zero.
        return (1 - missed if math.isfinite(missed) else 1) - power

    if surplus(2) >= 0:
        return 2
    high = 4.0
    while surplus(high) < 0:
        high *= 2
        if high > 1e9:
            return None
    return math.ceil(optimize.brentq(surplus, high / 2, high))
