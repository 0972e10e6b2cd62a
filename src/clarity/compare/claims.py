"""The three claims as comparisons of two models each, with the rule's verdict on every one.

A claim names its primary measure beforehand; the verdict follows from that measure's interval and
the margin of params.yaml alone (docs/verdicts.md). Within a claim the comparisons are judged
together (Holm).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np

from clarity.compare.results import POPULATIONS, ModelResults, Population, Results
from clarity.params import Compare
from clarity.statistics import (
    Interval,
    Verdict,
    adjust,
    bootstrap_means,
    log_ratio_interval,
    slope_interval,
    training_log_ratio_interval,
    verdict,
)

Reading = Literal["yes", "no", "open"]


@dataclass(frozen=True)
class Comparison:
    """Two models, one measure, one population.

    Attributes:
        subject: the model of which the claim says that its measure is lower.
        reference: the model it is held against.
        means: of the measure, of subject and reference.
        reduction: 1 - subject/reference of the measure, with its interval.
        verdict: by the rule; None before all comparisons of the claim are judged together.
        confounded: why the comparison is not about the claim alone; empty where it is.
        secondary: further intervals, shown and not judged.
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
    secondary: dict[str, Interval] = field(default_factory=dict)
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


@dataclass(frozen=True)
class Claim:
    """A claim and its comparisons; ``untested`` says why there are none."""

    key: Literal["clearer", "smoother", "blurrier"]
    statement: str
    measure: str
    unit: str
    margin: float
    comparisons: tuple[Comparison, ...]
    untested: str = ""

    def of(self, population: str) -> list[Comparison]:
        """Its comparisons on one population."""
        return [c for c in self.comparisons if c.population == population]


def judge_claims(results: Results, compare: Compare) -> list[Claim]:
    """The three claims, judged."""
    return [_clearer(results, compare), _smoother(results, compare), _blurrier(results, compare)]


def sizes(results: Results, family: str) -> tuple[ModelResults, ModelResults] | None:
    """The smallest and the largest model of a family; None where there are not two sizes."""
    models = results.family(family)
    if family == "pca" or len(models) < 2 or models[0].parameters == models[-1].parameters:
        return None
    return models[0], models[-1]


def confounded_by_latent(models: list[ModelResults]) -> str:
    """Why a comparison of these sizes is not about size alone; empty where the latent is one."""
    latents = [model.latent for model in models]
    if len(set(latents)) == 1:
        return ""
    return (
        f"confounded: the latent changes with the size, {min(latents):,} to {max(latents):,} "
        "elements, so the bottleneck may be what differs"
    )


def _clearer(results: Results, compare: Compare) -> Claim:
    found = []
    for population in POPULATIONS:
        for family in results.families:
            pair = sizes(results, family)
            if pair:
                found.append(_by_size(results, compare, family, population, *pair))
    return Claim(
        key="clearer",
        statement="Reconstructions grow clearer with model size.",
        measure="LSD",
        unit="dB",
        margin=compare.margins.clearer,
        comparisons=_judge(found, compare.margins.clearer),
        untested="" if found else "not tested: no family with two sizes in this run",
    )


def _by_size(
    results: Results,
    compare: Compare,
    family: str,
    population: Population,
    small: ModelResults,
    large: ModelResults,
) -> Comparison:
    groups, level = results.groups(population), compare.confidence
    models = results.family(family)
    secondary = {
        "mse_reduction": log_ratio_interval(
            large.metrics[population]["mse"], small.metrics[population]["mse"], groups, level
        ).as_reduction()
    }
    for metric in ("lsd", "mse"):
        secondary[f"{metric}_slope"] = slope_interval(
            [model.parameters for model in models],
            [model.metrics[population][metric] for model in models],
            groups,
            level,
        )
    a, b = large.metrics[population]["lsd"], small.metrics[population]["lsd"]
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
        means=(float(a.mean()), float(b.mean())),
        reduction=log_ratio_interval(a, b, groups, level).as_reduction(),
        confounded=confounded_by_latent(models),
        secondary=secondary,
        resampled=(float(low), float(high)),
    )


def _pairs_of_vae_and_ae(results: Results) -> Iterator[tuple[ModelResults, ModelResults]]:
    """Every VAE with the plain autoencoder of the same widths and latent."""
    for vae in results.family("vae"):
        for ae in results.family("ae"):
            if (ae.widths, ae.latent) == (vae.widths, vae.latent):
                yield vae, ae


def _missing(results: Results) -> str:
    if not results.family("vae"):
        return "not tested: no VAE in this run"
    return "not tested: no plain autoencoder (family ae) of a VAE's widths and latent in this run"


def _smoother(results: Results, compare: Compare) -> Claim:
    found, level = [], compare.confidence
    for population in POPULATIONS:
        for vae, ae in _pairs_of_vae_and_ae(results):
            a = vae.listed("latent_space", "path_length", population)
            b = ae.listed("latent_space", "path_length", population)
            if a is None or b is None or a.shape[1] != b.shape[1]:
                continue
            clusters = _pair_clusters(vae, population, a.shape[1])
            interval = log_ratio_interval(a, b, clusters, level).as_reduction()
            means = (float(a.mean()), float(b.mean()))
            found.append(Comparison("vae", population, vae, ae, means, interval))
    reason = "" if found else _missing(results)
    if not found and any(True for _ in _pairs_of_vae_and_ae(results)):
        reason = "not tested: the evaluations hold no path lengths"
    return Claim(
        key="smoother",
        statement="A VAE learns a smooth latent space.",
        measure="path length",
        unit="",
        margin=compare.margins.smoother,
        comparisons=_judge(found, compare.margins.smoother),
        untested=reason,
    )


def _pair_clusters(model: ModelResults, population: str, number: int) -> list[str]:
    """Cluster of each pair of faces: the first face's group, or the pair itself where not said."""
    listed = model.details[0].get("latent_space", {}).get("path_pairs", {})
    pairs = listed.get(population) if isinstance(listed, dict) else None
    if not isinstance(pairs, list) or len(pairs) != number:
        return [str(place) for place in range(number)]
    return [str(pair[0]) for pair in pairs]


def _blurrier(results: Results, compare: Compare) -> Claim:
    found = []
    for vae, ae in _pairs_of_vae_and_ae(results):
        a, b = vae.listed("samples", "sharpness"), ae.listed("samples", "sharpness")
        if a is None or b is None:
            continue
        interval = training_log_ratio_interval(
            a.mean(axis=1), b.mean(axis=1), compare.confidence
        ).as_reduction()
        means = (float(a.mean()), float(b.mean()))
        found.append(Comparison("vae", "samples", vae, ae, means, interval))
    reason = "" if found else _missing(results)
    if not found and any(True for _ in _pairs_of_vae_and_ae(results)):
        reason = "not tested: the evaluations hold no sharpness of samples"
    return Claim(
        key="blurrier",
        statement="A VAE's samples are blurry.",
        measure="sharpness",
        unit="",
        margin=compare.margins.blurrier,
        comparisons=_judge(found, compare.margins.blurrier),
        untested=reason,
    )


def _judge(found: list[Comparison], margin: float) -> tuple[Comparison, ...]:
    """The rule on all comparisons of a claim together: Holm's correction among them."""
    intervals = [comparison.reduction for comparison in found]
    levels = adjust(intervals, [margin] * len(found), ["greater"] * len(found))
    return tuple(
        replace(c, verdict=verdict(c.reduction, margin, decide_at=level, note=c.confounded))
        for c, level in zip(found, levels, strict=True)
    )
