"""Variational autoencoders (Kingma & Welling 2014): the ELBO with a learned decoder variance.

For an image x of D elements the training minimises, averaged over images and in nats,

    -log p(x|z)  =  |x - x̂(z)|² / 2σ²  +  D/2 · log 2πσ²        summed over the D elements
    KL(q(z|x) ‖ N(0, I))  =  ½ Σ (μ² + s² - 1 - log s²)           summed over the latent elements

with one draw z = μ + s·ε from q(z|x) = N(μ(x), diag s²(x)) an image. σ² is one number for all
elements, learned with the network (Rybkin, Daniilidis & Levine 2021): it settles at the mean
squared error, so that no weight between the two parts has to be guessed. β other than 1 weighs the
KL part (Higgins et al. 2017), and the sum is no bound on log p(x) then. Densities are on [-1, 1].
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from clarity.layout import Shape
from clarity.models import ae
from clarity.models.base import Autoencoder
from clarity.models.conv import start_colour

#: Log-variances stay within ±this, approached smoothly (nats): s from 0.007 to 150.
LOG_VARIANCE_BOUND = 10.0


class Variational(Autoencoder):
    """A variational autoencoder of any encoder and decoder.

    Args:
        encoder: inputs to 2·latent numbers, the means and then the raw log-variances.
        decoder: latent numbers to outputs, of the inputs' shape.
        latent: elements of the bottleneck.
        shape: of the images.
        beta: weight of the KL part in training.
        kl_warmup: share of all steps in which that weight grows linearly from 0 to ``beta``.
    """

    parts = ("recon_nats", "kl_nats")

    def __init__(
        self,
        encoder: nn.Module,
        decoder: nn.Module,
        latent: int,
        shape: Shape,
        *,
        beta: float = 1.0,
        kl_warmup: float = 0.0,
    ) -> None:
        super().__init__(shape)
        self.latent_size = latent
        self.encoder = encoder
        self.decoder = decoder
        #: log σ² in units of its bound: Adam moves any parameter by about the learning rate a step,
        #: and σ² has several nats to go.
        self.raw_log_variance = nn.Parameter(torch.zeros(()))
        self.beta = beta
        self.kl_warmup = kl_warmup

    def posterior(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log-variance (both N×latent) of q(z|x)."""
        mean, raw = self.encoder(x).chunk(2, dim=1)
        return mean, bounded(raw)

    def encode(self, x: Tensor) -> Tensor:
        """Codes: the means of q(z|x), N×latent."""
        return self.posterior(x)[0]

    def decode(self, z: Tensor) -> Tensor:
        """Means of p(x|z): images (N×C×H×H in [-1, 1]) of codes (N×latent)."""
        images: Tensor = self.decoder(z)
        return images

    @property
    def log_variance(self) -> Tensor:
        """log σ² of p(x|z), one number for all elements, on [-1, 1]."""
        return bounded(LOG_VARIANCE_BOUND * self.raw_log_variance)

    def elbo(
        self,
        x: Tensor,
        generator: torch.Generator | None = None,
        *,
        given: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Both parts of the negative ELBO for each image (each N), in nats, summed over elements.

        Args:
            x: images, N×C×H×H in [-1, 1].
            generator: source of the one draw from q(z|x); on the generator's device.
            given: what q is conditioned on instead of ``x``: with noise, as in Im et al. 2017.

        Returns:
            -log p(x|z) and KL(q(z|x) ‖ N(0, I)). Their sum is at least -log p(x) on average.
        """
        mean, log_variance = self.posterior(x if given is None else given)
        device = mean.device if generator is None else generator.device
        count, mine = self.share or (len(mean), slice(None))
        noise = torch.randn((count, *mean.shape[1:]), generator=generator, device=device)
        noise = noise[mine].to(mean.device)
        z = mean.float() + torch.exp(log_variance.float() / 2) * noise
        squared = (self.decode(z).float() - x.float()).square().flatten(1)
        dimensions = squared.shape[1]
        log_sigma2 = self.log_variance
        reconstruction = 0.5 * (
            squared.sum(1) / log_sigma2.exp() + dimensions * (log_sigma2 + math.log(2 * math.pi))
        )
        return reconstruction, divergence(mean.float(), log_variance.float())

    def kl_weight(self, progress: float) -> float:
        """β, or what the warm-up lets through of it at this share of all steps."""
        if progress >= self.kl_warmup:
            return self.beta
        return self.beta * progress / self.kl_warmup

    def training_loss(
        self,
        x: Tensor,
        progress: float,
        generator: torch.Generator | None = None,
        *,
        given: Tensor | None = None,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The negative ELBO per element, with β and warm-up; its parts, unweighted, in nats.

        Dividing by the number of elements changes no optimum; it keeps gradients, and with them
        the clipping norm of the recipe, of the size that the other families have.
        """
        reconstruction, kl = (part.mean() for part in self.elbo(x, generator, given=given))
        loss = (reconstruction + self.kl_weight(progress) * kl) / x[0].numel()
        return loss, {"recon_nats": reconstruction.detach(), "kl_nats": kl.detach()}

    def start_from(self, mean: Tensor, variance: float) -> None:
        """The last bias at the mean colour, and σ² at what the mean face leaves unexplained."""
        start_colour(self.decoder, mean)
        start = math.log(variance) / LOG_VARIANCE_BOUND
        with torch.no_grad():
            self.raw_log_variance.fill_(math.atanh(min(max(start, -0.9), 0.9)))


def bounded(raw: Tensor) -> Tensor:
    """``raw`` squeezed into ±`LOG_VARIANCE_BOUND`; about the identity near 0, smooth everywhere."""
    return LOG_VARIANCE_BOUND * torch.tanh(raw / LOG_VARIANCE_BOUND)


def divergence(mean: Tensor, log_variance: Tensor) -> Tensor:
    """KL divergence (N, nats) of N(mean, exp(log_variance)) from N(0, I), both N×latent."""
    return 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum(1)


def convolutional_vae(
    widths: Sequence[int],
    latent: int,
    shape: Shape,
    *,
    beta: float = 1.0,
    kl_warmup: float = 0.0,
) -> Variational:
    """The VAE whose encoder and decoder are `ae`'s; only the last linear layer is twice as wide."""
    encoder, decoder = ae.encoder(widths, 2 * latent, shape), ae.decoder(widths, latent, shape)
    return Variational(encoder, decoder, latent, shape, beta=beta, kl_warmup=kl_warmup)


def linear_vae(dimensions: int, latent: int) -> Variational:
    """A VAE without hidden layers on vectors (N×dimensions).

    At its optimum the ELBO equals the log-likelihood of probabilistic PCA (Lucas et al. 2019),
    which has a closed form: the check that the training code above is right.
    """
    encoder, decoder = nn.Linear(dimensions, 2 * latent), nn.Linear(latent, dimensions)
    return Variational(encoder, decoder, latent, Shape(0, 0))
