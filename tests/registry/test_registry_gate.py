"""The rule itself: numbers in, ruling out; and the history's bookkeeping."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from clarity.errors import ClarityError
from clarity.params import Gate, Guards
from clarity.registry.gate import Candidate, over_budget, rule
from clarity.registry.history import Entry, History, entry

GATE = Gate(
    name="clarity",
    metric="auroc",
    margin=0.005,
    confidence=0.95,
    spend=False,
    guards=Guards(false_alarms=0.02, latency=2.0, size=4.0),
)
PEOPLE, EACH = 60, 5
LABELS = np.repeat([0, 1], PEOPLE * EACH).astype(np.int8)
GROUPS = np.tile(np.repeat(np.arange(PEOPLE), EACH).astype(str), 2)
KINDS = np.where(LABELS == 0, "normal", "cutpaste")


def candidate(shift: float, seed: int = 0, **changes: object) -> Candidate:
    """Scores whose anomalies lie ``shift`` standard deviations off; shared difficulty."""
    shared = np.random.default_rng(0).normal(size=len(LABELS))
    own = np.random.default_rng(seed).normal(size=len(LABELS)) * 0.1
    values = shared + own + shift * LABELS
    figure = 0.5
    fields = {"false_alarm_rate": 0.05, "stated_rate": 0.05, "latency": 0.01, "size": 1000}
    return Candidate("version", values, figure, **{**fields, **changes})  # type: ignore[arg-type]


def ask(challenger: Candidate, champion: Candidate, gate: Gate = GATE, question: int = 1):
    return rule(challenger, champion, LABELS, GROUPS, KINDS, gate, question=question)


def test_better_is_promoted_worse_and_equal_are_not() -> None:
    better = ask(candidate(2.0, 1), candidate(1.0, 2))
    assert better.promote
    assert better.numbers["lower_bound"] > GATE.margin
    assert not ask(candidate(1.0, 1), candidate(2.0, 2)).promote
    equal = ask(candidate(1.0, 1), candidate(1.0, 2))
    assert not equal.promote
    assert "not shown to be better" in equal.reason
    assert equal.numbers["people_needed"] > 0


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"false_alarm_rate": 0.08}, "false_alarms"),
        ({"latency": 0.021}, "latency"),
        ({"size": 4001}, "size"),
    ],
)
def test_each_guard_stops_a_better_challenger(changes: dict, named: str) -> None:
    ruling = ask(candidate(2.0, 1, **changes), candidate(1.0, 2))
    assert not ruling.promote
    assert f"gate.guards.{named}" in ruling.reason


def test_who_lets_the_obvious_through_is_refused_whoever_is_champion() -> None:
    passed = {"let_through": {"black": 1.0, "gradient": 0.5}, "panel": 1.5 / 11}
    strict, loose = (
        GATE.model_copy(update={"guards": Guards(panel=bound)}) for bound in (0.1, 1.5 / 11)
    )
    ruling = ask(candidate(2.0, 1, **passed), candidate(1.0, 2), strict)
    assert not ruling.promote
    assert "black, gradient (50% of them)" in ruling.reason
    assert "gate.guards.panel" in ruling.reason
    assert over_budget(candidate(2.0, 1, **passed), strict)  # a first champion's question
    assert ask(candidate(2.0, 1, **passed), candidate(1.0, 2), loose).promote


def test_on_its_bound_a_guard_holds() -> None:
    bounds = {"false_alarm_rate": 0.07, "latency": 0.02, "size": 4000}
    assert ask(candidate(2.0, 1, **bounds), candidate(1.0, 2)).promote
    # A champion with no false alarm at all sets no bar below the rate that was asked for.
    lucky = candidate(1.0, 2, false_alarm_rate=0.0)
    assert ask(candidate(2.0, 1, **bounds), lucky).promote


def test_spending_asks_for_more_confidence_each_time() -> None:
    gate = GATE.model_copy(update={"spend": True})
    bounds = [
        ask(candidate(1.1, 1), candidate(1.0, 2), gate, question=k).numbers for k in (1, 2, 50)
    ]
    assert [round(one["confidence"], 5) for one in bounds] == [0.975, 0.99167, 0.99998]
    assert bounds[0]["lower_bound"] > bounds[1]["lower_bound"] > bounds[2]["lower_bound"]


def test_errors_are_compared_on_normals_and_lower_is_better() -> None:
    gate = GATE.model_copy(update={"metric": "mse", "margin": 0.02})
    errors = np.exp(candidate(0.0, 1).values / 10)
    low, high = (replace(candidate(0.0), values=errors * k) for k in (0.9, 1.0))
    assert ask(low, high, gate).promote
    assert not ask(high, low, gate).promote


def line(event: str, after: int | None, before: int | None = None, **more: object) -> Entry:
    alias = more.pop("alias", "champion")
    return entry(event, "why", alias=alias, before=before, after=after, **more)  # type: ignore[arg-type]


def test_the_stack_of_champions_and_who_was_withdrawn(tmp_path: Path) -> None:
    history = History(tmp_path / "registry" / "history.jsonl")
    history.append(
        [line("promote", 1), line("promote", 2, 1), line("promote", 3, 2), line("rollback", 2, 3)]
    )
    assert (history.champions, history.withdrawn) == ([1, 2], {3})
    history.append([line("rollback", 1, 2)])
    assert (history.champions, history.withdrawn) == ([1], {2, 3})
    history.append([line("promote", 3, 1)])
    assert (history.champions, history.withdrawn) == ([1, 3], {2})
    again = History(history.path)
    assert again.entries == history.entries
    assert again.aliases == {"champion": 3}


def test_the_same_pair_is_the_same_question(tmp_path: Path) -> None:
    history = History(tmp_path / "history.jsonl")
    split = "ab" * 32
    ab, ac = {1: "a", 2: "b"}, {1: "a", 3: "c"}
    numbers = {"gate_split": split[:16]}
    assert history.question(split, ab) == 1
    history.append([line("challenge", 2, alias="challenger", identities=ab, numbers=numbers)])
    assert history.asked(split, ab)
    assert not history.asked("cd" * 32, ab)
    assert (history.question(split, ab), history.question(split, ac)) == (1, 2)
    assert history.question("cd" * 32, ac) == 1


def test_a_broken_line_is_named(tmp_path: Path) -> None:
    path = tmp_path / "history.jsonl"
    path.write_text(line("promote", 1).line() + "\n" + '{"time": 3}\n')
    with pytest.raises(ClarityError, match=r"history.jsonl:2: .*git checkout"):
        History(path)
