"""Where a linear model (PCA) is clearer than a family's smallest and largest size alike."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from clarity.compare.results import ModelResults, Population, Question, Results, distances
from clarity.compare.words import listed, of, percent, span
from clarity.measures import Measure
from clarity.params import Compare
from clarity.statistics import Interval, log_ratio_interval

#: The images that it is asked of: those that no model has seen.
POPULATION: Population = "test"


@dataclass(frozen=True)
class Linear:
    """A PCA ahead of both ends of a family on unseen images.

    Attributes:
        pca: of those that are, the one with the fewest components.
        networks: the smallest and the largest model.
        means: of the primary measure: of the PCA, then of both.
        effects: reduction of the distance from the original, from each of both to the PCA; every
            interval lies above 0.
    """

    pca: ModelResults
    networks: tuple[ModelResults, ModelResults]
    means: tuple[float, float, float]
    effects: tuple[Interval, Interval]


def ahead(
    results: Results,
    compare: Compare,
    question: Question,
    networks: tuple[ModelResults, ModelResults],
) -> Linear | None:
    """The PCA that is clearer than these two under a budget; None where none is shown to be."""
    key = results.primary.key
    measured = [network.measured(question) for network in networks]
    values = [found[POPULATION][key] for found in measured if found is not None]
    if len(values) < len(networks):
        return None
    for pca in sorted(results.linear, key=lambda one: one.latent):
        a = pca.metrics[POPULATION][key]
        if not all(distances(key, b).mean() > 0 for b in (a, *values)):
            continue
        small, large = (
            log_ratio_interval(
                distances(key, a),
                distances(key, b),
                results.groups(POPULATION, key),
                compare.confidence,
                deterministic=(True, False),
            ).as_reduction()
            for b in values
        )
        if min(small.low, large.low) > 0:
            means = (float(a.mean()), float(values[0].mean()), float(values[1].mean()))
            return Linear(pca, networks, means, (small, large))
    return None


def sentence(found: Linear, measure: Measure, place: str) -> str:
    """What the reader of an answer about size has to know of it."""
    pca, (small, large) = found.pca, found.networks
    best, *others = (of(measure, value) for value in found.means)
    latents = sorted({small.latent, large.latent})
    shares = listed([f"{percent(effect.estimate)} ({span(effect)})" for effect in found.effects])
    own = f"with a latent of {pca.latent:,}"
    if latents != [pca.latent]:
        own += f" against {listed([f'{latent:,}' for latent in latents])}"
    return (
        f"A linear model, {pca.name}, reconstructs {place} more clearly than {small.name} and "
        f"{large.name}: {measure.label} {best} against {listed(others)}, nearer to the original by "
        f"{shares}, {own}."
    )


def briefly(found: Iterable[Linear], place: str) -> list[str]:
    """The same of every family for an answer of two lines: a sentence for each PCA."""
    beaten: dict[str, list[str]] = {}
    for one in found:
        for network, effect in zip(one.networks, one.effects, strict=True):
            told = f"{network.name} (by {percent(effect.estimate)})"
            beaten.setdefault(one.pca.name, []).append(told)
    return [
        f"A linear model, {pca}, is clearer on {place} than {listed(named)}."
        for pca, named in beaten.items()
    ]
