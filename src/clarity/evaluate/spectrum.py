"""Radially averaged power spectra, and the log-spectral distance that measures clarity.

Definition, range and pitfalls: docs/metrics/lsd.md.
"""

from __future__ import annotations

import math
from functools import cache

import torch
from torch import Tensor

#: Luma weights of ITU-R BT.601.
LUMA = (0.299, 0.587, 0.114)
#: Rings start here, as a share of the Nyquist frequency; below lies what even a blur keeps.
LOWEST = 0.25
#: Variance of rounding to 8 bits, on [0, 1]. Its spectrum is the floor: detail that a picture of
#: 8 bits cannot hold does not count.
ROUNDING = (1 / 255) ** 2 / 12


def luma(images: Tensor) -> Tensor:
    """N×C×H×W on [0, 1] to N×H×W brightness on [0, 1]; C is 1 or 3."""
    if images.shape[1] == 1:
        return images[:, 0]
    weights = torch.tensor(LUMA, dtype=images.dtype, device=images.device)
    return torch.einsum("nchw,c->nhw", images, weights)


@cache
def _window(size: int) -> Tensor:
    """A periodic 2-D Hann window, size×size: without it the edges leak into every frequency."""
    line = torch.hann_window(size, periodic=True, dtype=torch.float64)
    return torch.outer(line, line)


@cache
def _rings(size: int) -> Tensor:
    """size²×R matrix that averages a power spectrum over rings of one frequency bin's width.

    Rings run from ``LOWEST`` × Nyquist out to the corner of the spectrum, √2 × Nyquist: that is
    where a checkerboard of single pixels has its only frequency.
    """
    frequency = torch.fft.fftfreq(size, 1 / size, dtype=torch.float64)
    radius = torch.hypot(frequency[:, None], frequency[None, :]).round().flatten()
    first, last = math.ceil(LOWEST * size / 2), int(radius.max())
    rings = (radius[:, None] == torch.arange(first, last + 1)[None, :]).double()
    return rings / rings.sum(0)


def ring_power(images: Tensor) -> Tensor:
    """High-frequency power of the luma by ring: N×C×H×H on [0, 1] to N×R, in dB, float64.

    The floor (rounding noise under the same window) is added before the logarithm.
    """
    grey = luma(images.double())
    size = grey.shape[-1]
    window = _window(size).to(grey.device)
    weighted_mean = (grey * window).sum((1, 2), keepdim=True) / window.sum()
    power = torch.fft.fft2((grey - weighted_mean) * window).abs().square().flatten(1)
    floor = ROUNDING * float(window.square().sum())
    return 10 * torch.log10(power @ _rings(size).to(grey.device) + floor)


def log_spectral_distance(reconstruction: Tensor, original: Tensor) -> Tensor:
    """Root mean square over rings of the difference of `ring_power`, per image: N, dB, ≥ 0.

    A distance from zero: blur (power missing) and noise or checkerboards (power added) both raise
    it. The difference of two log spectra, root mean square over frequency, is the log-spectral
    distance of speech coding (Gray & Markel 1976), here over rings of an image's spectrum.
    """
    return spectral_difference(reconstruction, original).square().mean(1).sqrt()


def spectral_difference(reconstruction: Tensor, original: Tensor) -> Tensor:
    """Signed difference by ring in dB, N×R: negative where the reconstruction lacks detail."""
    return ring_power(reconstruction) - ring_power(original)
