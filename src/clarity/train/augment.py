"""Faces that could have been: mirrored, a few pixels to the side, between two people."""

from __future__ import annotations

import torch
from torch import Tensor


def augment(images: Tensor, generator: torch.Generator, *, flip: bool, shift: int) -> Tensor:
    """Each image mirrored by a fair coin and shifted by up to ``shift`` pixels either way.

    What a shift uncovers repeats the edge. Pixels are moved, never blended: no blur is taught.

    Args:
        images: uint8, N×H×W×3, on any device.
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
    which, rows, columns = (
        index.to(images.device)
        for index in (torch.arange(count)[:, None, None], rows[:, :, None], columns[:, None, :])
    )
    return images[which, rows, columns]


def mix(x: Tensor, partners: Tensor, generator: torch.Generator, share: float) -> Tensor:
    """Each image with up to ``share`` of another laid over it (mixup, Zhang et al. 2018).

    A few dozen people are few points for a bottleneck of three to be bent through; faces between
    them keep it from learning the people by heart. An autoencoder's target is its input, so the
    blend is both.

    Args:
        x, partners: images, N×3×H×W in [-1, 1], on any device.
        generator: source of the draws, on the CPU.
        share: largest weight of the partner; each image's is uniform on [0, share].
    """
    weight = torch.rand(len(x), 1, 1, 1, generator=generator).mul_(share).to(x.device)
    return torch.lerp(x, partners, weight)
