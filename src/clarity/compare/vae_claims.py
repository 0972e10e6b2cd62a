"""The two claims about VAEs, each beside the plain autoencoder of its widths and latent.

What a claim is measured by stands in one place, `SMOOTHER` and `BLURRIER`; one that no measure
carries says so and is left to the pictures.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from clarity.compare.budgets import withheld
from clarity.compare.claims import Claim, Comparison, Key, confounded, judge
from clarity.compare.results import POPULATIONS, ModelResults, Results, inside
from clarity.params import Compare
from clarity.statistics import Interval, log_ratio_interval, training_log_ratio_interval


@dataclass(frozen=True)
class Gauge:
    """What a claim about VAEs is measured by: a list a training in ``details.json``.

    Attributes:
        keys: of the list; where it has one for each population, the population follows.
        name, unit: of the measure, in sentences.
        pairs: keys of the list that says which groups each element is of, by population; empty
            where elements belong to no population and the training is what varies.
        missing: what the evaluations lack where there is no such list.
        look: why no number judges the claim; empty where one does.
    """

    key: Key
    statement: str
    keys: tuple[str, ...]
    name: str
    unit: str
    pairs: tuple[str, ...]
    missing: str
    look: str = ""


SMOOTHER = Gauge(
    key="smoother",
    statement="A VAE learns a smooth latent space.",
    keys=("latent_space", "path_length"),
    name="path length",
    unit="",
    pairs=("latent_space", "path_pairs"),
    missing="the evaluations hold no path lengths",
    # By the rule of docs/metrics/latent-space.md, written before any figure was seen.
    look="not judged by a number: no measure tried agrees with looks at the walks between two "
    "images, so look at the interpolations under “Latent space”",
)
BLURRIER = Gauge(
    key="blurrier",
    statement="A VAE's samples are blurry.",
    keys=("samples", "sharpness"),
    name="sharpness",
    unit="",
    pairs=(),
    missing="the evaluations hold no sharpness of samples",
)


def vae_claims(results: Results, compare: Compare) -> list[Claim]:
    """Smoother and blurrier, judged."""
    margins = compare.margins
    return [
        _claim(results, compare, SMOOTHER, margins.smoother),
        _claim(results, compare, BLURRIER, margins.blurrier),
    ]


def _claim(results: Results, compare: Compare, gauge: Gauge, margin: float) -> Claim:
    found = []
    for population in _populations(gauge):
        for vae, ae in pairs(results):
            comparison = _compared(gauge, population, vae, ae, compare.confidence)
            if comparison:
                found.append(comparison)
    untested = ""
    if not found:
        untested = _missing(results) or gauge.look or f"not tested: {gauge.missing}"
    return Claim(
        key=gauge.key,
        statement=gauge.statement,
        measure=gauge.name,
        unit=gauge.unit,
        margin=margin,
        comparisons=judge(found, margin, results.who),
        untested=untested,
    )


def _populations(gauge: Gauge) -> tuple[str, ...]:
    if gauge.look:
        return ()
    return POPULATIONS if gauge.pairs else ("samples",)


def _compared(
    gauge: Gauge, population: str, vae: ModelResults, ae: ModelResults, level: float
) -> Comparison | None:
    keys = (*gauge.keys, population) if gauge.pairs else gauge.keys
    a, b = vae.listed(*keys), ae.listed(*keys)
    if a is None or b is None:
        return None
    interval: Interval
    if gauge.pairs:
        if a.shape[1] != b.shape[1]:
            return None
        clusters = _clusters(gauge, vae, population, a.shape[1])
        interval = log_ratio_interval(a, b, clusters, level)
    else:
        interval = training_log_ratio_interval(a.mean(axis=1), b.mean(axis=1), level)
    means = (float(a.mean()), float(b.mean()))
    return Comparison(
        vae.family, population, vae, ae, means, interval.as_reduction(), confounded=_other(vae, ae)
    )


def _other(vae: ModelResults, ae: ModelResults) -> str:
    """What else than the prior differs between the two; empty where nothing does."""
    told = confounded((ae, vae))
    unlike = withheld((ae, vae), "alike")
    if not (told and unlike):
        return told or (f"confounded: {unlike}" if unlike else "")
    return f"{told}; {unlike}"


def pairs(results: Results) -> Iterator[tuple[ModelResults, ModelResults]]:
    """Every VAE with the plain autoencoder of the same widths and latent."""
    for vae in results.with_prior:
        for ae in results.family(vae.traits.twin):
            if (ae.widths, ae.latent) == (vae.widths, vae.latent):
                yield vae, ae


def _missing(results: Results) -> str:
    if not results.with_prior:
        return "not tested: no VAE in this run"
    if not any(True for _ in pairs(results)):
        return "not tested: no plain autoencoder (family ae) of a VAE's widths and latent"
    return ""


def _clusters(gauge: Gauge, model: ModelResults, population: str, number: int) -> list[str]:
    """Cluster of each pair of faces: the first face's group, or the pair itself where not said."""
    said = inside(model.details[0], (*gauge.pairs, population)) if gauge.pairs else None
    if not isinstance(said, list) or len(said) != number:
        return [str(place) for place in range(number)]
    return [str(pair[0]) for pair in said]
