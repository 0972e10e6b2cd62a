"""Are reconstructions clearer as the model becomes larger? Asked under two budgets."""

from __future__ import annotations

import numpy as np

from clarity.compare.budgets import withheld
from clarity.compare.claims import Claim, Comparison, confounded, judge, sizes
from clarity.compare.linear import ahead
from clarity.compare.results import (
    POPULATIONS,
    QUESTIONS,
    Floats,
    ModelResults,
    Population,
    Question,
    Results,
    distances,
)
from clarity.errors import ClarityError
from clarity.measures import DISTANCES
from clarity.params import Compare
from clarity.statistics import Interval, bootstrap_means, log_ratio_interval, slope_interval

STATEMENT = "Reconstructions are clearer as the model becomes larger."


def clearer(results: Results, compare: Compare) -> list[Claim]:
    """The claim under each budget, judged; the headline's question first."""
    return [_asked(results, compare, question) for question in QUESTIONS]


def _asked(results: Results, compare: Compare, question: Question) -> Claim:
    pairs = {family: sizes(results, family) for family in results.families}
    reasons = {
        family: reason
        for family, pair in pairs.items()
        if pair and (reason := withheld(results.family(family), question))
    }
    found = [
        _by_size(results, compare, question, family, population, *pair)
        for population in POPULATIONS
        for family, pair in pairs.items()
        if pair and family not in reasons
    ]
    untested = ""
    if not any(pairs.values()):
        untested = "not tested: no family with two sizes in this run"
    elif not found and len(set(reasons.values())) == 1:
        untested = next(iter(reasons.values()))
    margin = compare.margins.clearer
    return Claim(
        key="clearer",
        statement=STATEMENT,
        measure=results.primary.label,
        unit=results.primary.unit,
        margin=margin,
        comparisons=judge(found, margin, results.who),
        question=question,
        untested=untested,
        withheld=reasons,
        linear={
            family: beaten
            for family, pair in pairs.items()
            if pair
            and family not in reasons
            and (beaten := ahead(results, compare, question, pair))
        },
    )


def _by_size(
    results: Results,
    compare: Compare,
    question: Question,
    family: str,
    population: Population,
    small: ModelResults,
    large: ModelResults,
) -> Comparison:
    level, key = compare.confidence, results.primary.key
    models, groups = results.family(family), results.groups(population, key)
    values = [_values(model, question, population, key) for model in models]
    a, b = (distances(key, values[place]) for place in (-1, 0))
    for model, distance in ((large, a), (small, b)):
        if not distance.mean() > 0:
            raise ClarityError(
                f"params.yaml: compare.measure: by {key} {model.name} is at no distance from the "
                f"originals ({distance.mean():g}), so no share of it can be told; choose another "
                "measure"
            )
    means = bootstrap_means(
        np.stack([a.mean(axis=0), b.mean(axis=0)]), groups, compare.resamples, compare.seed
    )
    tail = (1 - level) / 2
    low, high = np.quantile(1 - means[:, 0] / means[:, 1], [tail, 1 - tail])
    return Comparison(
        family=family,
        population=population,
        subject=large,
        reference=small,
        means=(float(values[-1].mean()), float(values[0].mean())),
        reduction=log_ratio_interval(a, b, groups, level).as_reduction(),
        confounded=confounded((small, large)),
        others={
            other: interval
            for other in results.measures
            if other in DISTANCES and other != key
            if (interval := _reduction(results, question, population, other, large, small, level))
        },
        slope=_slope(models, [distances(key, one) for one in values], groups, level),
        resampled=(float(low), float(high)),
    )


def _values(
    model: ModelResults, question: Question, population: Population, key: str
) -> Floats:  # fmt: skip
    measured = model.measured(question)
    assert measured is not None
    return measured[population][key]


def _reduction(
    results: Results,
    question: Question,
    population: Population,
    key: str,
    large: ModelResults,
    small: ModelResults,
    level: float,
) -> Interval | None:
    """The same effect by another measure; None where it sees no distance at all."""
    a, b = (distances(key, _values(m, question, population, key)) for m in (large, small))
    if not (a.mean() > 0 and b.mean() > 0):
        return None
    return log_ratio_interval(a, b, results.groups(population, key), level).as_reduction()


def _slope(
    models: list[ModelResults], values: list[Floats], groups: Floats, level: float
) -> Interval | None:
    if not all(distance.mean() > 0 for distance in values):
        return None
    return slope_interval([model.parameters for model in models], values, groups, level)
