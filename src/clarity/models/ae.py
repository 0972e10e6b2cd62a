"""A plain convolutional autoencoder with a small bottleneck: the VAE's twin without its noise."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from clarity.layout import Shape
from clarity.models.base import Autoencoder
from clarity.models.conv import doublings, halvings, map_shape, start_colour


class PlainAutoencoder(Autoencoder):
    """`Convolutional` with a linear bottleneck of one size for every width.

    Args:
        widths: channels after each halving, from the image inwards.
        latent: elements of the bottleneck.
        shape: of the images.
    """

    replayable = True

    def __init__(self, widths: Sequence[int], latent: int, shape: Shape) -> None:
        super().__init__(shape)
        self.latent_size = latent
        self.encoder = encoder(widths, latent, shape)
        self.decoder = decoder(widths, latent, shape)

    def encode(self, x: Tensor) -> Tensor:
        """Codes (N×latent) of images (N×C×H×H in [-1, 1])."""
        codes: Tensor = self.encoder(x)
        return codes

    def decode(self, z: Tensor) -> Tensor:
        """Images (N×C×H×H in [-1, 1]) of codes (N×latent)."""
        images: Tensor = self.decoder(z)
        return images

    def start_from(self, mean: Tensor, variance: float) -> None:
        """The last bias at the mean colour."""
        start_colour(self.decoder, mean)


def encoder(widths: Sequence[int], outputs: int, shape: Shape) -> nn.Sequential:
    """Images to ``outputs`` numbers: the halving convolutions, then one linear layer."""
    features = map_shape(widths, shape).numel()
    return nn.Sequential(*halvings(widths, shape), nn.Flatten(), nn.Linear(features, outputs))


def decoder(widths: Sequence[int], inputs: int, shape: Shape) -> nn.Sequential:
    """``inputs`` numbers to images: the mirror image of `encoder`."""
    features = map_shape(widths, shape)
    return nn.Sequential(
        nn.Linear(inputs, features.numel()),
        nn.ReLU(),
        nn.Unflatten(1, features),
        *doublings(widths, shape),
    )
