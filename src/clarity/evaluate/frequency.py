"""Where in the spectrum a reconstruction loses its original: the share of power in its place."""

from __future__ import annotations

from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from clarity.evaluate.spectrum import half_plane, power

Floats = NDArray[np.float64]
#: Below this share of a ring's power in the right place its detail counts as lost.
HALF = 0.5
#: Normals of a split whose spectra are kept, at most.
MOST = 1000


@cache
def _rings(size: int) -> Tensor:
    """F×R: sums a power spectrum over rings of one cycle an image, from 1 to Nyquist."""
    radius, times = half_plane(size)
    return (radius[:, None] == torch.arange(1, size // 2 + 1)[None, :]) * times[:, None]


def ring_powers(transformed: Tensor) -> Tensor:
    """Power by ring of 1, 2, …, H/2 cycles an image of what `spectrum.transform` gives: N×H/2,
    float64."""
    rings: Tensor = power(transformed) @ _rings(transformed.shape[1]).to(transformed.device)
    return rings


def kept(error: Floats, own: Floats) -> Floats:
    """Share of the original's power that is reproduced in the right place, by ring: R.

    1 - Σ|X̂ - X|² / Σ|X|² over images; 1 is perfect, 0 as good as nothing, below 0 is worse than
    nothing.

    Args:
        error: N×R, `ring_powers` of reconstruction minus original.
        own: N×R, of the original.
    """
    total = own.sum(0)
    shares: Floats = 1 - np.divide(error.sum(0), total, out=np.ones_like(total), where=total > 0)
    return shares


def finest_detail(shares: Floats, size: int) -> float:
    """Size in pixels of the finest detail still reproduced: half a period of the frequency up to
    which the share stays at least `HALF`, between rings by a straight line; NaN where not even the
    coarsest ring is."""
    if not shares[0] >= HALF:
        return float("nan")
    lost = np.flatnonzero(~(shares >= HALF))
    if not len(lost):
        return size / (2 * len(shares))
    ring = int(lost[0])  # counted from 0: this ring has ring + 1 cycles
    above, below = shares[ring - 1], shares[ring]
    cycles = ring + (above - HALF) / (above - below)
    return float(size / (2 * cycles))
