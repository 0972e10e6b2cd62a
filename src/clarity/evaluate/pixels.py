"""Pixel AUROC over all masked images of a kind, exact for masks that a source brings.

Masks of synthetic anomalies are counted in bins (`clarity.evaluate.anomaly.PixelRanking`).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from clarity.evaluate.anomaly import Floats, PixelRanking
from clarity.params import SYNTHETIC

#: Pixels of a kind that are kept; of more, root errors are counted in bins. 2,048 of 64×64.
MOST = 2**23


@dataclass
class ExactRanking:
    """Every error of a kind's masked images, while they are not too many; then bins."""

    anomalous: list[NDArray[np.float32]] = field(default_factory=list)
    normal: list[NDArray[np.float32]] = field(default_factory=list)
    bins: PixelRanking | None = None
    count: int = 0

    def add(self, errors: Floats, masks: NDArray[np.uint8]) -> None:
        """Take the pixels of N×H×W error maps (float32 at their origin) and masks."""
        if self.bins is not None:
            self.bins.add(errors, masks)
            return
        inside = masks.astype(bool)
        self.anomalous.append(errors[inside].astype(np.float32))
        self.normal.append(errors[~inside].astype(np.float32))
        self.count += errors.size
        if self.count > MOST:
            self.bins = self.binned()
            self.anomalous, self.normal = [], []

    def binned(self) -> PixelRanking:
        """The same in bins."""
        if self.bins is not None:
            return self.bins
        bins = PixelRanking()
        for parts, value in ((self.anomalous, 1), (self.normal, 0)):
            for part in parts:
                bins.add(part.astype(np.float64), np.full(part.shape, value, np.uint8))
        return bins

    def auroc(self) -> float | None:
        """AUROC of all pixels so far, ties counting half; None while either class is missing."""
        return self.bins.auroc() if self.bins else exact_auroc(self.anomalous, self.normal)


Ranking = PixelRanking | ExactRanking


def ranking(kind: str) -> Ranking:
    """An empty ranking for a kind of anomaly."""
    return PixelRanking() if kind in SYNTHETIC else ExactRanking()


def exact_auroc(
    anomalous: Iterable[NDArray[np.float32]], normal: Iterable[NDArray[np.float32]]
) -> float | None:
    """Mann-Whitney: the share of pairs in which the anomalous pixel's error is larger."""
    above, below = (
        np.concatenate([np.empty(0, np.float32), *part]) for part in (anomalous, normal)
    )
    if not len(above) or not len(below):
        return None
    below.sort()
    smaller = np.searchsorted(below, above, "left").sum(dtype=np.int64)
    equal = np.searchsorted(below, above, "right").sum(dtype=np.int64) - smaller
    return float((smaller + equal / 2) / (len(above) * len(below)))


def pooled(rankings: Iterable[Ranking]) -> float | None:
    """AUROC of the pixels of all kinds; exact where each of them is."""
    parts = list(rankings)
    exact = [part for part in parts if isinstance(part, ExactRanking) and part.bins is None]
    if exact and len(exact) == len(parts):
        return exact_auroc(
            (one for part in exact for one in part.anomalous),
            (one for part in exact for one in part.normal),
        )
    together = PixelRanking()
    for part in parts:
        bins = part.binned() if isinstance(part, ExactRanking) else part
        together.anomalous += bins.anomalous
        together.normal += bins.normal
    return together.auroc()
