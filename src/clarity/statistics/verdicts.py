"""From an interval to a verdict, by rule; docs/verdicts.md has the rule and its error rates."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from clarity.errors import ClarityError
from clarity.statistics.interval import POPULATION, Interval, mixed_quantile

Outcome = Literal["confirmed", "refuted", "undecided"]
Direction = Literal["greater", "less"]
Adjustment = Literal["holm", "bonferroni", "none"]

#: Probability with which the repetition that `settles` plans would decide, were the estimate true.
POWER = 0.8
#: Plans beyond this multiple of the people, or beyond so many seeds in all, are not offered: nobody
#: would carry them out, and what they would settle lies at the margin.
_PEOPLE_LIMIT = 1000
_SEEDS_LIMIT = 100


@dataclass(frozen=True)
class Need:
    """What would settle an undecided claim, if the estimate stays where it is.

    Attributes:
        people, images, seeds: how many more, in all; 0 where none. ``images`` is ``people`` at
            today's number of images a person.
        sentence: the same in words.
    """

    people: int
    images: int
    seeds: int
    sentence: str

    def as_dict(self) -> dict[str, Any]:
        """For JSON. It is half a sentence, so it is not called one."""
        return {name: getattr(self, name) for name in ("people", "images", "seeds")} | {
            "words": self.sentence
        }


@dataclass(frozen=True)
class Verdict:
    """What the data say about a claim of the form "the effect is beyond the margin".

    Attributes:
        outcome: ``confirmed``, ``refuted`` or ``undecided``.
        interval: the ordinary interval, to be shown.
        decided_at: confidence of the interval that decided (wider where several claims are made).
        margin, direction: of the claim.
        because: the reason, as a clause ("the whole interval lies above 2 %").
        need: what would settle it; None where it is settled.
        note: what the reader must know beside it, as a confounded comparison; may be empty.
    """

    outcome: Outcome
    interval: Interval
    decided_at: float
    margin: float
    direction: Direction
    because: str
    need: Need | None = None
    note: str = ""

    @property
    def sentence(self) -> str:
        """Outcome, reason, need and note as one line."""
        text = f"{self.outcome}: {self.because}"
        if self.need:
            text += f"; {self.need.sentence}"
        if self.note:
            text += f"; {self.note}"
        return text

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "outcome": self.outcome,
            "because": self.because,
            "note": self.note,
            "margin": self.margin,
            "direction": self.direction,
            "decided_at": self.decided_at,
            "interval": self.interval.as_dict(),
            "need": None if self.need is None else self.need.as_dict(),
        }


def verdict(
    interval: Interval,
    margin: float,
    direction: Direction = "greater",
    *,
    decide_at: float | None = None,
    note: str = "",
    power: float = POWER,
    who: str = "people",
) -> Verdict:
    """Judge the claim that the estimand is greater than ``margin`` (or less than ``-margin``).

    Confirmed: the whole interval lies beyond the margin in the claimed direction. Refuted: the
    whole interval lies short of it: inside the margin, or beyond it on the other side. Else
    undecided. An interval of one training only is always undecided.

    Args:
        margin: smallest effect that counts, at least 0, in the interval's units.
        direction: of the claim.
        decide_at: confidence of the interval that decides (:func:`adjust`); None: the interval's.
        note: is carried along.
        power: see :data:`POWER`.
        who: what the clusters are called.
    """
    if not margin >= 0:
        raise ClarityError(f"margin is {margin:g}; it must be at least 0")
    level = interval.confidence if decide_at is None else decide_at
    bound = margin if direction == "greater" else -margin
    wide = interval.at(level)
    if interval.scope != POPULATION:
        need = Need(0, 0, 2, "needs at least 2 more seeds")
        because = "one training says nothing about what another seed would give"
        return Verdict("undecided", interval, level, margin, direction, because, need, note)
    beyond, short = wide.low > bound, wide.high <= bound
    if direction == "less":
        beyond, short = wide.high < bound, wide.low >= bound
    side = "above" if direction == "greater" else "below"
    shown = f"{100 * bound:g} %" if interval.scale == "reduction" else f"{bound:g}"
    if beyond:
        because = f"the whole interval lies {side} {shown}"
        return Verdict("confirmed", interval, level, margin, direction, because, None, note)
    if short:
        because = f"no part of the interval lies {side} {shown}"
        return Verdict("refuted", interval, level, margin, direction, because, None, note)
    need = settles(interval, bound, level, power, who)
    because = f"the interval holds {shown}"
    return Verdict("undecided", interval, level, margin, direction, because, need, note)


def settles(
    interval: Interval,
    bound: float,
    confidence: float,
    power: float = POWER,
    who: str = "people",
) -> Need:
    """How many more people or seeds would put the interval on one side of ``bound``.

    From the components of variance, taking the estimate for the truth, with the stated power.
    Seeds are proposed where their variance is the larger part, people where theirs is, and both
    where neither alone is enough.
    """
    per_person = interval.images / interval.groups if interval.groups else 0.0
    if not interval.known:
        return Need(1, math.ceil(per_person), 0, f"needs images of more {who}")
    distance = _distance(interval, bound)

    def enough(people: float, seeds: float) -> bool:
        return distance >= _planned_reach(interval, people, seeds, confidence, power)

    seeds_rule = interval.seed_share > interval.people_share
    seeds_most = max(_SEEDS_LIMIT / interval.seeds, 1.0)
    more_people = _smallest(lambda f: enough(f, 1), interval.groups, _PEOPLE_LIMIT)
    more_seeds = _smallest(lambda f: enough(1, f), interval.seeds, seeds_most)
    if interval.groups and more_people and not (seeds_rule and more_seeds):
        images = math.ceil(more_people * per_person)
        text = f"{more_people:,} more {who} ({images:,} images) would settle it"
        return Need(more_people, images, 0, text)
    if more_seeds:
        return Need(0, 0, more_seeds, f"{more_seeds:,} more seeds would settle it")
    both = _smallest(lambda f: enough(f, min(f, seeds_most)), interval.groups, _PEOPLE_LIMIT)
    if both:
        factor = min(1 + both / interval.groups, seeds_most)
        seeds = math.ceil((factor - 1) * interval.seeds)
        images = math.ceil(both * per_person)
        text = f"{both:,} more {who} ({images:,} images) and {seeds:,} more seeds would settle it"
        return Need(both, images, seeds, text)
    text = "the estimate lies too near the margin: no sensible number of images or seeds settles it"
    return Need(0, 0, 0, text)


def adjust(
    intervals: Sequence[Interval],
    margins: Sequence[float],
    directions: Sequence[Direction],
    *,
    method: Adjustment = "holm",
    confidence: float | None = None,
) -> list[float]:
    """Confidence at which each of several claims is decided, so that all hold together.

    Holm (1979) on the two-sided p-values of "the estimand equals the margin": the smallest is
    judged at 1 - α/m, the next at 1 - α/(m - 1) …, and once one is not decided, none after it is
    (they are judged at that one's level). Intervals of one training are never decided and do not
    count.

    Args:
        method: ``holm``; ``bonferroni`` (all at 1 - α/m: simultaneous intervals); ``none``.
        confidence: 1 - α; None: the intervals' own.

    Returns:
        For each claim the ``decide_at`` of :func:`verdict`.
    """
    if not len(intervals) == len(margins) == len(directions):
        raise ClarityError("adjust: as many margins and directions as intervals are needed")
    if method not in ("holm", "bonferroni", "none"):
        raise ClarityError(f"adjust: no method {method!r}; there are holm, bonferroni, none")
    levels = [i.confidence if confidence is None else confidence for i in intervals]
    judged = [k for k, i in enumerate(intervals) if i.scope == POPULATION]
    if method == "none" or not judged:
        return levels
    bounds = [m if d == "greater" else -m for m, d in zip(margins, directions, strict=True)]
    p = {k: intervals[k].p_value(bounds[k]) for k in judged}
    order = sorted(judged, key=lambda k: p[k])
    remaining = len(order)
    for k in order:
        alpha = 1 - levels[k]
        levels[k] = 1 - alpha / remaining
        if method == "holm" and p[k] <= alpha / remaining:
            remaining -= 1
    return levels


def _distance(interval: Interval, bound: float) -> float:
    """From the estimate to ``bound`` on the scale of the standard error."""
    if interval.scale == "reduction":
        return abs(math.log1p(-interval.estimate) - math.log1p(-bound))
    return abs(interval.estimate - bound)


def _planned_reach(
    interval: Interval, people: float, seeds: float, confidence: float, power: float
) -> float:
    """How far off a bound must be to be excluded, with so many times the people and the seeds."""
    variance = interval.standard_error**2
    planned = (
        variance * interval.people_share / people,
        variance * interval.seed_share / seeds,
        variance * interval.residual_share / (people * seeds),
    )
    total = sum(planned)
    if total == 0:
        return 0.0
    shares = (planned[0] / total, planned[1] / total, planned[2] / total)
    parts = interval.df_seeds / max(interval.seeds - 1, 1)
    dfs = (
        max(interval.df_people * people, 1.0),
        parts * max(interval.seeds * seeds - 1, 1.0),
        max(interval.df_residual * people * seeds, 1.0),
    )
    quantiles = mixed_quantile(1 - confidence, shares, dfs) + mixed_quantile(
        2 * (1 - power), shares, dfs
    )
    return quantiles * math.sqrt(total)


def _smallest(enough: Callable[[float], bool], have: int, most: float) -> int | None:
    """Smallest number to add to ``have`` so that ``enough`` of the new multiple holds.

    None where a multiple of ``most`` would not be enough, or where there is nothing to multiply.
    """
    if not have or most <= 1 or not enough(most):
        return None
    low, high = 0, math.ceil(have * (most - 1))
    while high - low > 1:
        middle = (low + high) // 2
        if enough(1 + middle / have):
            high = middle
        else:
            low = middle
    return high
