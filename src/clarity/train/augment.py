"""Faces that the camera could also have taken: mirrored, shifted, in another light."""

from __future__ import annotations

import torch
from torch import Tensor


def augment(images: Tensor, generator: torch.Generator, *, flip: bool, shift: int) -> Tensor:
    """Each image mirrored by a fair coin and shifted by up to ``shift`` pixels either way.

    What a shift uncovers repeats the edge. Pixels are moved, never blended: no blur is taught.

    Args:
        images: uint8, N×H×W×C, on any device.
        generator: source of the draws, on the CPU, so that every device sees the same ones.
        flip: whether to mirror left and right.
        shift: largest shift in pixels.
    """
    count, height, width, _ = images.shape
    offsets = torch.randint(-shift, shift + 1, (2, count, 1), generator=generator)
    mirrored = torch.randint(0, 2, (count, 1), generator=generator).bool() & flip
    rows = (torch.arange(height) + offsets[0]).clamp(0, height - 1)
    columns = (torch.arange(width) + offsets[1]).clamp(0, width - 1)
    columns = torch.where(mirrored, width - 1 - columns, columns)
    # Whole pixels by their place in all the images: a fifth of the time of three indices at once.
    lines = (rows + torch.arange(count)[:, None] * height).to(images.device)
    places = lines[:, :, None] * width + columns.to(images.device)[:, None, :]
    pixels = images.reshape(-1, images.shape[3])
    return pixels.index_select(0, places.flatten()).reshape(images.shape)


def relight(x: Tensor, generator: torch.Generator, jitter: float) -> Tensor:
    """Each image with its contrast scaled by 1 ± ``jitter`` and its brightness moved as much.

    Light differs from picture to picture more than people do; where people are few, a bottleneck
    of three that has seen their own light only spends itself on it.

    Args:
        x: images, N×C×H×W in [-1, 1], on any device.
        generator: source of the draws, on the CPU.
        jitter: largest relative change of contrast, and largest shift on [-1, 1].
    """
    if jitter == 0:
        return x
    draws = torch.rand(2, len(x), 1, 1, 1, generator=generator).mul_(2).sub_(1).mul_(jitter)
    contrast, brightness = draws.to(x.device)
    return x.mul(1 + contrast).add_(brightness).clamp_(-1, 1)


def noisy(x: Tensor, generator: torch.Generator, noise: float) -> Tensor | None:
    """Each image with Gaussian noise of this standard deviation on [-1, 1]; None where it is 0.

    A denoising autoencoder (Vincent et al. 2008) makes the clean image from it.

    Args:
        x: images, N×C×H×W in [-1, 1], on any device.
        generator: source of the draws, on the CPU.
        noise: not clipped to [-1, 1].
    """
    if noise == 0:
        return None
    return x + noise * torch.randn(x.shape, generator=generator).to(x.device)
