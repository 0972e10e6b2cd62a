"""What every autoencoder can do, and how images become its inputs and its outputs become images.

Networks read and write float32 of shape N×C×H×H in [-1, 1]; stored images are uint8 of shape
N×H×H×C; errors are measured on [0, 1]. C is 3 (RGB) or 1 (grey).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from clarity.layout import Shape

#: Elements of an image of 64×64×3, for which bounds of memory are stated.
USUAL = 64 * 64 * 3
#: Largest part of [-1, 1] that a Tanh is asked to start at: beyond it, it hardly learns.
SATURATION = 0.97


class Autoencoder(nn.Module, ABC):
    """An image to a short code, and the code back to an image.

    Args:
        shape: of the images.

    Attributes:
        shape: of the images.
        latent_size: elements of the code.
        parts: names of the loss's parts that `training_loss` returns.
        criterion: what reconstructions and originals are compared by in training; see
            `clarity.models.loss`.
        replayable: whether a training step is the same operations every time, without draws and
            whatever ``progress`` is, so that a GPU may record and replay it.
        share: where several processes train one network, how many images the whole batch has and
            which of them are ``x``, so that draws can be the whole batch's; None: all of them.
    """

    latent_size: int
    parts: tuple[str, ...] = ()
    replayable: bool = False
    share: tuple[int, slice] | None = None

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.criterion: Callable[[Tensor, Tensor], Tensor] = nn.functional.mse_loss

    @abstractmethod
    def encode(self, x: Tensor) -> Tensor:
        """Codes (N×latent_size) of images (N×C×H×H in [-1, 1])."""

    @abstractmethod
    def decode(self, z: Tensor) -> Tensor:
        """Images (N×C×H×H in [-1, 1]) of codes (N×latent_size)."""

    def forward(self, x: Tensor) -> Tensor:
        """Reconstructions of images, both N×C×H×H in [-1, 1]. Deterministic."""
        return self.decode(self.encode(x))

    def training_loss(
        self,
        x: Tensor,
        progress: float,
        generator: torch.Generator | None = None,
        *,
        given: Tensor | None = None,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """What training minimises, and the parts of it that are worth a curve of their own.

        Args:
            x: images, N×C×H×H in [-1, 1].
            progress: share of all steps already taken, in [0, 1].
            generator: source of noise, where the family needs any.
            given: what the network is to make ``x`` from; None: ``x`` itself.

        Returns:
            The criterion (by default the mean squared error on [-1, 1], four times that on [0, 1]),
            and no parts. A part is a mean over the images of the batch.
        """
        return self.criterion(self(x if given is None else given), x), {}

    def start_from(self, mean: Tensor, variance: float) -> None:
        """Set what the training images tell beforehand: the untrained output is near ``mean``.

        Args:
            mean: mean training image, C×H×H in [-1, 1].
            variance: mean squared distance of an element from ``mean``.
        """


def start_tanh(bias: Tensor, mean: Tensor) -> None:
    """Fill the ``bias`` before a Tanh so that an input of zeros comes out as ``mean``."""
    with torch.no_grad():
        bias.copy_(torch.atanh(mean.clamp(-SATURATION, SATURATION)).to(bias.device))


def to_input(images: np.ndarray | Tensor) -> Tensor:
    """Stored images (uint8, N×H×H×C) as a network's input (float32, N×C×H×H in [-1, 1]).

    The result keeps the order in memory in which images are stored, which is torch's channels-last
    format: what convolutions are fastest with, and no transposition for them.
    """
    stored = images if isinstance(images, Tensor) else torch.from_numpy(np.array(images))
    if stored.dtype != torch.uint8 or stored.ndim != 4 or stored.shape[3] not in (1, 3):
        raise ValueError(
            f"expected uint8 N×H×W×C with C of 1 or 3, found {stored.dtype} {tuple(stored.shape)}"
        )
    return stored.permute(0, 3, 1, 2).to(torch.float32).mul_(2 / 255).sub_(1)


def to_unit(x: Tensor) -> Tensor:
    """A network's input or output ([-1, 1]) on [0, 1], float32, clipped to it."""
    return x.float().add(1).div_(2).clamp_(0, 1)


def to_images(x: Tensor) -> np.ndarray:
    """A network's input or output (N×C×H×H) as stored images (uint8, N×H×H×C), rounded."""
    stored = to_unit(x.detach()).mul(255).round().to(torch.uint8)
    return stored.permute(0, 2, 3, 1).contiguous().cpu().numpy()


def at_most(count: int, shape: Shape) -> int:
    """``count`` images, or as many as take the memory of so many of 64×64×3; at least 1."""
    return max(1, min(count, count * USUAL // shape.elements))


def in_colour(images: np.ndarray) -> np.ndarray:
    """Pictures (…×H×W×C) with three channels: grey ones repeated, for what draws colours."""
    return np.repeat(images, 3, axis=-1) if images.shape[-1] == 1 else images
