"""Where detail is lost: the share of the original's power that a reconstruction has in its place.

By ring r of one cycle an image: 1 - Σ|X̂ - X|² / Σ|X|², sums over images (docs/metrics/clarity.md).
1 is perfect; 0 is what a grey picture would reach; below 0 the reconstruction adds what is wrong.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from clarity.compare.results import POPULATIONS, ModelResults, Population, Results
from clarity.statistics import Interval, log_ratio_interval

#: A detail counts as reproduced as long as this share of its power is.
HALF = 0.5


@dataclass(frozen=True)
class Curve:
    """One model on one population.

    Attributes:
        size: pixels of an image's side.
        cycles: an image, of each point.
        shares: at each, with its interval over people (and trainings).
    """

    size: int
    cycles: tuple[int, ...]
    shares: tuple[Interval, ...]

    @property
    def finest(self) -> float | None:
        """Size in pixels of the finest detail still reproduced; None: not even the coarsest is."""
        return _finest(self.size, self.cycles, [share.estimate for share in self.shares])

    @property
    def limits(self) -> tuple[float | None, float | None]:
        """Of `finest`: where the curve's upper and its lower limits cross one half."""
        return (
            _finest(self.size, self.cycles, [share.high for share in self.shares]),
            _finest(self.size, self.cycles, [share.low for share in self.shares]),
        )


Curves = dict[str, dict[Population, Curve]]


def curves(results: Results, confidence: float) -> Curves:
    """For every model and population."""
    return {
        model.name: {
            split: _curve(model, results.groups(split), split, confidence) for split in POPULATIONS
        }
        for model in results.detectors
    }


def _curve(
    model: ModelResults, groups: NDArray[Any], split: Population, confidence: float
) -> Curve:
    found = model.spectra[split]
    people = groups[found.rows]
    cycles, shares = [], []
    for ring in range(found.power.shape[1]):
        error, power = found.error[:, :, ring], found.power[None, :, ring]
        # Nothing there to reproduce, or nothing wrong at all: no ratio.
        if not (power.mean() > 0 and error.mean() > 0):
            continue
        ratio = log_ratio_interval(
            error, power, people, confidence, deterministic=(model.deterministic, True)
        )
        cycles.append(ring + 1)
        shares.append(ratio.as_reduction())
    return Curve(2 * found.power.shape[1], tuple(cycles), tuple(shares))


def _finest(size: int, cycles: Sequence[int], shares: Sequence[float]) -> float | None:
    """Half a period of the frequency up to which the share stays at one half, interpolated."""
    reached = 0.0
    before: tuple[float, float] | None = None
    for frequency, share in zip(cycles, shares, strict=True):
        if share < HALF:
            if before is not None:
                last, above = before
                reached = last + (frequency - last) * (above - HALF) / (above - share)
            break
        reached, before = float(frequency), (float(frequency), share)
    return size / (2 * reached) if reached else None
