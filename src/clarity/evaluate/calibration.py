"""What a score means: how rare it is among normals, and from where on it raises the alarm.

Split conformal (Vovk et al. 2005; for outliers Bates et al. 2023). Photographs of one person are
alike, so where ``val`` holds enough people each of them is one witness, however many the pictures
(Dunn, Wasserman & Ramdas 2022; Lee, Barber & Willett 2023).
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

#: Differences below this are rounding of the machine's, not a rarer score.
ROUNDING = 1e-9


@dataclass(frozen=True)
class Calibration:
    """Scores of n validation normals, ascending, and what each weighs.

    The weights sum to less than 1; the rest is the new image's own.

    Attributes:
        by: ``people`` where each group weighs alike, ``pictures`` where each picture does.
    """

    scores: Floats
    weights: Floats
    by: str = "pictures"

    def p_values(self, scores: Floats) -> Floats:
        """For each of N scores, the probability that a new normal scores as high or higher.

        Of a normal drawn like those of ``val`` it is at most α with probability at most α.
        """
        above = np.append(np.cumsum(self.weights[::-1])[::-1], 0.0)
        own = 1 - self.weights.sum()
        found: Floats = own + above[np.searchsorted(self.scores, scores, side="left")]
        return np.minimum(found, 1.0)

    def threshold(self, rate: float) -> float:
        """The score above which the p-value is at most ``rate``.

        Where so few are known that no score is that rare, it is the largest of them, and no
        promise holds (`promised`).
        """
        total = self.weights.sum()
        above = 1 - total + (total - np.cumsum(self.weights))  # p-value just above each score
        rare = np.flatnonzero(above <= rate + ROUNDING)
        return float(self.scores[rare[0] if len(rare) else -1])

    def promised(self, rate: float) -> bool:
        """Whether a score can be rare enough at all."""
        return bool(1 - self.weights.sum() <= rate + ROUNDING)


def calibrate(scores: Floats, groups: NDArray[np.str_], rate: float) -> Calibration:
    """From the scores of n validation normals and the person (or folder) each belongs to.

    By people where there are enough of them for the false-alarm rate, 1/``rate`` - 1, else by
    pictures: then the promise is for pictures drawn alike, not for new people.
    """
    order = np.argsort(scores, kind="stable")
    counts = Counter(groups.tolist())
    if 1 / (len(counts) + 1) <= rate + ROUNDING and len(counts) < len(groups):
        each = np.array([1 / counts[group] for group in groups.tolist()]) / (len(counts) + 1)
        return Calibration(scores[order], each[order], "people")
    return Calibration(scores[order], np.full(len(scores), 1 / (len(scores) + 1)))
