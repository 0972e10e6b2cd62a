"""What a recipe's ``optimizer`` comes to: AdamW, or Muon for those weights that are matrices.

Muon (Jordan et al. 2024) steps along the orthogonal factor of a weight's momentum, so that it moves
all directions of a layer alike and not only the few that its gradients are full of. Scaled to the
length of AdamW's steps (Liu et al. 2025), it takes AdamW's learning rate and weight decay.

torch has a Muon; it takes no convolutions, computes in bfloat16, whose digits differ from one
processor to the next, and waits for a GPU at every step.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from clarity.models.lean import adamw, rated
from clarity.params import Train

#: Inputs of a linear layer beyond which AdamW's learning rate for it is lowered in proportion.
WIDE = 1024
#: Share of the momentum that a step keeps, and of it in the step itself (Nesterov's).
MOMENTUM = 0.95
#: Iterations, and their polynomial's coefficients: singular values from 0.0015 up come to 0.68 to
#: 1.2 (Jordan et al. 2024).
ITERATIONS, A, B, C = 5, 3.4445, -4.7750, 2.0315
#: Root mean square of the elements of one of AdamW's steps, at a rate of 1 (Liu et al. 2025).
ADAMW_STEP = 0.2


class Muon(torch.optim.Optimizer):
    """Momentum, orthogonalised: for weights of two dimensions or more.

    A convolution's weight counts as the matrix of its first dimension by all the others: from a
    patch to the outputs, or, where it is transposed, from the inputs to a patch.

    Args:
        groups: parameters with ``weight_decay``; the rate is set before every step (`set_rate`).
    """

    def __init__(self, groups: list[dict[str, Any]]) -> None:
        super().__init__(rated(groups), {"lr": 0.0, "weight_decay": 0.0})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Take one; whoever has a closure to evaluate evaluates it before."""
        for group in self.param_groups:
            rate, decay = group["lr"], 1 - group["lr"] * group["weight_decay"]
            for weight in group["params"]:
                if weight.grad is None:
                    continue
                state = self.state[weight]
                if not state:
                    state["momentum"] = torch.zeros_like(weight)
                momentum = state["momentum"].lerp_(weight.grad, 1 - MOMENTUM)
                matrix = weight.grad.lerp(momentum, MOMENTUM).flatten(1)
                step = orthogonal(matrix) * (rate * ADAMW_STEP * math.sqrt(max(matrix.shape)))
                weight.mul_(decay).sub_(step.view(weight.shape))


def orthogonal(matrix: Tensor) -> Tensor:
    """About U·Vᵀ of ``matrix`` = U·Σ·Vᵀ, m×n: its singular values come near 1.

    Newton and Schulz's iteration, X ← (A + B·X·Xᵀ + C·(X·Xᵀ)²)·X. All these factors are polynomials
    of the first X·Xᵀ, so they are gathered at its size, the shorter side's, and meet X but once.
    """
    x = matrix.T if matrix.shape[0] > matrix.shape[1] else matrix
    x = x / x.norm().clamp(min=1e-7)
    gram = x @ x.T
    whole: Tensor | None = None
    for iteration in range(ITERATIONS):
        factor = torch.addmm(gram, gram, gram, beta=B, alpha=C)
        factor.diagonal().add_(A)
        whole = factor if whole is None else factor @ whole
        if iteration < ITERATIONS - 1:
            gram = factor @ gram @ factor
    assert whole is not None
    x = torch.mm(whole, x)
    return x.T if matrix.shape[0] > matrix.shape[1] else x


def operations(weight: Tensor) -> int:
    """Floating-point operations of `orthogonal`'s products for one weight."""
    short, long = sorted((weight.shape[0], weight[0].numel()))
    return 4 * short**2 * long + 2 * short**3 * (4 * ITERATIONS - 3)


def optimizers(network: nn.Module, recipe: Train) -> list[torch.optim.Optimizer]:
    """What steps the parameters of a network on its device; of each the groups carry ``scale``.

    Biases and single numbers do not decay, and AdamW steps them whatever the recipe says. AdamW
    moves every weight by about the learning rate, so a unit's sum moves with the number of its
    inputs: the 12,288 pixels of a first linear layer would throw it about at a rate that suits the
    others. ``scale`` holds each layer's step to that of `WIDE` inputs (Yang et al. 2021).
    """
    groups: dict[tuple[float, bool], list[nn.Parameter]] = {}
    matrices: list[nn.Parameter] = []
    for parameter in network.parameters():
        if by_muon(parameter, recipe):
            matrices.append(parameter)
            continue
        inputs = parameter.shape[1] if parameter.ndim == 2 else 1
        key = (min(1.0, WIDE / inputs), parameter.ndim > 1)
        groups.setdefault(key, []).append(parameter)
    found: list[torch.optim.Optimizer] = []
    if groups:
        found.append(
            adamw(
                [
                    {"params": of, "weight_decay": recipe.weight_decay * decays, "scale": scale}
                    for (scale, decays), of in groups.items()
                ]
            )
        )
    if matrices:
        decay = recipe.weight_decay
        found.append(Muon([{"params": matrices, "weight_decay": decay, "scale": 1.0}]))
    return found


def by_muon(parameter: Tensor, recipe: Train) -> bool:
    """Whether Muon steps a parameter, and not AdamW."""
    return recipe.optimizer == "muon" and parameter.ndim > 1
