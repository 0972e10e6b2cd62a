"""The ELBO against independent computations: torch's distributions, and probabilistic PCA."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from data_helpers import SHAPE
from sklearn.decomposition import PCA
from torch.distributions import Independent, Normal, kl_divergence

from clarity.models.base import to_input
from clarity.models.build import build
from clarity.models.vae import LOG_VARIANCE_BOUND, Variational, linear_vae
from clarity.params import Model


def tiny(beta: float = 1.0, kl_warmup: float = 0.0) -> Variational:
    torch.manual_seed(0)
    spec = Model(family="vae", widths=(4, 8), latent=6)
    network = build(spec, "tiny", SHAPE, beta=beta, kl_warmup=kl_warmup)
    assert isinstance(network, Variational)
    return network


def faces(count: int = 5) -> torch.Tensor:
    generator = np.random.default_rng(0)
    return to_input(generator.integers(0, 256, (count, 64, 64, 3), dtype=np.uint8))


def test_both_parts_are_sums_in_nats_over_the_dimensions_of_each_image() -> None:
    network, x = tiny(), faces()
    network.start_from(x.mean(0), 0.3)
    with torch.no_grad():
        reconstruction, kl = network.elbo(x, torch.Generator().manual_seed(1))
        mean, log_variance = network.posterior(x)
        noise = torch.randn(mean.shape, generator=torch.Generator().manual_seed(1))
        z = mean + (log_variance / 2).exp() * noise
        likelihood = Independent(Normal(network.decode(z), math.sqrt(0.3)), 3)
        posterior = Independent(Normal(mean, (log_variance / 2).exp()), 1)
        prior = Independent(Normal(torch.zeros_like(mean), torch.ones_like(mean)), 1)
    torch.testing.assert_close(reconstruction, -likelihood.log_prob(x), rtol=1e-4, atol=0.1)
    torch.testing.assert_close(kl, kl_divergence(posterior, prior), rtol=1e-4, atol=1e-4)


def test_beta_and_its_warm_up_weigh_the_kl_part_alone() -> None:
    network, x = tiny(beta=4.0, kl_warmup=0.5), faces()
    losses = {}
    for progress in (0.0, 0.25, 0.5, 1.0):
        loss, parts = network.training_loss(x, progress, torch.Generator().manual_seed(1))
        losses[progress] = loss.item() * x[0].numel()
        expected = parts["recon_nats"] + network.kl_weight(progress) * parts["kl_nats"]
        assert losses[progress] == pytest.approx(expected.item(), rel=1e-5)
    assert [network.kl_weight(p) for p in (0.0, 0.25, 0.5, 1.0)] == [0, 2, 4, 4]


def test_log_variances_are_bounded_smoothly() -> None:
    network = tiny()
    with torch.no_grad():
        for parameter in network.encoder.parameters():
            parameter.mul_(1e4)
    x = faces().requires_grad_()
    _, log_variance = network.posterior(x)
    assert log_variance.abs().max() <= LOG_VARIANCE_BOUND
    reconstruction, kl = network.elbo(x)
    assert torch.isfinite(reconstruction).all()
    assert torch.isfinite(kl).all()


def test_codes_and_reconstructions_are_without_noise() -> None:
    network, x = tiny(), faces()
    assert torch.equal(network.encode(x), network.posterior(x)[0])
    assert torch.equal(network(x), network(x))


def test_a_trained_linear_vae_reaches_the_likelihood_of_probabilistic_pca() -> None:
    """Within 0.01 nats a dimension (Tipping & Bishop 1999; Lucas et al. 2019), β = 1."""
    dimensions, latent, count = 6, 2, 500
    generator = torch.Generator().manual_seed(0)
    loadings = torch.randn(latent, dimensions, generator=generator)
    x = torch.randn(count, latent, generator=generator) @ loadings
    x = x + 0.4 * torch.randn(count, dimensions, generator=generator) + 0.5
    closed_form = PCA(latent).fit(x.double().numpy()).score(x.double().numpy())

    torch.manual_seed(0)
    network = linear_vae(dimensions, latent)
    optimizer = torch.optim.Adam(network.parameters(), lr=0.05)
    steps = 500
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = 0.05 * 0.5 * (1 + math.cos(math.pi * step / steps))
        optimizer.zero_grad()
        loss, _ = network.training_loss(x, step / steps, generator)
        torch.autograd.backward(loss)
        optimizer.step()
    with torch.no_grad():
        drawn = [sum(part.mean() for part in network.elbo(x, generator)) for _ in range(200)]
    elbo = -float(sum(drawn)) / len(drawn)
    assert abs(elbo - closed_form) / dimensions < 0.01
    assert elbo < closed_form + 0.01
