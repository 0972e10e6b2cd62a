"""Errors taken apart: by spatial frequency, and by place at several scales.

What an anomaly does to the error as a whole is often little. These say in which band of frequencies
it lies, how much it is against what the picture has there itself (Serrà et al. 2020 on a picture's
own complexity), and how large it is in the worst place.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor

from clarity.evaluate.frequency import ring_powers
from clarity.evaluate.spectrum import ROUNDING, Spectra

#: First ring (cycles an image) of each band; a band ends where the next begins.
BANDS = (1, 2, 4, 8, 16)
#: Bands whose error is also taken as a share of the picture's own power there.
SHARES = (2, 4)
#: Sides of the square patches, in pixels, each twice the one before; they lie a quarter of
#: their side apart.
PATCHES = (4, 8, 16, 32)
#: Added to a patch's own variance: what is even has noise too. About (4/255)².
EVEN = 3e-4

BAND_NAMES = tuple(f"band_{first}" for first in BANDS)
SHARE_NAMES = tuple(f"share_{first}" for first in SHARES)
PATCH_NAMES = tuple(f"patch_{side}" for side in PATCHES)


def bands(pair: Spectra) -> dict[str, Tensor]:
    """Power of the error by band, and its share of the original's own: N each, float64."""
    error, own = _bands(pair.reconstruction - pair.original), _bands(pair.original)
    found = {name: error[:, place] for place, name in enumerate(BAND_NAMES)}
    for first, name in zip(SHARES, SHARE_NAMES, strict=True):
        place = BANDS.index(first)
        found[name] = error[:, place] / own[:, place]
    return found


def _bands(transformed: Tensor) -> Tensor:
    """N×B powers, each with the floor of rounding to 8 bits."""
    rings = ring_powers(transformed) + ROUNDING * transformed.shape[1] ** 2
    ends = [*(first - 1 for first in BANDS), rings.shape[1]]
    return torch.stack([rings[:, a:b].sum(1) for a, b in pairwise(ends)], dim=1)


def patches(errors: Tensor, grey: Tensor) -> dict[str, Tensor]:
    """Largest error of any patch against the patch's own variance, by size: N each, float64.

    Args:
        errors: N×H×W, squared error averaged over channels.
        grey: N×H×W, luma of the original on [0, 1].
    """
    means = torch.stack([errors.to(grey.dtype), grey, grey.square()], dim=1)
    means = _doubled(_doubled(means, 1, 1), 2, 1)
    found = {}
    for side, name in zip(PATCHES, PATCH_NAMES, strict=True):
        if side > PATCHES[0]:
            means = _doubled(means, 4, 2)
        error, mean, square = means.unbind(1)
        variance = (square - mean.square()).clamp_min(0)
        found[name] = (error / (variance + EVEN)).amax((1, 2)).double()
    return found


def _doubled(means: Tensor, side: int, stride: int) -> Tensor:
    """Means of squares of twice the side, each from four of those given, ``side`` places apart."""
    last = means.shape[-1] - side
    rows = means[:, :, :last:stride] + means[:, :, side::stride]
    return (rows[..., :last:stride] + rows[..., side::stride]) / 4
