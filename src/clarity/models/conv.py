"""The convolutional autoencoder of the report, mended; and the halves that `ae` and `vae` share."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from clarity.layout import Shape
from clarity.models.base import Autoencoder, start_tanh


class Convolutional(Autoencoder):
    """Convolutions that halve the image and transposed ones that double it again.

    The bottleneck is the last feature map, after its ReLU as the report prints it: with four
    widths and 64 pixels, ``widths[-1]``×4×4 elements. It grows with the width.

    Args:
        widths: channels after each halving, from the image inwards.
        shape: of the images.
    """

    replayable = True

    def __init__(self, widths: Sequence[int], shape: Shape) -> None:
        super().__init__(shape)
        self.map = map_shape(widths, shape)
        self.latent_size = self.map.numel()
        self.encoder = halvings(widths, shape)
        self.decoder = doublings(widths, shape)

    def encode(self, x: Tensor) -> Tensor:
        """Codes (N×latent, at least 0) of images (N×C×H×H in [-1, 1])."""
        features: Tensor = self.encoder(x)
        return features.flatten(1)

    def decode(self, z: Tensor) -> Tensor:
        """Images (N×C×H×H in [-1, 1]) of codes (N×latent)."""
        images: Tensor = self.decoder(z.reshape(-1, *self.map))
        return images

    def start_from(self, mean: Tensor, variance: float) -> None:
        """The last bias at the mean colour: a convolution has one bias for a whole channel."""
        start_colour(self.decoder, mean)


def map_shape(widths: Sequence[int], shape: Shape) -> torch.Size:
    """Channels, height and width of the last feature map."""
    side = shape.size >> len(widths)
    return torch.Size((widths[-1], side, side))


def halvings(widths: Sequence[int], shape: Shape) -> nn.Sequential:
    """C×H×H to the last feature map: 4×4 convolutions, stride 2, padding 1, a ReLU after each."""
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise((shape.channels, *widths)):
        layers += [nn.Conv2d(inputs, outputs, 4, stride=2, padding=1), nn.ReLU()]
    return nn.Sequential(*layers)


def doublings(widths: Sequence[int], shape: Shape) -> nn.Sequential:
    """The mirror image of `halvings`: ReLU between, Tanh at the end.

    The report prints its first layer as ``Conv2d``, with which a 64-pixel image comes out at 16.
    """
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise((*reversed(widths), shape.channels)):
        layers += [nn.ConvTranspose2d(inputs, outputs, 4, stride=2, padding=1), nn.ReLU()]
    return nn.Sequential(*layers[:-1], nn.Tanh())


def start_colour(decoder: nn.Module, mean: Tensor) -> None:
    """Set the last convolution's bias in ``decoder`` to the mean colour of ``mean``."""
    last = [layer for layer in decoder.modules() if isinstance(layer, nn.ConvTranspose2d)][-1]
    assert last.bias is not None
    start_tanh(last.bias, mean.mean(dim=(1, 2)))
