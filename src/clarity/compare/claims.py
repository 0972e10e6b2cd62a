"""The claims as comparisons of two models each, with the rule's verdict on every one.

A claim names its primary measure beforehand; the verdict follows from that measure's interval and
the margin of params.yaml alone (docs/verdicts.md). Within a claim the comparisons are judged
together (Holm).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from clarity.compare.linear import Linear
from clarity.compare.results import ModelResults, Question, Results
from clarity.compare.words import listed
from clarity.statistics import Interval, Verdict, adjust, verdict

Reading = Literal["yes", "no", "open"]
Key = Literal["clearer", "smoother", "blurrier"]


@dataclass(frozen=True)
class Comparison:
    """Two models, one measure, one population.

    Attributes:
        subject: the model of which the claim says that its measure is lower (or nearer to 1).
        reference: the model it is held against.
        means: of the measure, of subject and reference.
        reduction: 1 - subject/reference of the measure (as a distance), with its interval.
        verdict: by the rule; None before all comparisons of the claim are judged together.
        confounded: why the comparison is not about the claim alone; empty where it is.
        others: the same reduction by other measures, by key; shown and not judged.
        slope: of the log of the distance on the log of the parameters, over all sizes.
        resampled: percentile limits of ``reduction`` over resampled people, trainings fixed: a
            check on the interval by another method; None where there is none.
    """

    family: str
    population: str
    subject: ModelResults
    reference: ModelResults
    means: tuple[float, float]
    reduction: Interval
    verdict: Verdict | None = None
    confounded: str = ""
    others: Mapping[str, Interval] = field(default_factory=dict)
    slope: Interval | None = None
    resampled: tuple[float, float] | None = None

    @property
    def judged(self) -> Verdict:
        """The verdict, which every comparison of a finished claim has."""
        assert self.verdict is not None
        return self.verdict

    @property
    def reading(self) -> Reading:
        """What the interval says of the trainings at hand, whatever other seeds would give."""
        if self.reduction.low > self.judged.margin:
            return "yes"
        return "no" if self.reduction.high <= self.judged.margin else "open"

    @property
    def against(self) -> list[str]:
        """Keys of the measures that point the other way than the claim's own."""
        own = self.reduction.estimate
        return [key for key, other in self.others.items() if other.estimate * own < 0]


@dataclass(frozen=True)
class Claim:
    """A claim and its comparisons.

    Attributes:
        question: the budget under which sizes are compared; None for claims about VAEs.
        measure, unit: of the comparisons' means.
        untested: why there are no comparisons; empty where there are some.
        withheld: families that are not compared, with the reason.
        linear: families whose smallest and largest model a PCA is ahead of, on unseen images.
    """

    key: Key
    statement: str
    measure: str
    unit: str
    margin: float
    comparisons: tuple[Comparison, ...]
    question: Question | None = None
    untested: str = ""
    withheld: Mapping[str, str] = field(default_factory=dict)
    linear: Mapping[str, Linear] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Of the claim and its question: ``clearer-alike``, ``smoother``."""
        return f"{self.key}-{self.question}" if self.question else self.key

    def of(self, population: str) -> list[Comparison]:
        """Its comparisons on one population."""
        return [c for c in self.comparisons if c.population == population]


def sizes(results: Results, family: str) -> tuple[ModelResults, ModelResults] | None:
    """The smallest and the largest model of a family; None where there are not two sizes."""
    models = results.family(family)
    if models[0].traits.linear or len(models) < 2 or models[0].parameters == models[-1].parameters:
        return None
    return models[0], models[-1]


def confounded(models: Sequence[ModelResults]) -> str:
    """What of latent, loss and optimiser differs between models; empty where nothing does."""
    latents = [model.latent for model in models]
    losses = dict.fromkeys(model.loss for model in models)
    optimizers = dict.fromkeys(model.optimizer for model in models)
    found = []
    if len(set(latents)) > 1:
        found.append(
            f"the latent changes with the size, {min(latents):,} to {max(latents):,} "
            "elements, so the bottleneck may be what differs"
        )
    if len(losses) > 1:
        found.append(f"they were trained with different losses, {listed(list(losses))}")
    if len(optimizers) > 1:
        found.append(f"they were trained by different optimisers, {listed(list(optimizers))}")
    return f"confounded: {'; '.join(found)}" if found else ""


def judge(found: Sequence[Comparison], margin: float, who: str) -> tuple[Comparison, ...]:
    """The rule on all comparisons of a claim together: Holm's correction among them.

    Args:
        who: what the clusters are called.
    """
    intervals = [comparison.reduction for comparison in found]
    levels = adjust(intervals, [margin] * len(found), ["greater"] * len(found))
    return tuple(
        replace(c, verdict=verdict(c.reduction, margin, decide_at=at, note=c.confounded, who=who))
        for c, at in zip(found, levels, strict=True)
    )
