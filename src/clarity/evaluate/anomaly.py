"""How well a score tells anomalies from normals.

Scores are higher for more anomalous images; anomalies are the positive class.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

#: Bins of root error in which `PixelRanking` counts pixels.
BINS = 8192


def detection(normal: Floats, anomalous: Floats) -> dict[str, float | int | None]:
    """AUROC, average precision and false-positive rate at 95 % true positives of one score.

    ``fpr95``: share of normals at or above the highest threshold that still catches at least 95 %
    of the anomalies. ``n`` counts anomalies, ``normals`` the normals they were set against. The
    figures are None where one of the two is missing.
    """
    counts: dict[str, float | int | None] = {"n": len(anomalous), "normals": len(normal)}
    if not len(normal) or not len(anomalous):
        return {"auroc": None, "ap": None, "fpr95": None, **counts}
    from sklearn.metrics import roc_curve

    truth = np.concatenate([np.zeros(len(normal)), np.ones(len(anomalous))])
    values = np.concatenate([normal, anomalous])
    false, true, _ = roc_curve(truth, values, drop_intermediate=False)
    flagged = true * len(anomalous) + false * len(normal)
    precision = true[1:] * len(anomalous) / flagged[1:]
    return {
        "auroc": float(np.trapezoid(true, false)),
        "ap": float((np.diff(true) * precision).sum()),
        "fpr95": float(false[np.argmax(true >= 0.95)]),
        **counts,
    }


def pixel_auroc(errors: Floats, masks: NDArray[np.uint8]) -> Floats:
    """AUROC of each image's error map against its mask; NaN where a mask is empty or full.

    Args:
        errors: N×H×W. masks: N×H×W, 1 on anomalous pixels.

    The Mann-Whitney form, ties counting half.
    """
    from scipy.stats import rankdata

    flat = masks.reshape(len(masks), -1).astype(bool)
    positives = flat.sum(1)
    negatives = flat.shape[1] - positives
    usable = (positives > 0) & (negatives > 0)
    result = np.full(len(masks), np.nan)
    if usable.any():
        ranks = rankdata(errors.reshape(len(errors), -1)[usable], axis=1)
        found, missed = positives[usable], negatives[usable]
        above = (ranks * flat[usable]).sum(1) - found * (found + 1) / 2
        result[usable] = above / (found * missed)
    return result


@dataclass
class PixelRanking:
    """Pixel AUROC pooled over all masked images, in memory that does not grow with them.

    Root errors on [0, 1] are counted in `BINS` bins; pixels in one bin are ties and count half.
    """

    anomalous: NDArray[np.int64] = field(default_factory=lambda: np.zeros(BINS, np.int64))
    normal: NDArray[np.int64] = field(default_factory=lambda: np.zeros(BINS, np.int64))

    def add(self, errors: Floats, masks: NDArray[np.uint8]) -> None:
        """Count the pixels of N×H×W error maps and masks."""
        bins = np.minimum((np.sqrt(np.clip(errors, 0, 1)) * BINS).astype(np.int64), BINS - 1)
        inside = masks.astype(bool)
        self.anomalous += np.bincount(bins[inside], minlength=BINS)
        self.normal += np.bincount(bins[~inside], minlength=BINS)

    def auroc(self) -> float | None:
        """AUROC of all pixels counted so far; None while either class is missing."""
        pairs = float(self.anomalous.sum()) * float(self.normal.sum())
        if not pairs:
            return None
        below = np.cumsum(self.normal) - self.normal
        return float((self.anomalous * (below + self.normal / 2)).sum() / pairs)
