"""The rule of the verdicts, and how often it is right on simulated results of known effect."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Literal

import numpy as np
import pytest
from scipy import optimize
from scipy.special import expit

from clarity.errors import ClarityError
from clarity.statistics import (
    adjust,
    log_ratio_interval,
    mean_interval,
    settles,
    training_interval,
    verdict,
)

MARGIN = 0.02
RUNS = 500


def reduction(rng, effect, *, people=40, each=10, seeds=3, training=0.01, person=0.15):
    """1 - large/small of an error of which people, pictures and trainings each change something.

    In relative terms: people differ by 15 %, and 5 % of that between the two models; pictures by
    20 % and 10 %; trainings by 1 %.
    """
    groups = np.repeat(np.arange(people), each)
    shared = person * rng.normal(size=people)[groups] + 0.2 * rng.normal(size=len(groups))

    def model(level):
        own = 0.05 * rng.normal(size=people)[groups]
        noise = 0.1 * rng.normal(size=(seeds, len(groups)))
        seed = training * rng.normal(size=(seeds, 1))
        return level * (1 + shared + own + noise + seed)

    return log_ratio_interval(model(1 - effect), model(1.0), groups).as_reduction()


def outcomes(effect, **design):
    rng = np.random.default_rng(11)
    return [verdict(reduction(rng, effect, **design), MARGIN).outcome for _ in range(RUNS)]


def share(found, outcome):
    return found.count(outcome) / len(found)


# --- the rates ---------------------------------------------------------------------------------


def test_an_effect_of_eight_percent_is_confirmed_nine_times_of_ten():
    """40 people × 10 pictures, 3 seeds, margin 2 %."""
    found = outcomes(0.08)
    assert share(found, "confirmed") >= 0.9
    assert share(found, "refuted") <= 0.01


def test_no_effect_is_confirmed_at_most_one_time_in_twenty():
    found = outcomes(0.0)
    assert share(found, "confirmed") <= 0.05


def test_an_effect_at_the_margin_is_confirmed_at_most_one_time_in_twenty():
    """The hardest case of "does not hold": the effect is exactly the margin."""
    found = outcomes(MARGIN)
    assert share(found, "confirmed") <= 0.05
    assert share(found, "refuted") <= 0.05


def test_an_effect_inside_the_margin_is_refuted_with_enough_data():
    """Half a percent against a margin of 2 %: 1,000 people, 5 seeds that differ by 0.4 %."""
    found = outcomes(0.005, people=1000, each=1, seeds=5, training=0.004)
    assert share(found, "refuted") >= 0.9
    assert share(found, "confirmed") <= 0.01


def test_an_effect_the_other_way_is_refuted():
    assert share(outcomes(-0.08), "refuted") >= 0.9


@pytest.mark.parametrize("effect", [-0.5, 0.0, 0.08, 0.5])
def test_nothing_is_decided_from_one_seed(effect):
    assert set(outcomes(effect, seeds=1)) == {"undecided"}
    text = verdict(reduction(np.random.default_rng(0), effect, seeds=1), MARGIN).sentence
    assert "at least 2 more seeds" in text


def test_six_claims_without_effect_hold_together_by_holm():
    """Three families on two splits, nothing in any: a false confirmation in at most 5 %."""
    rng = np.random.default_rng(3)
    wrong: dict[Literal["holm", "none"], int] = {"holm": 0, "none": 0}
    for _ in range(200):
        claims = [reduction(rng, MARGIN, people=20, each=3) for _ in range(6)]
        for method in wrong:
            levels = adjust(claims, [MARGIN] * 6, ["greater"] * 6, method=method)
            judged = [
                verdict(c, MARGIN, decide_at=at) for c, at in zip(claims, levels, strict=True)
            ]
            wrong[method] += any(v.outcome != "undecided" for v in judged)
    assert wrong["holm"] <= 0.08 * 200
    assert wrong["none"] > wrong["holm"]


# --- the same for a measure between 0 and 1 ------------------------------------------------------


def bounded_reduction(rng, effect, *, people=40, each=10, seeds=3, training=0.012, level=-1.0):
    """1 - large/small of a distance like 1 - HaarPSI, which lies in (0, 1).

    As on the embedded faces: on the logit scale people differ by 0.2 and by 0.05 between the two
    models, images by 0.15 and 0.08; trainings by 1 % of the distance.
    """
    groups = np.repeat(np.arange(people), each)
    shared = 0.2 * rng.normal(size=people)[groups] + 0.15 * rng.normal(size=len(groups))
    variance = 0.2**2 + 0.15**2 + 0.05**2 + 0.08**2 + training**2

    def model(at):
        own = 0.05 * rng.normal(size=people)[groups]
        noise = 0.08 * rng.normal(size=(seeds, len(groups)))
        return expit(at + shared + own + noise + training * rng.normal(size=(seeds, 1)))

    nearer = _level((1 - effect) * _mean(level, variance), variance)
    return log_ratio_interval(model(nearer), model(level), groups).as_reduction()


def _mean(level, variance):
    nodes, weights = np.polynomial.hermite_e.hermegauss(40)
    return float(weights @ expit(level + np.sqrt(variance) * nodes) / weights.sum())


def _level(mean, variance):
    return optimize.brentq(lambda level: _mean(level, variance) - mean, -12, 12)


def bounded_rates(effect, level, runs):
    rng = np.random.default_rng(17)
    judged = [verdict(bounded_reduction(rng, effect, level=level), MARGIN) for _ in range(runs)]
    found = [one.outcome for one in judged]
    return {name: share(found, name) for name in ("confirmed", "refuted", "undecided")}


def test_error_rates_for_a_measure_between_0_and_1():
    """A clear family: 8 % is found, the margin itself is not, the reverse is refuted."""
    assert bounded_rates(0.08, -2.0, 120)["confirmed"] >= 0.9
    at_the_margin = bounded_rates(MARGIN, -2.0, 200)
    assert at_the_margin["confirmed"] <= 0.05
    assert at_the_margin["refuted"] <= 0.05
    assert bounded_rates(-0.08, -2.0, 60)["refuted"] >= 0.9


@pytest.mark.slow
@pytest.mark.parametrize("level", [-2.0, 0.0])
def test_error_rates_for_a_measure_between_0_and_1_over_five_hundred_runs(level):
    """Clear (a distance of 0.12) and blurred (0.5)."""
    assert bounded_rates(0.08, level, RUNS)["confirmed"] >= 0.9
    assert bounded_rates(0.05, level, RUNS)["refuted"] == 0
    at_the_margin = bounded_rates(MARGIN, level, RUNS)
    assert at_the_margin["confirmed"] <= 0.05
    assert at_the_margin["refuted"] <= 0.05
    assert bounded_rates(0.0, level, RUNS)["confirmed"] <= 0.01
    assert bounded_rates(-0.08, level, RUNS)["refuted"] >= 0.9


# --- what would settle it ----------------------------------------------------------------------


def test_the_people_asked_for_settle_it_four_times_of_five():
    rng = np.random.default_rng(5)
    base = reduction(rng, 0.05, people=10, each=3, training=0.0)
    base = replace(base, estimate=0.05, people_share=0.9, seed_share=0.0, residual_share=0.1)
    need = settles(base, MARGIN, 0.95)
    assert need.people > 0
    assert need.images == need.people * 3
    assert need.seeds == 0
    found = outcomes(0.05, people=10 + need.people, each=3, training=0.0)
    assert 0.6 <= share(found, "confirmed") <= 0.98


def test_seeds_are_asked_for_where_they_vary_most():
    base = reduction(np.random.default_rng(1), 0.05, people=200, training=0.04)
    assert base.seed_share > 0.8
    need = settles(base, base.estimate - 0.04, 0.95)
    assert need.seeds > 0
    assert need.people == 0
    assert "more seeds" in need.sentence


def test_both_are_asked_for_where_neither_alone_is_enough():
    x = mean_interval(np.random.default_rng(0).normal(size=(4, 30)), np.arange(30))
    x = replace(
        x, estimate=1.0, standard_error=1.0, people_share=0.5, seed_share=0.45, residual_share=0.05
    )
    need = settles(x, 0.0, 0.95)
    assert need.people > 0
    assert need.seeds > 0


def test_an_estimate_on_the_margin_is_never_settled():
    x = mean_interval(np.random.default_rng(0).normal(size=(3, 30)), np.arange(30))
    need = settles(x, x.estimate, 0.95)
    assert (need.people, need.seeds) == (0, 0)
    assert "too near the margin" in need.sentence


def test_hundreds_of_seeds_are_no_plan():
    x = mean_interval(np.random.default_rng(0).normal(size=(3, 30)), np.arange(30))
    x = replace(x, standard_error=1.0, people_share=0.0, seed_share=1.0, residual_share=0.0)
    near, nearer = (settles(replace(x, estimate=distance), 0.0, 0.95) for distance in (0.6, 0.2))
    assert 0 < near.seeds <= 97
    assert (nearer.people, nearer.seeds) == (0, 0)
    assert "too near the margin" in nearer.sentence


def test_one_person_needs_another():
    x = mean_interval(np.random.default_rng(0).normal(size=(3, 5)), np.zeros(5))
    judged = verdict(x, 0.0)
    assert judged.outcome == "undecided"
    assert judged.need is not None
    assert judged.need.people == 1


# --- the rule itself ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("low", "high", "direction", "outcome"),
    [
        (0.03, 0.05, "greater", "confirmed"),
        (0.01, 0.05, "greater", "undecided"),
        (-0.01, 0.02, "greater", "refuted"),
        (-0.05, -0.03, "greater", "refuted"),
        (-0.05, -0.03, "less", "confirmed"),
        (-0.05, -0.01, "less", "undecided"),
        (-0.02, 0.01, "less", "refuted"),
        (0.03, 0.05, "less", "refuted"),
    ],
)
def test_rule(low, high, direction, outcome):
    x = training_interval([1.0, 2.0])
    middle, half = (low + high) / 2, (high - low) / 2
    x = replace(x, estimate=middle, standard_error=half / x.quantile, low=low, high=high)
    judged = verdict(x, 0.02, direction, note="size and bottleneck change together")
    assert judged.outcome == outcome
    assert judged.sentence.startswith(outcome)
    assert judged.sentence.endswith("size and bottleneck change together")
    assert (judged.need is not None) == (outcome == "undecided")
    json.dumps(judged.as_dict(), allow_nan=False)


def test_several_claims_widen_the_interval_that_decides_but_not_the_one_shown():
    x = reduction(np.random.default_rng(0), 0.08)
    judged = verdict(x, x.low - 1e-4, decide_at=0.999)
    assert judged.outcome == "undecided"
    assert judged.interval == x
    assert verdict(x, x.low - 1e-4).outcome == "confirmed"


def test_negative_margin_is_refused():
    with pytest.raises(ClarityError, match="margin"):
        verdict(training_interval([1.0, 2.0]), -0.1)
