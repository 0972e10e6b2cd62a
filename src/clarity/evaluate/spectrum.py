"""Radially averaged power spectra, and the log-spectral distance that measures clarity.

Definition, range and pitfalls: docs/metrics/lsd.md.
"""

from __future__ import annotations

import math
from functools import cache
from typing import NamedTuple

import torch
from torch import Tensor

#: Luma weights of ITU-R BT.601.
LUMA = (0.299, 0.587, 0.114)
#: Rings start here, as a share of the Nyquist frequency; below lies what even a blur keeps.
LOWEST = 0.25
#: Variance of rounding to 8 bits, on [0, 1]. Its spectrum is the floor: detail that a picture of
#: 8 bits cannot hold does not count.
ROUNDING = (1 / 255) ** 2 / 12


class Spectra(NamedTuple):
    """`transform` of both pictures of a pair. That of their difference is the difference."""

    reconstruction: Tensor
    original: Tensor


def luma(images: Tensor) -> Tensor:
    """N×C×H×W on [0, 1] to N×H×W brightness on [0, 1]; C is 1 or 3."""
    if images.shape[1] == 1:
        return images[:, 0]
    weights = torch.tensor(LUMA, dtype=images.dtype, device=images.device)
    grey: Tensor = weights @ images.flatten(2)
    return grey.reshape(len(images), *images.shape[2:])


@cache
def _window(size: int) -> Tensor:
    """A periodic 2-D Hann window, size×size: without it the edges leak into every frequency.

    Its own spectrum lies within one cycle an image, and with it that of the mean brightness.
    """
    line = torch.hann_window(size, periodic=True, dtype=torch.float64)
    return torch.outer(line, line)


def transform(grey: Tensor) -> Tensor:
    """Fourier transform of a `luma` under a Hann window: N×H×H on [0, 1] to N×H×(H/2+1), complex,
    without the mirror image that real values have."""
    found: Tensor = torch.fft.rfft2(grey.double() * _window(grey.shape[-1]).to(grey.device))
    return found


def transforms(reconstruction: Tensor, original: Tensor) -> Spectra:
    """Of N×C×H×H pairs on [0, 1]."""
    return Spectra(transform(luma(reconstruction)), transform(luma(original)))


def power(transformed: Tensor) -> Tensor:
    """Power by frequency of what `transform` gives, N×F with F = H(H/2+1), float64."""
    return (transformed.real.square() + transformed.imag.square()).flatten(1)


def half_plane(size: int) -> tuple[Tensor, Tensor]:
    """Of the F frequencies of `power`: the rounded distance from 0, and how many of the whole
    spectrum each stands for, 1 or, with its mirror image, 2."""
    down = torch.fft.fftfreq(size, 1 / size, dtype=torch.float64)
    across = torch.fft.rfftfreq(size, 1 / size, dtype=torch.float64)
    radius = torch.hypot(down[:, None], across[None, :]).round().flatten()
    times = torch.full((size, len(across)), 2.0, dtype=torch.float64)
    times[:, 0] = 1
    if size % 2 == 0:
        times[:, -1] = 1
    return radius, times.flatten()


@cache
def _rings(size: int) -> Tensor:
    """F×R matrix that averages a power spectrum over rings of one frequency bin's width.

    Rings run from ``LOWEST`` × Nyquist out to the corner of the spectrum, √2 × Nyquist: that is
    where a checkerboard of single pixels has its only frequency.
    """
    radius, times = half_plane(size)
    first, last = math.ceil(LOWEST * size / 2), int(radius.max())
    rings = (radius[:, None] == torch.arange(first, last + 1)[None, :]) * times[:, None]
    return rings / rings.sum(0)


def ring_power(transformed: Tensor) -> Tensor:
    """High-frequency power by ring of what `transform` gives: N×R, in dB, float64.

    The floor (rounding noise under the same window) is added before the logarithm.
    """
    size = transformed.shape[1]
    floor = ROUNDING * float(_window(size).square().sum())
    return 10 * torch.log10(power(transformed) @ _rings(size).to(transformed.device) + floor)


def log_spectral_distance(difference: Tensor) -> Tensor:
    """Root mean square over rings of the `spectral_difference`, per image: N, dB, ≥ 0.

    A distance from zero: blur (power missing) and noise or checkerboards (power added) both raise
    it. The difference of two log spectra, root mean square over frequency, is the log-spectral
    distance of speech coding (Gray & Markel 1976), here over rings of an image's spectrum.
    """
    return difference.square().mean(1).sqrt()


def spectral_difference(pair: Spectra) -> Tensor:
    """Signed difference by ring in dB, N×R: negative where the reconstruction lacks detail."""
    return ring_power(pair.reconstruction) - ring_power(pair.original)
