"""The gate on simulated challengers of known worth."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import optimize, stats
from scipy.stats import norm

from clarity.errors import ClarityError
from clarity.statistics import (
    auroc_difference_interval,
    auroc_interval,
    gate_decision,
    log_ratio_interval,
    people_needed,
    spent_confidence,
)

CHALLENGERS = 1000
SHIFTS = np.array([0.3, 1.0, 2.0])
MARGIN = 0.02


def gate_split(people, each=3):
    """Labels, groups, kinds: normals, and three kinds of anomaly made from the same pictures."""
    kinds = np.repeat(np.arange(4), people * each)
    return (kinds > 0).astype(int), np.tile(np.repeat(np.arange(people), each), 4), kinds


def area(scale):
    return norm.cdf(SHIFTS * scale / np.sqrt(2)).mean()


@cache
def scale_for(gain):
    return optimize.brentq(lambda s: area(s) - area(1) - gain, 0.01, 20)


def pair(
    rng, groups, kinds, gain, correlation=0.95
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Scores of a challenger whose true AUROC is higher by ``gain``, and of its champion."""
    shared = 0.5 * rng.normal(size=groups.max() + 1)[groups]
    shared += np.sqrt(0.75) * rng.normal(size=len(groups))

    def model(times):
        own = np.sqrt(1 - correlation) * rng.normal(size=len(groups))
        return np.sqrt(correlation) * shared + own + np.append(0, SHIFTS)[kinds] * times

    return model(scale_for(gain)), model(1.0)


def decisions(gain, people, runs=CHALLENGERS, seed=0):
    rng = np.random.default_rng(seed)
    labels, groups, kinds = gate_split(people)
    return [
        gate_decision(*pair(rng, groups, kinds, gain), labels, groups, MARGIN, kinds=kinds)
        for _ in range(runs)
    ]


def promoted(gain, people, runs=CHALLENGERS):
    return np.mean([d.promote for d in decisions(gain, people, runs)])


@pytest.mark.parametrize("people", [6, 50])
def test_of_a_thousand_challengers_no_better_at_most_five_percent_pass(people):
    found = decisions(0.0, people)
    assert np.mean([d.promote for d in found]) <= 0.05
    # Without a margin the bound is the confidence itself, which is the harder test.
    assert np.mean([d.lower_bound > 0 for d in found]) <= 0.07


def test_of_challengers_better_by_exactly_the_margin_about_five_percent_pass():
    assert promoted(MARGIN, 50) <= 0.07


def test_with_the_people_needed_nine_of_ten_better_by_twice_the_margin_pass():
    """The number is computed from one comparison of equals on 40 people, as a user would."""
    rng = np.random.default_rng(1)
    labels, groups, kinds = gate_split(40)
    asked = []
    for _ in range(20):
        scores = pair(rng, groups, kinds, 0.0)
        decision = gate_decision(*scores, labels, groups, MARGIN, kinds=kinds)
        assert decision.people_needed is not None
        asked.append(decision.people_needed)
    needed = int(np.median(asked))
    assert needed > 40
    assert promoted(2 * MARGIN, needed, runs=300) >= 0.87
    assert promoted(2 * MARGIN, needed // 3, runs=100) < 0.85
    assert f"takes {decision.people_needed:,} groups" in decision.reason


def test_people_needed_is_the_sample_size_of_a_one_sided_t_test():
    """Against statsmodels' power of the t-test, one picture a person."""
    from statsmodels.stats.power import TTestPower

    rng = np.random.default_rng(0)
    x = np.exp(rng.normal(size=40))
    i = log_ratio_interval(x * np.exp(0.1 * rng.normal(size=40)), x, np.arange(40), 0.9)
    spread = i.standard_error * np.sqrt(40)
    expected = TTestPower().solve_power(
        effect_size=0.02 / spread, alpha=0.05, power=0.9, alternative="larger"
    )
    assert people_needed(i, 0.03, 0.01) == pytest.approx(np.ceil(expected), abs=1)
    assert people_needed(i, 0.01, 0.01) is None


def test_errors_are_compared_on_normals_by_relative_reduction():
    rng = np.random.default_rng(3)
    labels, groups, _ = gate_split(30)
    champion = np.exp(0.3 * rng.normal(size=len(labels)))
    challenger = 0.9 * champion * np.exp(0.05 * rng.normal(size=len(labels)))
    decision = gate_decision(challenger, champion, labels, groups, 0.02, metric="mse")
    normal = labels == 0
    assert decision.interval.estimate == pytest.approx(
        1 - challenger[normal].mean() / champion[normal].mean()
    )
    assert decision.promote
    assert decision.lower_bound == decision.interval.low
    back = gate_decision(champion, challenger, labels, groups, 0.02, metric="mse")
    assert not back.promote


def test_lower_bound_is_one_sided_students_t():
    rng = np.random.default_rng(4)
    labels = np.repeat([0, 1], 40)
    a, b = rng.normal(size=80) + labels, rng.normal(size=80) + labels
    d = gate_decision(a, b, labels, np.arange(80), 0.0, 0.95)
    i = d.interval
    expected = i.estimate - stats.t.ppf(0.95, i.df_people) * i.standard_error
    assert d.lower_bound == pytest.approx(expected)


def test_the_same_model_is_never_promoted_over_itself():
    labels, groups, kinds = gate_split(10)
    scores = pair(np.random.default_rng(0), groups, kinds, 0.0)[0]
    assert not gate_decision(scores, scores, labels, groups, 0.0, kinds=kinds).promote


def test_fifty_equals_on_the_same_people_and_the_error_that_is_spent():
    """Reuse: what 5 % a time comes to over a history, and what spending the error makes of it."""
    labels, groups, kinds = gate_split(12, 2)
    rng = np.random.default_rng(5)
    false = {"plain": 0, "spent": 0}
    histories = 25
    for _ in range(histories):
        champion = pair(rng, groups, kinds, 0.0)[0]
        shared = champion - np.append(0, SHIFTS)[kinds]
        some = dict.fromkeys(false, False)
        for attempt in range(1, 51):
            own = np.sqrt(0.05) * rng.normal(size=len(groups))
            challenger = np.sqrt(0.95) * shared + own + np.append(0, SHIFTS)[kinds]
            i = auroc_difference_interval(challenger, champion, labels, groups, kinds=kinds)
            some["plain"] |= i.lower_bound(0.95) > 0
            some["spent"] |= i.lower_bound(spent_confidence(0.95, attempt)) > 0
        for name in false:
            false[name] += some[name]
    assert false["spent"] <= 0.15 * histories
    assert false["plain"] >= false["spent"]


def test_spent_error_sums_to_the_whole():
    spent = [1 - spent_confidence(0.95, k) for k in range(1, 5000)]
    assert sum(spent) == pytest.approx(0.05, rel=1e-3)
    with pytest.raises(ClarityError, match="counted from 1"):
        spent_confidence(0.95, 0)


def test_kinds_keep_their_mix_so_that_unlike_kinds_add_no_variance():
    """Two photographs, easily told from faces, are two clusters: of their kind, not of the set."""
    rng = np.random.default_rng(6)
    labels, groups, kinds = gate_split(40)
    scores = pair(rng, groups, kinds, 0.0)[0]
    scores[kinds == 3] += 3
    clusters = np.where(kinds == 3, 1000 + np.arange(len(kinds)) % 2, groups)
    plain = auroc_interval(scores, labels, clusters)
    apart = auroc_interval(scores, labels, clusters, kinds=kinds)
    assert apart.estimate == plain.estimate
    assert apart.groups == 42
    assert apart.high - apart.low < 0.6 * (plain.high - plain.low)
    single = np.where(kinds == 3, 1000, groups)
    assert np.isfinite(auroc_interval(scores, labels, single, kinds=kinds).standard_error)


def test_bootstrap_within_kinds_agrees_with_the_strata():
    from sklearn.metrics import roc_auc_score

    rng = np.random.default_rng(7)
    labels, groups, kinds = gate_split(60)
    a, b = pair(rng, groups, kinds, 0.0)
    i = auroc_difference_interval(a, b, labels, groups, kinds=kinds)
    drawn = []
    for _ in range(200):
        weights = np.bincount(rng.integers(60, size=60), minlength=60)[groups]
        drawn.append(
            roc_auc_score(labels, a, sample_weight=weights)
            - roc_auc_score(labels, b, sample_weight=weights)
        )
    assert i.standard_error == pytest.approx(np.std(drawn), rel=0.2)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"confidence": 0.4}, "above 0.5"),
        ({"margin": -1.0}, "at least 0"),
        ({"labels": np.ones(240)}, "only one kind"),
    ],
)
def test_bad_input_is_one_line(change, says):
    labels, groups, kinds = gate_split(20)
    a, b = pair(np.random.default_rng(0), groups, kinds, 0.0)
    arguments = {"labels": labels, "groups": groups, "margin": 0.0, "confidence": 0.95} | change
    with pytest.raises(ClarityError, match=says):
        gate_decision(a, b, **arguments)


def test_one_picture_of_a_rare_kind_does_not_silence_the_gate():
    rng = np.random.default_rng(3)
    labels, groups, kinds = gate_split(20)
    good, bad = pair(rng, groups, kinds, 0.2)
    without = gate_decision(good, bad, labels, groups, MARGIN, kinds=kinds)
    rare = kinds.copy()
    rare[-1] = 9
    decision = gate_decision(good, bad, labels, groups, MARGIN, kinds=rare)
    assert decision.interval.estimate == pytest.approx(without.interval.estimate)
    assert 0 < decision.lower_bound <= without.lower_bound + 0.01
    assert np.isfinite(decision.interval.standard_error)


def test_the_gate_says_its_level_as_it_is_and_asks_for_no_more_than_there_is():
    labels, groups, _ = gate_split(6)
    error = np.random.default_rng(0).uniform(1, 2, len(labels))
    spent = spent_confidence(0.95, 3)
    decision = gate_decision(error, error[::-1], labels, groups, 0.5, spent, metric="mse")
    assert "with 99.58% confidence" in decision.reason
    assert decision.people_needed is None
