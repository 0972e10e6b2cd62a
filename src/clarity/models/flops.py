"""Floating-point operations of a network: what a budget of compute is counted in."""

from __future__ import annotations

import torch

from clarity.models.base import Autoencoder
from clarity.models.lean import flop_counter
from clarity.models.optimizer import by_muon, operations
from clarity.params import Train

#: A training step costs about three forward passes: one forward, two backward (Kaplan et al. 2020).
TRAINING = 3


def flops(model: Autoencoder) -> int:
    """Floating-point operations of one image's reconstruction (a multiply-add counts two).

    Products of matrices and convolutions, as torch counts them; activations are left out.
    """
    device = next(iter(model.state_dict().values())).device
    image = torch.zeros(1, *model.shape.planes, device=device)
    with torch.no_grad(), flop_counter() as counter:
        model(image)
    return int(counter.get_total_flops())


def gflop_per_image(model: Autoencoder, recipe: Train) -> float:
    """GFLOP that one image costs in a training step, its share of the optimiser's products too.

    AdamW has none; its few operations a weight are left out, as activations are.
    """
    return TRAINING * flops(model) / 1e9 + gflop_per_step(model, recipe) / recipe.batch_size


def gflop_per_step(model: Autoencoder, recipe: Train) -> float:
    """GFLOP of the optimiser's products of matrices in one step."""
    return sum(operations(p) for p in model.parameters() if by_muon(p, recipe)) / 1e9
