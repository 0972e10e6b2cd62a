"""How far a reconstruction lies from its original: one row a measure, for all that shows it.

What each measures, and how well it agrees with people: docs/metrics/clarity.md. The numbers are
computed in `clarity.evaluate`; this table knows names, units and directions only.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

#: Costly ones, measured of a sample of train and test alone.
SAMPLED = frozenset({"mdsi", "fsim", "vif", "dss", "ms_ssim"})


@dataclass(frozen=True)
class Measure:
    """A full-reference measure.

    Attributes:
        key: column in tables, key in JSON and MLflow, value of ``compare.measure``.
        label: what tables and figures call it.
        name: the label spelled out.
        unit: follows the number; empty where there is none.
        digits: after the point.
        lower_is_better: whether it is a distance (0 at best) or a likeness.
        perfect: its value for an identical picture; None where it has no bound there.
        source: paper.
        opinion: rank correlation (Spearman) with people's opinion scores on TID2013 and KADID-10k;
            None where none is published.
        bounds: between which its values lie.
        smallest: pixels of a side that an image needs at least.
    """

    key: str
    label: str
    name: str
    unit: str
    digits: int
    lower_is_better: bool
    perfect: float | None
    source: str
    opinion: tuple[float, float] | None = None
    bounds: tuple[float, float] = (0.0, math.inf)
    smallest: int = 1

    @property
    def every(self) -> bool:
        """Whether it is cheap enough to be measured of every normal image."""
        return self.key not in SAMPLED

    def distance(self, value: float) -> float:
        """As a distance from the original: 0 for an identical picture, larger is worse."""
        if self.lower_is_better:
            return value
        if self.perfect is None:
            raise ValueError(f"{self.key} has no value for an identical picture")
        return self.perfect - value


_ROWS = (
    Measure("mse", "MSE", "mean squared error", "", 5, True, 0.0, "", (0.687, 0.676)),
    Measure("mae", "MAE", "mean absolute error", "", 4, True, 0.0, ""),
    Measure(
        "psnr", "PSNR", "peak signal-to-noise ratio", "dB", 2, False, None, "", (0.687, 0.676)
    ),
    Measure(
        "haarpsi", "HaarPSI", "Haar wavelet perceptual similarity index", "", 3, False, 1.0,
        "Reisenhofer et al. 2018", (0.873, 0.885), (0.0, 1.0),
    ),
    Measure(
        "gmsd", "GMSD", "gradient magnitude similarity deviation", "", 3, True, 0.0,
        "Xue et al. 2014", (0.804, 0.847),
    ),
    Measure(
        "mdsi", "MDSI", "mean deviation similarity index", "", 3, True, 0.0,
        "Nafchi et al. 2016", (0.890, 0.885),
    ),
    Measure(
        "fsim", "FSIM", "feature similarity index", "", 3, False, 1.0,
        "Zhang et al. 2011", (0.851, 0.854), (0.0, 1.0),
    ),
    Measure("vif", "VIF", "visual information fidelity", "", 3, False, 1.0, "Sheikh & Bovik 2006",
            smallest=41),
    Measure("dss", "DSS", "discrete cosine transform subbands similarity", "", 3, False, 1.0,
            "Balanov et al. 2015", None, (0.0, 1.0)),
    Measure(
        "ms_ssim", "MS-SSIM", "multi-scale structural similarity", "", 3, False, 1.0,
        "Wang et al. 2003", None, (-1.0, 1.0), 33,
    ),
    Measure(
        "ssim", "SSIM", "structural similarity", "", 3, False, 1.0,
        "Wang et al. 2004", (0.554, 0.633), (-1.0, 1.0),
    ),
    Measure(
        "lsd", "LSD", "log-spectral distance: the amount of fine detail, wherever it is", "dB", 2,
        True, 0.0, "Gray & Markel 1976",
    ),
)  # fmt: skip

#: By key, in the order in which tables show them.
MEASURES = {measure.key: measure for measure in _ROWS}

#: Those that are a distance from the original, or can be told as one: for `compare.measure`.
DISTANCES = tuple(key for key, measure in MEASURES.items() if measure.perfect is not None)
