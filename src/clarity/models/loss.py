"""What training minimises: one measure of error, or several with weights (docs/training.md).

All take reconstructions and their originals, N×C×H×H on [-1, 1], and give the mean over the batch.
SSIM and MS-SSIM are piq's, with the settings with which they are reported, on images clipped to
[0, 1]; 1 at worst about, 0 for identical images, as every loss here. Only whole windows count in
them, so that a pixel of the rim lies in a tenth as many as others, one of a corner in a hundredth;
what minimises them leaves a grey seam. Here images are mirrored at the rim, and all count alike.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from clarity.models.base import to_unit
from clarity.models.lean import piq

Criterion = Callable[[Tensor, Tensor], Tensor]

#: Errors well below this count about as squares, well above it as they are (Lai et al. 2017).
EPSILON = 1e-3
#: Scales of MS-SSIM and their weights (Wang et al. 2003).
SCALES = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
#: Its window: SSIM's would need 161 pixels.
WINDOW = 3
SSIM_WINDOW = 11
#: A scale of less likeness than this counts as this much: a root has no slope at 0.
LEAST = 1e-4


def l1(made: Tensor, original: Tensor) -> Tensor:
    """Mean absolute error on [-1, 1]."""
    return nn.functional.l1_loss(made.float(), original)


def charbonnier(made: Tensor, original: Tensor) -> Tensor:
    """Mean of √(d² + ε²) - ε: absolute errors, smooth at 0 (Charbonnier et al. 1994)."""
    return ((made.float() - original).square() + EPSILON**2).sqrt().mean() - EPSILON


def ssim(made: Tensor, original: Tensor) -> Tensor:
    """1 - SSIM (Wang et al. 2004), window 11, σ 1.5."""
    x, y = (_mirrored(to_unit(one), SSIM_WINDOW) for one in (made, original))
    with _single(original):
        value: Tensor = piq("ssim").ssim(x, y, kernel_size=SSIM_WINDOW, downsample=False)
    return 1 - value


def ms_ssim(made: Tensor, original: Tensor) -> Tensor:
    """1 - MS-SSIM (Wang et al. 2003) over five scales; needs 33 pixels.

    Put together here from piq's SSIM: its own product has no gradient where a scale is not alike at
    all, which untrained networks are. Each channel by itself, as there.
    """
    side = original.shape[-1]
    x, y = (to_unit(one).reshape(-1, 1, side, side) for one in (made, original))
    total = torch.ones(len(x), device=x.device)
    for place, weight in enumerate(SCALES):
        if place:
            x, y = (nn.functional.avg_pool2d(one, 2) for one in (x, y))
        with _single(original):
            both, structure = piq("ssim").ssim(
                *(_mirrored(one, WINDOW) for one in (x, y)),
                kernel_size=WINDOW,
                downsample=False,
                full=True,
                reduction="none",
            )
        likeness = both if place == len(SCALES) - 1 else structure
        total = total * likeness.flatten().clamp_min(LEAST) ** weight
    return 1 - total.mean()


def _mirrored(images: Tensor, window: int) -> Tensor:
    """Continued by half a window on every side, so that each pixel is the centre of one."""
    return nn.functional.pad(images, (window // 2,) * 4, mode="reflect")


def _single(images: Tensor) -> torch.autocast:
    """In single precision: a variance is a small difference, of which bfloat16 leaves nothing."""
    return torch.autocast(images.device.type, enabled=False)


LOSSES: Mapping[str, Criterion] = {
    "mse": nn.functional.mse_loss,
    "l1": l1,
    "charbonnier": charbonnier,
    "ssim": ssim,
    "ms-ssim": ms_ssim,
}

#: Those that look at no picture's values to check them: a step with one of these can be recorded.
REPLAYED = {"mse", "l1", "charbonnier"}


def criterion(loss: str | Mapping[str, float]) -> Criterion:
    """The loss of a name, or the sum of several times their weights."""
    if isinstance(loss, str):
        return LOSSES[loss]
    parts = [(LOSSES[name], weight) for name, weight in loss.items()]

    def mixed(made: Tensor, original: Tensor) -> Tensor:
        total = torch.zeros((), device=original.device)
        for one, weight in parts:
            total = total + weight * one(made, original)
        return total

    return mixed
