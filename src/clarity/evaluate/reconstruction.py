"""How far a reconstruction lies from its original, image by image.

All functions take N×C×H×W tensors on [0, 1] and return N values in float64, so that means over
100,000 images do not depend on the batch size's rounding.
"""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor

from clarity.evaluate.spectrum import (
    Spectra,
    log_spectral_distance,
    spectral_difference,
    transforms,
)

#: MSE below this counts as this in PSNR, which so ends at 100 dB instead of infinity.
PSNR_FLOOR = 1e-10
#: Wang et al. 2004: an 11×11 Gaussian window of σ = 1.5, K1 = 0.01, K2 = 0.03.
SSIM_REACH, SSIM_SIGMA, SSIM_C1, SSIM_C2 = 5, 1.5, 0.01**2, 0.03**2
#: Columns of `image_metrics` that every family has.
METRICS = ("mse", "mae", "psnr", "ssim", "lsd")


def squared_error(reconstruction: Tensor, original: Tensor) -> Tensor:
    """Error map: squared error averaged over channels, N×H×W on [0, 1], float32."""
    return (reconstruction - original).square().mean(1)


@cache
def gaussian(size: int, sigma: float, reach: int) -> Tensor:
    """size×size matrix that slides a Gaussian window along a line, mirrored at its ends.

    ``gaussian(h, …).T @ image @ gaussian(w, …)`` blurs an image; float32.
    """
    offsets = torch.arange(-reach, reach + 1)
    weights = torch.exp(-(offsets.double() ** 2) / (2 * sigma**2))
    weights /= weights.sum()
    matrix = torch.zeros(size, size, dtype=torch.float64)
    for place in range(size):
        for offset, weight in zip(offsets.tolist(), weights, strict=True):
            source = abs(place + offset)
            matrix[min(source, 2 * (size - 1) - source), place] += weight
    return matrix.float()


def ssim(reconstruction: Tensor, original: Tensor) -> Tensor:
    """Structural similarity (Wang et al. 2004) on [-1, 1], mean over channels; 1 is identical.

    The Gaussian window is separable, so sliding it is two matrix products: thirty times faster on
    a CPU than the two-dimensional convolution in torchmetrics, whose values it gives (a test holds
    them together).
    """
    height, width = original.shape[-2:]
    down = gaussian(height, SSIM_SIGMA, SSIM_REACH).to(original.device).T
    across = gaussian(width, SSIM_SIGMA, SSIM_REACH).to(original.device)

    def blur(values: Tensor) -> Tensor:
        return down @ values @ across

    x, y = reconstruction, original
    mean_x, mean_y = blur(x), blur(y)
    product, squares = mean_x * mean_y, mean_x * mean_x + mean_y * mean_y
    # Of the two variances the formula knows the sum alone, which takes one blur instead of two.
    variances = (blur(x * x + y * y) - squares).clamp_min(0)
    covariance = blur(x * y) - product
    luminance = (2 * product + SSIM_C1) / (squares + SSIM_C1)
    structure = (2 * covariance + SSIM_C2) / (variances + SSIM_C2)
    return (luminance * structure).double().mean((1, 2, 3))


def image_metrics(
    reconstruction: Tensor, original: Tensor, spectra: Spectra | None = None
) -> dict[str, Tensor]:
    """`METRICS` and ``hf_bias``, the signed mean of the spectral difference in dB (blur < 0).

    Args:
        reconstruction, original: N×C×H×H on [0, 1].
        spectra: of both, where they are known already.
    """
    difference = (reconstruction - original).double()
    mse = difference.square().mean((1, 2, 3))
    spectrum = spectral_difference(spectra or transforms(reconstruction, original))
    return {
        "mse": mse,
        "mae": difference.abs().mean((1, 2, 3)),
        "psnr": -10 * torch.log10(mse.clamp_min(PSNR_FLOOR)),
        "ssim": ssim(reconstruction, original),
        "lsd": log_spectral_distance(spectrum),
        "hf_bias": spectrum.mean(1),
    }
