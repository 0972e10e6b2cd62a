"""How often each measure prefers the picture that the eye preferred, and how steady the eye was."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from clarity.eye.answers import LEFT, NEITHER, RIGHT
from clarity.eye.looks import Looks
from clarity.eye.values import Asked
from clarity.files import finite
from clarity.statistics.shares import Share, design_effect, share_interval

#: Parts of the looks for which every measure is judged.
PARTS = ("all", "within", "between")
_SWAPPED = {LEFT: RIGHT, RIGHT: LEFT, NEITHER: NEITHER}


@dataclass(frozen=True)
class Agreement:
    """One measure on one part of the looks; ``share`` is None where there is nothing to judge."""

    measure: Asked
    part: str
    share: Share | None


@dataclass(frozen=True)
class Steadiness:
    """What shows how far the looks themselves can be trusted.

    Attributes:
        looks: pairs looked at, repeats left out; ``undecided`` of them.
        repeated: pairs answered twice by the same looker, sides swapped; ``same``: the same answer
            both times; ``opposite``: the other picture.
        left: of the ``decided`` looks, repeats included, those for the left side; ``p``: that
            chance alone would give so one-sided a number (exact binomial test).
        together: pairs that two lookers both decided, and ``alike`` of them.
    """

    looks: int
    undecided: int
    repeated: int
    same: int
    opposite: int
    decided: int
    left: int
    p: float
    together: int
    alike: int


@dataclass(frozen=True)
class Contest:
    """Two models, and how often the eye preferred each; ``sort`` is within or between families."""

    first: str
    second: str
    sort: str
    for_first: int
    for_second: int
    undecided: int


def agreements(looks: Looks, confidence: float) -> list[Agreement]:
    """Every measure on every part, from the first looks at each pair that were decided.

    Measures with which all looks agree show no clustering of their own: they are given the largest
    design effect among the others.
    """
    table = looks.table[(looks.table["repeats"] == 0) & (looks.table["choice"] != NEITHER)]
    found = []
    for part in PARTS:
        here = table if part == "all" else table[table["sort"] == part]
        hits = {measure.key: _hits(here, measure) for measure in looks.measures}
        effects = []
        for values in hits.values():
            known = np.isfinite(values)
            if known.any() and 0 < values[known].mean() < 1:
                effects.append(design_effect(values[known], *_clusters(here[known])))
        for measure in looks.measures:
            values = hits[measure.key]
            known = np.isfinite(values)
            share = None
            if known.any():
                unanimous = values[known].mean() in (0, 1)
                share = share_interval(
                    values[known], *_clusters(here[known]), confidence,
                    least_effect=max(effects, default=1.0) if unanimous else 1.0,
                )  # fmt: skip
            found.append(Agreement(measure, part, share))
    return found


def _hits(table: pd.DataFrame, measure: Asked) -> np.ndarray[Any, np.dtype[np.float64]]:
    prefers = [
        measure.prefers_left(left, right)
        for left, right in zip(
            table[f"{measure.key}_left"], table[f"{measure.key}_right"], strict=True
        )
    ]
    towards = np.array(prefers, dtype=np.float64)
    return np.where(table["choice"] == LEFT, towards, 1 - towards)


def _clusters(table: pd.DataFrame) -> tuple[list[str], list[str]]:
    return [str(p) for p in table["person"]], [str(looker) for looker in table["looker"]]


def steadiness(looks: Looks) -> Steadiness:
    """Repeats, sides, and lookers against each other."""
    table = looks.table
    first = table[table["repeats"] == 0]
    by_trial = {
        (looker, deck, trial): choice
        for looker, deck, trial, choice in _columns(table, "looker", "deck", "trial", "choice")
    }
    both = [
        (_SWAPPED[choice], by_trial[looker, deck, of])
        for looker, deck, of, choice in _columns(
            table[table["repeats"] > 0], "looker", "deck", "repeats", "choice"
        )
        if (looker, deck, of) in by_trial
    ]
    decided = table[table["choice"] != NEITHER]
    left = int((decided["choice"] == LEFT).sum())
    pairs = [
        (a, b)
        for _, choices in first[first["choice"] != NEITHER].groupby("pair")["choice"]
        for a, b in combinations(choices, 2)
    ]
    return Steadiness(
        looks=len(first),
        undecided=int((first["choice"] == NEITHER).sum()),
        repeated=len(both),
        same=sum(a == b for a, b in both),
        opposite=sum(a == _SWAPPED[b] and a != NEITHER for a, b in both),
        decided=len(decided),
        left=left,
        p=float(stats.binomtest(left, len(decided)).pvalue) if len(decided) else 1.0,
        together=len(pairs),
        alike=sum(a == b for a, b in pairs),
    )


def _columns(table: pd.DataFrame, *names: str) -> Iterable[tuple[Any, ...]]:
    return zip(*(table[name] for name in names), strict=True)


def contests(looks: Looks) -> list[Contest]:
    """Wins of each pair of models, repeats left out, in the order of their names."""
    counted: dict[tuple[str, str, str], dict[str | None, int]] = {}
    table = looks.table[looks.table["repeats"] == 0]
    for left, right, sort, choice in _columns(table, "left_model", "right_model", "sort", "choice"):
        first, second = sorted((left, right))
        winner = {LEFT: left, RIGHT: right}.get(choice)
        wins = counted.setdefault((sort, first, second), {})
        wins[winner] = wins.get(winner, 0) + 1
    return [
        Contest(first, second, sort, wins.get(first, 0), wins.get(second, 0), wins.get(None, 0))
        for (sort, first, second), wins in sorted(counted.items(), key=lambda i: i[0])
    ]


def as_json(
    found: list[Agreement], steady: Steadiness, fought: list[Contest], confidence: float
) -> dict[str, Any]:
    """Everything, for a machine to read; NaN becomes null."""
    return {
        "confidence": confidence,
        "looks": asdict(steady),
        "agreement": [
            {"measure": item.measure.key, "part": item.part}
            | ({} if item.share is None else finite(asdict(item.share)))
            for item in found
        ],
        "contests": [asdict(contest) for contest in fought],
    }


def as_csv(content: dict[str, Any]) -> str:
    """The agreements of `as_json` as a table."""
    text: str = pd.DataFrame(content["agreement"]).to_csv(index=False, lineterminator="\n")
    return text
