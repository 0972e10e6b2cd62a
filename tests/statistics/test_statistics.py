"""Every interval against an independent computation: scipy, scikit-learn, statsmodels, by hand."""

from __future__ import annotations

import math
import tracemalloc

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
import statsmodels.formula.api as smf
from scipy import stats
from sklearn.metrics import average_precision_score, roc_auc_score, roc_curve
from statsmodels.stats.anova import anova_lm
from statsmodels.stats.multitest import multipletests

from clarity.errors import ClarityError
from clarity.statistics import (
    POPULATION,
    THIS_TRAINING,
    adjust,
    auroc_difference_interval,
    auroc_interval,
    bootstrap_means,
    difference_interval,
    kinds_difference_interval,
    kinds_interval,
    log_ratio_interval,
    mean_interval,
    placement_values,
    ranking_interval,
    simultaneous_bands,
    slope_interval,
    training_difference_interval,
    training_interval,
    training_log_ratio_interval,
)
from clarity.statistics.interval import score_limits


def faces(people=20, each=6, seeds=3, *, seed=0, person=1.0, training=0.4, mean=10.0):
    """(S, N) values and (N,) groups with effects of people, trainings and their interaction."""
    rng = np.random.default_rng(seed)
    groups = np.repeat(np.arange(people), each)
    values = (
        mean
        + person * rng.normal(size=people)[groups]
        + training * rng.normal(size=(seeds, 1))
        + 0.3 * rng.normal(size=(seeds, people))[:, groups]
        + 0.5 * rng.normal(size=(seeds, people * each))
    )
    return values, groups


def scored(people=25, normals=6, anomalies=4, seeds=3, *, seed=0, shift=1.5):
    """Scores of normals and of anomalies made from the same people's pictures."""
    rng = np.random.default_rng(seed)
    own = np.arange(people)
    groups = np.concatenate([np.repeat(own, normals), np.repeat(own, anomalies)])
    labels = np.repeat([0, 1], [people * normals, people * anomalies])
    scores = rng.normal(size=people)[groups] * 0.5 + rng.normal(size=(seeds, len(groups)))
    return scores + labels * (shift + 0.2 * rng.normal(size=(seeds, 1))), labels, groups


# --- means -------------------------------------------------------------------------------------


def test_one_image_per_person_and_one_training_is_students_t():
    x = np.random.default_rng(0).normal(3, 2, size=17)
    got = mean_interval(x, np.arange(17))
    low, high = stats.t.interval(0.95, 16, loc=x.mean(), scale=stats.sem(x))
    assert (got.low, got.high) == pytest.approx((low, high), rel=1e-12)
    assert got.df == pytest.approx(16)
    assert got.scope == THIS_TRAINING


def test_equal_people_and_one_training_is_t_over_the_peoples_means():
    x, g = faces(seeds=1)
    means = pd.Series(x[0]).groupby(g).mean()
    low, high = stats.t.interval(0.95, len(means) - 1, loc=means.mean(), scale=stats.sem(means))
    got = mean_interval(x, g)
    assert (got.low, got.high) == pytest.approx((low, high), rel=1e-12)


def test_crossed_variance_is_that_of_statsmodels_two_way_anova():
    x, g = faces(people=12, each=5, seeds=4)
    cells = np.stack([pd.Series(row).groupby(g).mean() for row in x])
    table = pd.DataFrame(
        {
            "y": cells.ravel(),
            "seed": np.repeat(np.arange(4), 12),
            "person": np.tile(np.arange(12), 4),
        }
    )
    squares = anova_lm(smf.ols("y ~ C(person) + C(seed)", table).fit())["mean_sq"]
    of_person, of_seed, rest = squares["C(person)"], squares["C(seed)"], squares["Residual"]
    got = mean_interval(x, g)
    assert got.standard_error**2 == pytest.approx((of_person + of_seed - rest) / 48, rel=1e-9)
    assert got.seed_share == pytest.approx((of_seed - rest) / 48 / got.standard_error**2)
    satterthwaite = (of_person + of_seed - rest) ** 2 / (
        of_person**2 / 11 + of_seed**2 / 3 + rest**2 / 33
    )
    assert got.df == pytest.approx(satterthwaite, rel=1e-9)


def test_crossed_variance_agrees_with_a_mixed_model_fitted_by_reml():
    x, g = faces(people=12, each=3, seeds=4, training=0.8)
    cells = np.stack([pd.Series(row).groupby(g).mean() for row in x])
    table = pd.DataFrame(
        {
            "y": cells.ravel(),
            "seed": np.repeat(np.arange(4), 12),
            "person": np.tile(np.arange(12), 4),
            "all": 1,
        }
    )
    parts = {"person": "0 + C(person)", "seed": "0 + C(seed)"}
    fit = sm.MixedLM.from_formula("y ~ 1", groups="all", vc_formula=parts, data=table).fit()
    got = mean_interval(x, g)
    assert got.standard_error == pytest.approx(fit.bse["Intercept"], rel=2e-3)
    assert got.estimate == pytest.approx(fit.params["Intercept"])


def test_unequal_people_agree_with_statsmodels_clustered_errors_when_people_are_many():
    rng = np.random.default_rng(1)
    sizes = rng.integers(1, 12, size=400)
    g = np.repeat(np.arange(400), sizes)
    x = rng.normal(size=400)[g] + rng.normal(size=len(g))
    fit = sm.OLS(x, np.ones(len(x))).fit(cov_type="cluster", cov_kwds={"groups": g})
    assert mean_interval(x, g).standard_error == pytest.approx(fit.bse[0], rel=0.01)


def test_bell_mccaffrey_degrees_of_freedom_against_the_definition_with_matrices():
    rng = np.random.default_rng(2)
    sizes = np.array([1, 1, 2, 5, 20, 3])
    g = np.repeat(np.arange(6), sizes)
    # Noise alone: the working model then estimates no effect of the person.
    x = rng.normal(size=len(g))
    x -= np.array([x[g == k].mean() for k in range(6)])[g]
    n = len(g)
    residual_maker = np.eye(n) - np.ones((n, n)) / n
    columns = []
    for k in range(6):
        own = (g == k).astype(float)
        adjusted = own / math.sqrt(1 - sizes[k] / n)
        columns.append(residual_maker @ adjusted / n)
    spectrum = np.linalg.eigvalsh(np.stack(columns, 1).T @ np.stack(columns, 1))
    expected = spectrum.sum() ** 2 / (spectrum**2).sum()
    assert mean_interval(x, g).df == pytest.approx(expected, rel=1e-9)


def test_difference_of_paired_models_is_the_paired_t_of_scipy():
    x, g = faces(people=30, each=1, seeds=1)
    y, _ = faces(people=30, each=1, seeds=1, seed=5)
    paired = stats.ttest_rel(x[0], y[0]).confidence_interval(0.95)
    got = difference_interval(x, y, g)
    assert (got.low, got.high) == pytest.approx((paired.low, paired.high), rel=1e-10)


def test_where_only_trainings_differ_the_difference_is_welchs():
    rng = np.random.default_rng(3)
    a, b = rng.normal(10, 1, size=(4, 1)), rng.normal(9, 0.3, size=(3, 1))
    got = difference_interval(np.repeat(a, 50, axis=1), np.repeat(b, 50, axis=1), np.arange(50))
    welch = stats.ttest_ind(a[:, 0], b[:, 0], equal_var=False)
    low, high = welch.confidence_interval(0.95)
    assert (got.low, got.high) == pytest.approx((low, high), rel=1e-9)
    plain = training_difference_interval(a[:, 0], b[:, 0])
    assert (plain.low, plain.high) == pytest.approx((low, high), rel=1e-9)
    assert got.p_value(0.0) == pytest.approx(welch.pvalue, rel=1e-5)


def test_pairing_takes_the_people_out_of_a_difference():
    x, g = faces(person=5.0, training=0.0)
    y = x + 1 + 0.01 * np.random.default_rng(0).normal(size=x.shape)
    assert difference_interval(y, x, g).half_width < mean_interval(x, g).half_width / 4


def test_log_ratio_agrees_with_the_bootstrap_of_people():
    rng = np.random.default_rng(4)
    g = np.repeat(np.arange(150), 4)
    b = np.exp(0.3 * rng.normal(size=150)[g] + 0.2 * rng.normal(size=600))
    a = 0.8 * b * np.exp(0.1 * rng.normal(size=600))
    drawn = bootstrap_means(np.stack([a, b]), g, 4000, 0)
    got = log_ratio_interval(a, b, g)
    assert got.standard_error == pytest.approx(np.log(drawn[:, 0] / drawn[:, 1]).std(), rel=0.05)
    assert got.estimate == pytest.approx(math.log(a.mean() / b.mean()))
    reduction = got.as_reduction()
    assert reduction.estimate == pytest.approx(1 - a.mean() / b.mean())
    assert reduction.low < reduction.estimate < reduction.high
    assert reduction.at(0.9).low > reduction.low
    assert reduction.p_value(reduction.low) == pytest.approx(0.05, rel=1e-6)


def test_slope_is_least_squares_and_its_error_that_of_the_bootstrap():
    rng = np.random.default_rng(5)
    g = np.repeat(np.arange(120), 3)
    sizes = np.array([1e5, 1e6, 3e7])
    face = 0.3 * rng.normal(size=120)[g]
    models = [
        n**-0.1 * np.exp(face + 0.2 * rng.normal(size=120)[g] + 0.1 * rng.normal(size=360))
        for n in sizes
    ]
    got = slope_interval(sizes, models, g)
    line = stats.linregress(np.log(sizes), [math.log(m.mean()) for m in models])
    assert got.estimate == pytest.approx(line.slope)
    drawn = np.log(bootstrap_means(np.stack(models), g, 4000, 0))
    centred = np.log(sizes) - np.log(sizes).mean()
    slopes = drawn @ centred / (centred @ centred)
    assert got.standard_error == pytest.approx(slopes.std(), rel=0.06)


def test_pca_has_no_seed_variance_with_any_number_of_seeds():
    x, g = faces(seeds=1)
    one = mean_interval(x, g, deterministic=True)
    many = mean_interval(np.repeat(x, 4, axis=0), g)
    assert one.scope == many.scope == POPULATION
    assert (many.low, many.high) == pytest.approx((one.low, one.high), rel=1e-9)
    assert many.seed_share == pytest.approx(0, abs=1e-12)
    y, _ = faces(seeds=3, seed=9)
    assert difference_interval(y, x, g, deterministic=(False, True)).scope == POPULATION
    assert difference_interval(y, x, g).scope == THIS_TRAINING


def test_shares_sum_to_one_and_follow_what_varies():
    x, g = faces(people=40, seeds=5, training=3.0)
    i = mean_interval(x, g)
    assert i.people_share + i.seed_share + i.residual_share == pytest.approx(1)
    assert i.seed_share > 0.8


def test_one_person_leaves_the_interval_open():
    x, _ = faces(people=1, each=9)
    i = mean_interval(x, np.zeros(9))
    assert (i.low, i.high) == (-math.inf, math.inf)
    assert i.as_dict()["low"] is None


def test_a_constant_metric_has_an_interval_without_width():
    i = mean_interval(np.full((3, 10), 2.0), np.arange(10))
    assert (i.low, i.estimate, i.high) == (2.0, 2.0, 2.0)


# --- one number a training ---------------------------------------------------------------------


def test_training_intervals_are_t_and_welch():
    a, b = np.array([3.1, 2.9, 3.4]), np.array([4.0, 4.4, 3.9, 4.1])
    low, high = stats.t.interval(0.95, 2, loc=a.mean(), scale=stats.sem(a))
    got = training_interval(a)
    assert (got.low, got.high) == pytest.approx((low, high))
    ratio = training_log_ratio_interval(a, b)
    assert ratio.estimate == pytest.approx(math.log(a.mean() / b.mean()))
    error = math.hypot(stats.sem(a) / a.mean(), stats.sem(b) / b.mean())
    assert ratio.standard_error == pytest.approx(error)
    alone = training_interval([3.0])
    assert (alone.low, alone.high) == (-math.inf, math.inf)
    assert alone.scope == THIS_TRAINING


# --- AUROC -------------------------------------------------------------------------------------


def delong(scores, labels):
    """Areas and covariance of DeLong et al. from the definition, pair by pair."""
    positives, negatives = scores[:, labels == 1], scores[:, labels == 0]
    wins = (positives[:, :, None] > negatives[:, None, :]) + 0.5 * (
        positives[:, :, None] == negatives[:, None, :]
    )
    of_positives, of_negatives = wins.mean(axis=2), wins.mean(axis=1)
    covariance = np.atleast_2d(np.cov(of_positives)) / of_positives.shape[1]
    covariance = covariance + np.atleast_2d(np.cov(of_negatives)) / of_negatives.shape[1]
    return wins.mean(axis=(1, 2)), covariance


def test_areas_are_scikit_learns_with_ties():
    scores, labels, _ = scored()
    scores = scores.round(1)
    areas, placements = placement_values(scores, labels == 1)
    assert areas == pytest.approx([roc_auc_score(labels, row) for row in scores])
    assert placements[:, labels == 0].mean(axis=1) == pytest.approx(areas)


def test_independent_images_give_delongs_variance():
    scores, labels, _ = scored(seeds=2)
    each = np.arange(len(labels))
    _, covariance = delong(scores, labels)
    areas = [roc_auc_score(labels, row) for row in scores]
    one = auroc_interval(scores[0], labels, each)
    on_logit = math.sqrt(covariance[0, 0]) / (areas[0] * (1 - areas[0]))
    assert one.standard_error == pytest.approx(on_logit, rel=1e-6)
    both = auroc_difference_interval(scores[0], scores[1], labels, each)
    contrast = covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1]
    assert both.standard_error == pytest.approx(math.sqrt(contrast), rel=1e-6)
    assert both.estimate == pytest.approx(areas[0] - areas[1])


def test_clustered_auroc_agrees_with_the_bootstrap_of_people():
    scores, labels, groups = scored(people=120, seeds=1)
    rng = np.random.default_rng(0)
    drawn = []
    for _ in range(600):
        weights = np.bincount(rng.integers(120, size=120), minlength=120)[groups]
        drawn.append(roc_auc_score(labels, scores[0], sample_weight=weights))
    i = auroc_interval(scores, labels, groups)
    linear = i.standard_error * i.estimate * (1 - i.estimate)
    assert linear == pytest.approx(np.std(drawn), rel=0.1)


def test_kinds_weigh_alike_and_each_is_judged_by_scores_of_its_own():
    scores, labels, groups = scored(people=40, seeds=3)
    rng = np.random.default_rng(1)
    kinds = np.where(labels == 1, rng.choice(["a", "b", "c"], len(labels), p=[0.6, 0.3, 0.1]), "-")
    own = {kind: scores + 0.3 * rng.normal(size=scores.shape) for kind in "abc"}
    i = kinds_interval(own, labels, groups, kinds)
    areas = [
        roc_auc_score(labels[use], row[use])
        for kind, values in own.items()
        for use in [(labels == 0) | (kinds == kind)]
        for row in values
    ]
    assert i.estimate == pytest.approx(np.mean(areas))
    # Of one kind, and of kinds of equal number with the same scores, it is the AUROC.
    one = np.where(labels == 1, "a", "-")
    alone = kinds_interval({"a": scores}, labels, groups, one)
    assert alone.low == pytest.approx(auroc_interval(scores, labels, groups, kinds=one).low)
    other = {kind: values - 0.2 * labels for kind, values in own.items()}
    gain = kinds_difference_interval(own, other, labels, groups, kinds)
    both = [kinds_interval(x, labels, groups, kinds).estimate for x in (own, other)]
    assert gain.estimate == pytest.approx(both[0] - both[1])
    assert gain.low < gain.estimate < gain.high
    with pytest.raises(ClarityError, match="the anomalies are"):
        kinds_interval({"a": scores}, labels, groups, kinds)


def test_the_mean_over_kinds_agrees_with_the_bootstrap_of_people():
    scores, labels, groups = scored(people=120, seeds=1)
    kinds = np.where(labels == 1, np.where(np.arange(len(labels)) % 4 == 0, "a", "b"), "-")
    own = {"a": scores, "b": scores**3 + 0.1}
    rng = np.random.default_rng(0)
    drawn = []
    for _ in range(400):
        weights = np.bincount(rng.integers(120, size=120), minlength=120)[groups]
        areas = []
        for kind, values in own.items():
            use = (labels == 0) | (kinds == kind)
            areas.append(roc_auc_score(labels[use], values[0][use], sample_weight=weights[use]))
        drawn.append(np.mean(areas))
    i = kinds_interval(own, labels, groups, kinds)
    linear = i.standard_error * i.estimate * (1 - i.estimate)
    assert linear == pytest.approx(np.std(drawn), rel=0.12)


def test_auroc_stays_within_bounds_and_never_without_width():
    labels = np.tile([0, 1], 20)
    groups = np.arange(40) // 2
    perfect = auroc_interval(labels * 10.0 + np.arange(40) / 100, labels, groups)
    assert perfect.estimate == perfect.high == 1.0
    assert 0.8 < perfect.low < 0.95
    low, high = score_limits(1.0, 0.95, (20, 20))
    assert (perfect.low, perfect.high) == (low, high)
    nearly = labels * 10.0 + np.arange(40) / 100
    nearly[0] = 30
    near = auroc_interval(nearly, labels, groups)
    assert 0 < near.low < near.estimate < near.high < 1
    same = auroc_difference_interval(nearly * 2, nearly, labels, groups)
    assert same.estimate == 0
    assert same.low < 0 < same.high


def test_anomalies_of_one_cluster_alone_tell_nothing_about_the_variance():
    scores, labels, _ = scored(people=10, seeds=1)
    groups = np.where(labels == 1, -1, np.arange(len(labels)))
    i = auroc_interval(scores, labels, groups)
    assert (i.low, i.high) == (0.0, 1.0)


def test_average_precision_and_fpr_are_scikit_learns():
    scores, labels, groups = scored()
    scores = scores.round(1)
    ap = ranking_interval(scores, labels, groups, "ap", resamples=200)
    expected = np.mean([average_precision_score(labels, row) for row in scores])
    assert ap.estimate == pytest.approx(expected)
    fpr = ranking_interval(scores, labels, groups, "fpr95", resamples=200)
    rates = []
    for row in scores:
        alarms, found, _ = roc_curve(labels, row, drop_intermediate=False)
        rates.append(alarms[np.argmax(found >= 0.95)])
    assert fpr.estimate == pytest.approx(np.mean(rates))
    assert 0 < ap.low < ap.estimate < ap.high < 1
    weighted = np.random.default_rng(0).integers(0, 3, size=25)
    from clarity.statistics.ranking import _resampled

    ours = _resampled(scores[0], labels == 1, groups, weighted[None, :].astype(float), "ap")[0]
    theirs = average_precision_score(labels, scores[0], sample_weight=weighted[groups])
    assert ours == pytest.approx(theirs)


# --- bootstrap, bands, several claims ----------------------------------------------------------


def test_bootstrap_means_against_drawing_people_one_by_one():
    x, g = faces(people=15, each=4, seeds=2)
    drawn = bootstrap_means(x, g, 4000, 0)
    rng = np.random.default_rng(1)
    slow = []
    for _ in range(1500):
        chosen = rng.integers(15, size=15)
        images = np.concatenate([np.flatnonzero(g == p) for p in chosen])
        slow.append(x[:, images].mean(axis=1))
    assert drawn.mean(axis=0) == pytest.approx(x.mean(axis=1), abs=0.03)
    assert np.cov(drawn.T) == pytest.approx(np.cov(np.array(slow).T), rel=0.15)
    assert np.array_equal(drawn, bootstrap_means(x, g, 4000, 0))


def test_bootstrap_of_every_model_keeps_memory_bounded():
    x = np.random.default_rng(0).normal(size=(42, 5000))
    g = np.random.default_rng(1).integers(2500, size=5000)
    tracemalloc.start()
    assert bootstrap_means(x, g, 10_000, 0).shape == (10_000, 42)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 400e6


def test_bands_lie_between_one_interval_and_bonferroni():
    x, g = faces(people=60, seeds=3, training=0.0)
    rng = np.random.default_rng(0)
    alike = [x + 0.1 * rng.normal(size=x.shape) for _ in range(4)]
    apart = [rng.permuted(x, axis=1) for _ in range(4)]
    level_alike = simultaneous_bands(alike, g, resamples=4000)[0].confidence
    level_apart = simultaneous_bands(apart, np.arange(len(g)), resamples=4000)[0].confidence
    assert 0.95 <= level_alike < level_apart <= 1 - 0.05 / 4 + 0.003


def test_holm_levels_decide_as_statsmodels_multipletests():
    rng = np.random.default_rng(7)
    for effect in (0.0, 0.4, 1.0):
        intervals = []
        for k in range(6):
            x, g = faces(people=15, each=1, mean=effect * k / 3, seed=int(rng.integers(10**6)))
            intervals.append(mean_interval(x, g))
        levels = adjust(intervals, [0.1] * 6, ["greater"] * 6)
        decided = [
            not i.at(c).low <= 0.1 <= i.at(c).high for i, c in zip(intervals, levels, strict=True)
        ]
        p = [i.p_value(0.1) for i in intervals]
        assert decided == list(multipletests(p, 0.05, "holm")[0])
        levels = adjust(intervals, [0.1] * 6, ["greater"] * 6, method="bonferroni")
        decided = [
            not i.at(c).low <= 0.1 <= i.at(c).high for i, c in zip(intervals, levels, strict=True)
        ]
        assert decided == list(multipletests(p, 0.05, "bonferroni")[0])


# --- bad input ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda x, g: mean_interval(np.where(x > 10, np.nan, x), g), "leave such images out"),
        (lambda x, g: mean_interval(x, g[:-1]), "groups has the shape"),
        (lambda x, g: mean_interval(x, g, 95), "between 0 and 1"),
        (lambda x, g: difference_interval(x, x[:, 1:], g), "same images"),
        (lambda x, g: log_ratio_interval(-x, x, g), "positive means"),
        (lambda x, g: slope_interval([5, 5], [x, x], g), "two different sizes"),
        (lambda x, g: auroc_interval(x, np.zeros(len(g)), g), "only one kind"),
        (lambda x, g: auroc_interval(x, np.full(len(g), 2), g), "0 for normal"),
        (lambda x, g: training_interval([1.0, np.nan]), "one finite number"),
        (lambda x, g: bootstrap_means(x, g, 0), "at least 1"),
    ],
)
def test_bad_input_is_one_line(call, says):
    x, g = faces()
    with pytest.raises(ClarityError, match=says) as caught:
        call(x, g)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("alike", [True, False])
@pytest.mark.parametrize("sizes", [(20, 1, 20), (8, 1, 1), (3, 1)])
def test_a_kind_of_one_image_leaves_an_interval(sizes, alike):
    rng = np.random.default_rng(0)
    kinds = np.repeat(["", *(f"k{i}" for i in range(len(sizes)))], [40, *sizes])
    labels, groups = (kinds != "").astype(int), np.arange(len(kinds))
    x = rng.normal(size=len(kinds)) + labels
    areas = [roc_auc_score(labels[u], x[u]) for k in range(len(sizes))
             if (u := (labels == 0) | (kinds == f"k{k}")).any()]  # fmt: skip
    if alike:
        i = kinds_interval({f"k{k}": x for k in range(len(sizes))}, labels, groups, kinds)
        assert i.estimate == pytest.approx(np.mean(areas))
    else:
        i = auroc_interval(x, labels, groups, kinds=kinds)
        assert i.estimate == pytest.approx(roc_auc_score(labels, x))
    assert 0 < i.low < i.estimate < i.high < 1


@pytest.mark.parametrize("count", [5, 6, 7])
def test_a_perfect_mean_over_kinds_has_the_interval_of_its_people(count):
    kinds = np.repeat([str(k) for k in range(count + 1)], 60)
    labels, groups = (kinds != "0").astype(int), np.tile(np.repeat(np.arange(6), 10), count + 1)
    own = {str(k): labels.astype(float) for k in range(1, count + 1)}
    i = kinds_interval(own, labels, groups, kinds)
    assert i.estimate == 1
    assert i.low == pytest.approx(score_limits(1.0, 0.95, (6, 6))[0])
