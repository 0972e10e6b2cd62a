"""Full-reference measures validated against people's opinion, by piq (docs/metrics/clarity.md).

All functions take N×C×H×W tensors on [0, 1] and return N values in float64.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from clarity.measures import MEASURES
from clarity.models.lean import piq

Compared = Callable[[Tensor, Tensor], Tensor]


def _mdsi(x: Tensor, y: Tensor) -> Tensor:
    """MDSI, which is of colours: grey images with three equal channels."""
    if x.shape[1] == 1:
        x, y = (image.expand(-1, 3, -1, -1) for image in (x, y))
    values: Tensor = piq("mdsi").mdsi(x, y, reduction="none")
    return values


def _fsim(x: Tensor, y: Tensor) -> Tensor:
    """FSIM, whose medians torch refuses on a GPU for their places, which nobody asks for."""
    before = torch.get_deterministic_debug_mode()
    torch.set_deterministic_debug_mode("default")
    try:
        values: Tensor = piq("fsim").fsim(x, y, reduction="none", chromatic=False)
    finally:
        torch.set_deterministic_debug_mode(before)
    return values


#: HaarPSI without its first halving: that stands for looking at a large picture from a distance,
#: and 64 pixels are looked at enlarged. MS-SSIM with a window of 3, or five scales need 161 pixels.
_COMPARE: dict[str, Compared] = {
    "haarpsi": partial(piq("haarpsi").haarpsi, reduction="none", subsample=False),
    "gmsd": partial(piq("gmsd").gmsd, reduction="none"),
    "mdsi": _mdsi,
    "fsim": _fsim,
    "vif": partial(piq("vif").vif_p, reduction="none"),
    "dss": partial(piq("dss").dss, reduction="none"),
    "ms_ssim": partial(piq("ms_ssim").multi_scale_ssim, reduction="none", kernel_size=3),
}
EVERY = tuple(name for name in _COMPARE if MEASURES[name].every)
#: Ten times the price: measured on at most `SAMPLED` normals of the populations that are compared.
SAMPLE = tuple(name for name in _COMPARE if not MEASURES[name].every)
SAMPLED = 128


@torch.inference_mode()
def perceptual(reconstruction: Tensor, original: Tensor, *, every: bool) -> dict[str, Tensor]:
    """`EVERY` measure that is cheap, or those of `SAMPLE`; but none that needs larger images.

    Values lie in [0, 1]. Identical pictures have a measure's best value, which the library's
    formulas miss for a picture of one shade.
    """
    same = (reconstruction == original).flatten(1).all(1)
    found = {}
    for name in EVERY if every else SAMPLE:
        measure = MEASURES[name]
        if min(original.shape[-2:]) < measure.smallest:
            continue
        values = _COMPARE[name](reconstruction, original).double().nan_to_num(0.0).clamp(0, 1)
        assert measure.perfect is not None
        found[name] = torch.where(same, measure.perfect, values)
    return found
