"""Principal component analysis as an autoencoder: the best linear one (Baldi & Hornik 1989)."""

from __future__ import annotations

import torch
from torch import Tensor

from clarity.layout import Shape
from clarity.models.base import Autoencoder


class PrincipalComponents(Autoencoder):
    """Projection on the ``latent`` directions of largest variance about the mean face.

    Nothing is trained by gradient; `clarity.train` fits the two buffers. Outputs may leave
    [-1, 1]; they are clipped where they become images.

    Args:
        latent: number of components.
        shape: of the images.
    """

    mean: Tensor
    components: Tensor

    def __init__(self, latent: int, shape: Shape) -> None:
        super().__init__(shape)
        self.latent_size = latent
        self.register_buffer("mean", torch.zeros(shape.elements))
        self.register_buffer("components", torch.zeros(latent, shape.elements))

    def encode(self, x: Tensor) -> Tensor:
        """Codes (N×latent) of images (N×C×H×H in [-1, 1])."""
        return (x.flatten(1) - self.mean) @ self.components.T

    def decode(self, z: Tensor) -> Tensor:
        """Images (N×C×H×H, about [-1, 1]) of codes (N×latent)."""
        pixels = z @ self.components + self.mean
        return pixels.reshape(-1, *self.shape.planes)

    def start_from(self, mean: Tensor, variance: float) -> None:
        """Before the fit, every image's reconstruction is the mean face."""
        self.mean.copy_(mean.flatten())
