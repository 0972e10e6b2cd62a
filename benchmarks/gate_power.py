"""How often the promotion gate is right: simulated challengers, known truth.

    python benchmarks/gate_power.py                      # the two splits of docs/statistics.md
    python benchmarks/gate_power.py --people 60 --images 10 --correlation 0.98
    python benchmarks/gate_power.py --champion A/per_image.parquet --challenger B/per_image.parquet

Scores are binormal. A picture is as hard for one model as for the other (effects of person and of
picture are shared, `correlation` of the variance), an anomaly is made from a person's picture, and
there are four kinds of anomaly, some plain and some hard. Challengers "no better" have exactly the
champion's AUROC; those "better" have it plus twice the margin. With two tables of a real
evaluation, what is measured on the gate split sets people and correlation instead.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import optimize
from scipy.stats import norm

from clarity.statistics import auroc_difference_interval, gate_decision, spent_confidence

Floats = NDArray[np.float64]
#: Shifts of the kinds' scores in standard deviations: an AUROC of 0.73 over all kinds.
SHIFTS = np.array([0.1, 0.4, 1.2, 2.6])
#: Share of the scores' variance that is the person's, of what the two models share.
PERSON = 0.3


@dataclass(frozen=True)
class Split:
    """A gate split: pictures of each person, and how alike two models' scores are."""

    name: str
    sizes: NDArray[np.intp]
    correlation: float

    @property
    def groups(self) -> NDArray[np.intp]:
        """Person of each image: the normals, then each kind of anomaly made from them."""
        return np.tile(np.repeat(np.arange(len(self.sizes)), self.sizes), 1 + len(SHIFTS))

    @property
    def kinds(self) -> NDArray[np.intp]:
        """0 for normals, then the kinds."""
        return np.repeat(np.arange(1 + len(SHIFTS)), self.sizes.sum())

    def shared(self, rng: np.random.Generator) -> Floats:
        """How hard each image is for every model."""
        person = np.sqrt(PERSON) * rng.normal(size=len(self.sizes))
        own = rng.normal(size=(1 + len(SHIFTS), self.sizes.sum()))
        picture = 0.8 * rng.normal(size=self.sizes.sum()) + 0.6 * own
        return person[self.groups] + np.sqrt(1 - PERSON) * picture.ravel()

    def model(self, rng: np.random.Generator, shared: Floats, scale: float = 1.0) -> Floats:
        """Scores of a model whose anomalies lie ``scale`` times as far off."""
        shift = np.append(0.0, SHIFTS * scale)[self.kinds]
        own = rng.normal(size=len(shared))
        return np.sqrt(self.correlation) * shared + np.sqrt(1 - self.correlation) * own + shift


def area(scale: float) -> float:
    """True AUROC of a model."""
    return float(norm.cdf(SHIFTS * scale / np.sqrt(2)).mean())


def scale_for(gain: float) -> float:
    """The scale with which the AUROC is higher by ``gain``."""
    return float(optimize.brentq(lambda s: area(s) - area(1.0) - gain, 0.1, 20))


def promoted(
    split: Split, gain: float, margin: float, confidence: float, runs: int, seed: int
) -> float:
    """Share of challengers promoted whose AUROC is truly higher by ``gain``."""
    rng = np.random.default_rng(seed)
    labels, scale = (split.kinds > 0).astype(int), scale_for(gain)
    count = 0
    for _ in range(runs):
        shared = split.shared(rng)
        champion, challenger = split.model(rng, shared), split.model(rng, shared, scale)
        count += gate_decision(
            challenger, champion, labels, split.groups, margin, confidence, kinds=split.kinds
        ).promote
    return count / runs


def history(
    split: Split,
    margin: float,
    confidence: float,
    runs: int,
    *,
    fresh: bool,
    spend: bool,
    seed: int,
) -> tuple[float, float]:
    """50 challengers one after another, none better than the first champion.

    Returns:
        Probability of at least one (false) promotion, and promotions per history.
    """
    rng = np.random.default_rng(seed)
    labels = (split.kinds > 0).astype(int)
    moves = []
    for _ in range(runs):
        shared = split.shared(rng)
        champion = split.model(rng, shared)
        moved = 0
        for attempt in range(1, 51):
            if fresh:
                shared = split.shared(rng)
                champion = split.model(rng, shared)
            challenger = split.model(rng, shared)
            level = spent_confidence(confidence, attempt) if spend else confidence
            if gate_decision(
                challenger, champion, labels, split.groups, margin, level, kinds=split.kinds
            ).promote:
                champion, moved = challenger, moved + 1
        moves.append(moved)
    return float(np.mean(np.array(moves) > 0)), float(np.mean(moves))


def spread(split: Split, seed: int = 0) -> float:
    """Standard deviation of the difference of two equal models' AUROCs."""
    rng = np.random.default_rng(seed)
    differences = []
    labels = (split.kinds > 0).astype(int)
    for _ in range(60):
        shared = split.shared(rng)
        a, b = split.model(rng, shared), split.model(rng, shared)
        differences.append(
            auroc_difference_interval(a, b, labels, split.groups, kinds=split.kinds).estimate
        )
    return float(np.std(differences))


def people_for_power(
    split: Split, margin: float, confidence: float, runs: int, power: float = 0.9
) -> int | None:
    """Smallest split of its kind (to 5 %) that promotes twice the margin with ``power``."""
    rng = np.random.default_rng(0)

    def enough(people: int) -> bool:
        sizes = rng.choice(split.sizes, size=people)
        larger = Split(split.name, sizes, split.correlation)
        return promoted(larger, 2 * margin, margin, confidence, runs, people) >= power

    low, high = 1, max(8, len(split.sizes) // 4)
    while not enough(high):
        low, high = high, high * 2
        if high > 4096:
            return None
    while high - low > max(1, high // 20):
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high


def crowd(people: int, seed: int = 0) -> NDArray[np.intp]:
    """Pictures a person as on the web: three quarters have one, a few have dozens."""
    rng = np.random.default_rng(seed)
    return np.minimum(np.ceil(rng.pareto(1.25, people) * 0.72 + 1e-9), 110).astype(np.intp)


def measured(champion: Path, challenger: Path) -> Split:
    """The gate split of two evaluations, with the correlation that gives their variance."""
    import pandas as pd

    tables = []
    for path in (champion, challenger):
        table = pd.read_parquet(path)
        tables.append(table[(table["split"] == "gate") & (table["kind"] != "photograph")])
    a, b = tables
    found = auroc_difference_interval(
        b["score_mse"], a["score_mse"], a["label"], a["group"], kinds=a["kind"]
    )
    sizes = np.asarray(a[a["label"] == 0].groupby("group").size(), dtype=np.intp)
    print(f"measured: difference {found.estimate:+.4f}, standard error {found.standard_error:.5f}")
    correlations = 1 - np.geomspace(1e-4, 0.5, 12)
    spreads = [spread(Split("", sizes, c)) for c in correlations]
    best = int(np.argmin(np.abs(np.array(spreads) - found.standard_error)))
    return Split(
        f"{challenger.parent.name} against {champion.parent.name}", sizes, correlations[best]
    )


def report(split: Split, margin: float, confidence: float, runs: int, histories: int) -> None:
    """Print the table of one split."""
    print(
        f"\n{split.name}: {len(split.sizes)} people, {split.sizes.sum()} pictures, "
        f"margin {margin:g}, confidence {confidence:g}, "
        f"sd of a difference of equals {spread(split):.4f}"
    )
    rows = [
        ("equal to the champion", 0.0),
        ("better by exactly the margin", margin),
        ("better by twice the margin", 2 * margin),
        ("better by four times the margin", 4 * margin),
    ]
    for name, gain in rows:
        share = promoted(split, gain, margin, confidence, runs, 1)
        print(f"  {name:34}{100 * share:6.1f} % promoted of {runs:,}")
    if histories:
        for fresh, spend, name in (
            (False, False, "the same gate people"),
            (True, False, "fresh gate people each time"),
            (False, True, "the same people, error spent"),
        ):
            some, moves = history(
                split, margin, confidence, histories, fresh=fresh, spend=spend, seed=2
            )
            print(
                f"  50 equals, {name:30}{100 * some:5.1f} % of histories with a false promotion, "
                f"{moves:.2f} a history"
            )
    needed = people_for_power(split, margin, confidence, min(runs, 200))
    print(f"  people for 90 % at twice the margin: {needed or 'more than 4,096'}")


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--people", type=int)
    parser.add_argument("--images", type=int, default=10, help="pictures a person")
    parser.add_argument("--correlation", type=float, default=0.99)
    parser.add_argument("--champion", type=Path, help="per_image.parquet")
    parser.add_argument("--challenger", type=Path, help="per_image.parquet")
    parser.add_argument("--margin", type=float, default=0.005)
    parser.add_argument("--confidence", type=float, default=0.95)
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--histories", type=int, default=100)
    given = parser.parse_args()
    if given.champion and given.challenger:
        splits = [measured(given.champion, given.challenger)]
    elif given.people:
        sizes = np.full(given.people, given.images, dtype=np.intp)
        splits = [Split("as asked", sizes, given.correlation)]
    else:
        six = np.full(6, 10, dtype=np.intp)
        splits = [
            Split("40 people × 10 (default), alike models", six, 0.98),
            Split("web faces, alike models", crowd(496), 0.98),
            Split("web faces, unlike models", crowd(496), 0.9),
        ]
    for split in splits:
        report(split, given.margin, given.confidence, given.runs, given.histories)


if __name__ == "__main__":
    main()
