"""Which model detects anomalies better, and what the autoencoders buy over PCA: with intervals."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from clarity.compare.budgets import courses
from clarity.compare.claims import confounded, sizes
from clarity.compare.results import ModelResults, Results, distances
from clarity.params import Compare
from clarity.statistics import (
    Interval,
    Verdict,
    adjust,
    kinds_area,
    kinds_difference_interval,
    log_ratio_interval,
    verdict,
)

Question = Literal["size", "baseline", "ensemble", "reconstruction"]


@dataclass(frozen=True)
class Finding:
    """Two models and the difference between them.

    Attributes:
        question: ``size`` (mean AUROC over kinds never seen, largest against smallest of a
            family), ``baseline`` (the same, the best model against a PCA), ``ensemble`` (the same,
            against its best member), ``reconstruction`` (the primary measure on test images, a
            family's best model against the PCA of its latent size).
        means: AUROC or primary measure of subject and reference.
        effect: difference of AUROCs, or relative reduction of the measure's distance; positive:
            the subject is better.
        equal_latent: whether both models have the same latent size.
    """

    question: Question
    family: str
    subject: ModelResults
    reference: ModelResults
    means: tuple[float, float]
    effect: Interval
    verdict: Verdict | None = None
    confounded: str = ""

    @property
    def judged(self) -> Verdict:
        """The verdict on "the subject is better"."""
        assert self.verdict is not None
        return self.verdict

    @property
    def equal_latent(self) -> bool:
        return self.subject.latent == self.reference.latent

    @property
    def reading(self) -> Literal["better", "worse", "open"]:
        """What the interval says of the trainings at hand."""
        if self.effect.low > 0:
            return "better"
        return "worse" if self.effect.high < 0 else "open"


def find(results: Results, compare: Compare) -> list[Finding]:
    """All findings, those of one question judged together (Holm)."""
    found: list[Finding] = []
    who, of_size = results.who, []
    for family in results.families:
        pair = sizes(results, family)
        if pair:
            small, large = pair
            reason = confounded(results.family(family))
            of_size.append(_auroc(results, compare, "size", large, small, reason))
    found += _judge(of_size, who)
    best = best_detector(results)
    if best:
        found += _judge(
            [_auroc(results, compare, "baseline", best, linear) for linear in results.linear], who
        )
    found += _judge(
        [
            _auroc(results, compare, "ensemble", e, best_member(e, results))
            for e in results.ensembles
        ],
        who,
    )
    found += _judge(_reconstruction(results, compare), who)
    return found


def best_member(ensemble: ModelResults, results: Results) -> ModelResults:
    """Of an ensemble's models the one with the largest figure on ``val``."""
    trained = set(ensemble.details[0].members or ())
    members = [m for m in results.models if trained & {one.name for one in m.trainings}]
    return max(members, key=lambda model: (model.val_auroc, model.name))


def best_detector(results: Results) -> ModelResults | None:
    """The autoencoder with the largest figure on ``val``; chosen there, judged on ``test``."""
    models = [model for model in results.models if not model.traits.linear]
    return max(models, key=lambda model: (model.val_auroc, model.name), default=None)


def _auroc(
    results: Results,
    compare: Compare,
    question: Question,
    subject: ModelResults,
    reference: ModelResults,
    confounded: str = "",
) -> Finding:
    labels, groups, kinds = (results.test[c].to_numpy() for c in ("label", "group", "kind"))
    effect = kinds_difference_interval(
        subject.unseen,
        reference.unseen,
        labels,
        groups,
        kinds,
        compare.confidence,
        deterministic=(subject.deterministic, reference.deterministic),
    )
    areas = [kinds_area(model.unseen, labels, kinds) for model in (subject, reference)]
    return Finding(
        question, subject.family, subject, reference, (areas[0], areas[1]), effect,
        confounded=confounded,
    )  # fmt: skip


def _reconstruction(results: Results, compare: Compare) -> list[Finding]:
    """Each family's best model on ``val`` against the PCA of equal latent size, if there is one."""
    found = []
    for pca in results.linear:
        for family in results.families:
            models = [m for m in results.family(family) if m.latent == pca.latent]
            if family == pca.family or not models:
                continue
            best = min(models, key=lambda m: (_val_mse(m), m.name))
            key = results.primary.key
            a, b = best.metrics["test"][key], pca.metrics["test"][key]
            if not (distances(key, a).mean() > 0 and distances(key, b).mean() > 0):
                continue
            effect = log_ratio_interval(
                distances(key, a),
                distances(key, b),
                results.groups("test", key),
                compare.confidence,
                deterministic=(False, True),
            ).as_reduction()
            means = (float(a.mean()), float(b.mean()))
            found.append(Finding("reconstruction", family, best, pca, means, effect))
    return found


def _val_mse(model: ModelResults) -> float:
    """Smallest error on ``val`` within the budget whose weights are compared, mean over seeds."""
    spent = zip(courses(model), model.spent("alike"), strict=True)
    return sum(course.at(budget.epochs) for course, budget in spent) / len(model.curves)


def _judge(found: list[Finding], who: str) -> list[Finding]:
    levels = adjust([f.effect for f in found], [0.0] * len(found), ["greater"] * len(found))
    return [
        replace(f, verdict=verdict(f.effect, 0.0, decide_at=level, note=f.confounded, who=who))
        for f, level in zip(found, levels, strict=True)
    ]
