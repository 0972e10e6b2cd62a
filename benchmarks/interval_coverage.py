"""How often the 95 % intervals hold what they estimate: the figures of docs/statistics.md.

    python benchmarks/interval_coverage.py [--runs N]

Simulated data sets with effects of people, trainings, both, and pictures. `ratio` is the standard
deviation that trainings give the mean over that which people give it. Beside the intervals in use
stands what Satterthwaite's degrees of freedom alone, and a percentile bootstrap of people and of
seeds, would have covered.
"""

from __future__ import annotations

import argparse

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from clarity.statistics import Interval, mean_interval

Floats = NDArray[np.float64]


def crowd(rng: np.random.Generator, people: int) -> NDArray[np.intp]:
    """Pictures a person: most have one or two, a few up to fifty."""
    return np.minimum(np.ceil(rng.pareto(1.2, people) + 1e-9), 50).astype(np.intp)


def data(
    rng: np.random.Generator, sizes: NDArray[np.intp], seeds: int, ratio: float
) -> tuple[Floats, NDArray[np.intp], float]:
    """Values, groups, and the estimand."""
    people = len(sizes)
    groups = np.repeat(np.arange(people), sizes)
    own = ratio * np.sqrt(seeds / people) * rng.normal(size=(seeds, 1))
    values = (
        10
        + rng.normal(size=people)[groups]
        + own
        + 0.3 * rng.normal(size=(seeds, people))[:, groups]
        + 0.5 * rng.normal(size=len(groups))
        + 0.5 * rng.normal(size=(seeds, len(groups)))
    )
    return values, groups, 10 + (own.mean() if seeds == 1 else 0.0)


def by_satterthwaite(i: Interval) -> tuple[float, float]:
    """The same standard error with Student's quantile at Satterthwaite's degrees of freedom."""
    reach = stats.t.isf((1 - i.confidence) / 2, i.df) * i.standard_error
    return i.estimate - reach, i.estimate + reach


def by_bootstrap(
    rng: np.random.Generator, values: Floats, groups: NDArray[np.intp]
) -> tuple[float, float]:
    """Percentiles over resampled people and resampled seeds."""
    people, seeds = groups.max() + 1, len(values)
    sums = np.stack([np.bincount(groups, weights=row, minlength=people) for row in values])
    counts = rng.multinomial(people, np.full(people, 1 / people), size=400)
    drawn = rng.multinomial(seeds, np.full(seeds, 1 / seeds), size=400) / seeds
    means = ((counts @ sums.T) * drawn).sum(axis=1) / (counts @ np.bincount(groups))
    low, high = np.quantile(means, [0.025, 0.975])
    return float(low), float(high)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=2000)
    runs = parser.parse_args().runs
    rng = np.random.default_rng(0)
    print(f"{runs:,} data sets a row; share covered\n")
    print("| pictures a person | people | seeds | ratio | in use | Satterthwaite | percentile |")
    print("|---|---|---|---|---|---|---|")
    for pictures, people in (("10", 6), ("10", 40), ("10", 150), ("1 to 50", 40), ("1 to 50", 150)):
        for seeds in (1, 2, 3, 5):
            for ratio in (0.0,) if seeds == 1 else (0.0, 1.0, 3.0):
                hits = np.zeros(3)
                for _ in range(runs):
                    equal = pictures == "10"
                    sizes = np.full(people, 10) if equal else crowd(rng, people)
                    values, groups, truth = data(rng, sizes, seeds, ratio)
                    i = mean_interval(values, groups)
                    three = (
                        (i.low, i.high),
                        by_satterthwaite(i),
                        by_bootstrap(rng, values, groups),
                    )
                    hits += [low <= truth <= high for low, high in three]
                shares = " | ".join(f"{100 * h / runs:.1f}" for h in hits)
                print(f"| {pictures} | {people} | {seeds} | {ratio:g} | {shares} |", flush=True)


if __name__ == "__main__":
    main()
