"""One forward pass: what every measure starts from."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from clarity.models.base import Autoencoder, to_input, to_unit
from clarity.models.vae import Variational, divergence

#: Seed of the one draw from q(z|x) that the ELBO takes; see `elbo_parts`.
DRAW = 0


class Passed(NamedTuple):
    """A batch and what the network makes of it."""

    #: N×C×H×H on [0, 1], both.
    original: Tensor
    reconstruction: Tensor
    #: N×D; of a VAE the means.
    latent: Tensor
    #: N each, in nats; None where the family has no likelihood.
    recon_nats: Tensor | None
    kl_nats: Tensor | None


@torch.inference_mode()
def through(model: Autoencoder, batch: Tensor) -> Passed:
    """Send uint8 images (N×H×H×C, on the model's device) through the network."""
    x = to_input(batch)
    latent, log_variance = encoded(model, x)
    recon_nats = kl_nats = None
    if log_variance is not None:
        recon_nats, kl_nats = elbo_parts(model, x, latent, log_variance)
    return Passed(
        original=to_unit(x).contiguous(),
        reconstruction=to_unit(model.decode(latent)).contiguous(),
        latent=latent.flatten(1).float(),
        recon_nats=recon_nats,
        kl_nats=kl_nats,
    )


def encoded(model: Autoencoder, x: Tensor) -> tuple[Tensor, Tensor | None]:
    """The latent of a network's input; and of a VAE, whose latent are the means, the logarithms of
    the variances."""
    return model.posterior(x) if isinstance(model, Variational) else (model.encode(x), None)


def elbo_parts(
    model: Autoencoder, x: Tensor, mean: Tensor, log_variance: Tensor
) -> tuple[Tensor, Tensor]:
    """-log p(x|z) and KL(q(z|x) ‖ p(z)) of each image, N each, float64, in nats.

    The draw z = μ + s·ε takes the same ε for every image, so that an image's value does not depend
    on the batch it came in; over images it is still one draw from q(z|x) each.
    """
    assert isinstance(model, Variational)
    noise = torch.randn(mean.shape[1], generator=torch.Generator().manual_seed(DRAW))
    z = mean + torch.exp(log_variance / 2) * noise.to(mean.device)
    squared = (model.decode(z) - x).double().square().flatten(1)
    log_sigma2 = float(model.log_variance)
    nats = 0.5 * (
        squared.sum(1) / math.exp(log_sigma2)
        + squared.shape[1] * (log_sigma2 + math.log(2 * math.pi))
    )
    return nats, divergence(mean.double(), log_variance.double())


@torch.inference_mode()
def encode(model: Autoencoder, batch: Tensor) -> Tensor:
    """Latents (N×D, float32) of uint8 images (N×H×H×C, on the model's device)."""
    return model.encode(to_input(batch)).flatten(1).float()


@torch.inference_mode()
def decode(model: Autoencoder, latent: Tensor) -> Tensor:
    """Images (N×C×H×H on [0, 1]) of latents (N×D, on the model's device)."""
    return to_unit(model.decode(latent)).contiguous()
