"""Fully connected autoencoders: the report's three models, and any other list of widths."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from clarity.layout import Shape
from clarity.models.base import Autoencoder, start_tanh

#: What the last layer's initial weights are multiplied by.
START = 0.1


class FullyConnected(Autoencoder):
    """Linear layers with ReLU between them, nothing on the bottleneck, Tanh at the end.

    Args:
        widths: units of the encoder's hidden layers, from the image inwards.
        latent: elements of the bottleneck.
        shape: of the images.
        decoder_widths: units of the decoder's hidden layers, from the bottleneck outwards; the
            encoder's in reverse if not given.
    """

    replayable = True

    def __init__(
        self,
        widths: Sequence[int],
        latent: int,
        shape: Shape,
        decoder_widths: Sequence[int] | None = None,
    ) -> None:
        super().__init__(shape)
        outwards = tuple(reversed(widths)) if decoder_widths is None else tuple(decoder_widths)
        self.latent_size = latent
        self.encoder = stack(shape.elements, *widths, latent)
        self.decoder = stack(latent, *outwards, shape.elements).append(nn.Tanh())

    def encode(self, x: Tensor) -> Tensor:
        """Codes (N×latent) of images (N×C×H×H in [-1, 1])."""
        codes: Tensor = self.encoder(x.flatten(1))
        return codes

    def decode(self, z: Tensor) -> Tensor:
        """Images (N×C×H×H in [-1, 1]) of codes (N×latent)."""
        pixels: Tensor = self.decoder(z)
        return pixels.reshape(-1, *self.shape.planes)

    def start_from(self, mean: Tensor, variance: float) -> None:
        """Start at what all faces share: every pixel's bias at the mean face, its weights small.

        With weights of full size the first steps go into taking the initial noise back, and the
        bottleneck of three ends a fifth worse (docs/training.md).
        """
        last = self.decoder[-2]
        assert isinstance(last, nn.Linear)
        start_tanh(last.bias, mean.flatten())
        with torch.no_grad():
            last.weight.mul_(START)


def stack(*sizes: int) -> nn.Sequential:
    """Linear layers of the given sizes with ReLU between them.

    Kaiming's normal initialisation before a ReLU (He et al. 2015), which keeps the variance through
    a dozen layers where torch's default loses most of it; variance one over the inputs for the last
    layer; biases zero.
    """
    layers: list[nn.Module] = []
    pairs = list(pairwise(sizes))
    for number, (inputs, outputs) in enumerate(pairs):
        layer = nn.Linear(inputs, outputs)
        last = number == len(pairs) - 1
        if not layer.weight.is_meta:  # torch imports its compiler to draw numbers on "meta"
            nn.init.kaiming_normal_(layer.weight, nonlinearity="linear" if last else "relu")
            nn.init.zeros_(layer.bias)
        layers += [layer] if last else [layer, nn.ReLU()]
    return nn.Sequential(*layers)
