"""One score of a batch, without the measures that only evaluation asks for.

`Scorer.inspect` computes every metric and score: SSIM and the spectrum cost more than a small
network's forward pass. Here the same numbers, but only those that the chosen score is made of.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from clarity.evaluate.reconstruction import squared_error
from clarity.evaluate.scorer import TINY

if TYPE_CHECKING:
    from torch import Tensor

    from clarity.evaluate.forward import Passed
    from clarity.evaluate.scorer import Scorer


def one_score(scorer: Scorer, passed: Passed, name: str) -> Tensor | None:
    """The score ``name`` (N, float64) of a forward pass; None where it takes everything anyway."""
    if name == "mse":
        difference = (passed.reconstruction - passed.original).double()
        return difference.square().mean((1, 2, 3))
    if name == "normalised":
        return scorer.normalised(squared_error(passed.reconstruction, passed.original))
    if name == "latent":
        return scorer.mahalanobis(passed.latent)
    if name == "elbo" and passed.recon_nats is not None and passed.kl_nats is not None:
        return passed.recon_nats + passed.kl_nats
    if name == "combined":
        parts = [
            (value.clamp_min(TINY).log() - scorer.centre[part]) / scorer.spread[part]
            for part in ("normalised", "latent")
            if (value := one_score(scorer, passed, part)) is not None
        ]
        return parts[0] + parts[1]
    return None
