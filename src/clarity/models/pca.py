"""Principal component analysis as an autoencoder: the best linear one (Baldi & Hornik 1989)."""

from __future__ import annotations

import torch
from torch import Tensor

from clarity.layout import CHANNELS, IMAGE_SIZE
from clarity.models.base import PIXELS, Autoencoder


class PrincipalComponents(Autoencoder):
    """Projection on the ``latent`` directions of largest variance about the mean face.

    Nothing is trained by gradient; `clarity.train` fits the two buffers. Outputs may leave
    [-1, 1]; they are clipped where they become images.

    Args:
        latent: number of components.
    """

    mean: Tensor
    components: Tensor

    def __init__(self, latent: int) -> None:
        super().__init__()
        self.latent_size = latent
        self.register_buffer("mean", torch.zeros(PIXELS))
        self.register_buffer("components", torch.zeros(latent, PIXELS))

    def encode(self, x: Tensor) -> Tensor:
        """Codes (N×latent) of images (N×3×64×64 in [-1, 1])."""
        return (x.flatten(1) - self.mean) @ self.components.T

    def decode(self, z: Tensor) -> Tensor:
        """Images (N×3×64×64, about [-1, 1]) of codes (N×latent)."""
        pixels = z @ self.components + self.mean
        return pixels.reshape(-1, CHANNELS, IMAGE_SIZE, IMAGE_SIZE)

    def start_from(self, mean: Tensor, variance: float) -> None:
        """Before the fit, every image's reconstruction is the mean face."""
        self.mean.copy_(mean.flatten())
