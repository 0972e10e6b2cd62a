"""One score of a batch, without the measures that only evaluation asks for.

`Scorer.inspect` computes every metric and score: SSIM and the spectrum cost more than a small
network's forward pass, and so do its copies on [0, 1]. Here the same numbers (but for last bits:
differences are squared on the network's scale and divided by four), and only those that the chosen
score is made of.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from clarity.evaluate.scorer import TINY
from clarity.models.base import to_input, to_unit

if TYPE_CHECKING:
    from torch import Tensor

    from clarity.evaluate.scorer import Scorer
    from clarity.models.base import Autoencoder

#: Scores of the error map or the latent alone. The others take `Scorer.inspect`.
QUICK = ("mse", "normalised", "peak", "latent", "combined")


def one_score(
    model: Autoencoder, scorer: Scorer, batch: Tensor, name: str, *, reconstruct: bool
) -> tuple[Tensor, Tensor | None]:
    """The score ``name`` and, where asked for, the reconstructions of a batch.

    Args:
        model: in eval mode, on the batch's device.
        scorer: fitted to the model.
        batch: uint8, N×H×H×C.
        name: one of the scorer's.
        reconstruct: whether reconstructions are wanted.

    Returns:
        N scores, float64; reconstructions N×C×H×H on [0, 1] or None.
    """
    if name not in QUICK:
        seen = scorer.inspect(model, batch)
        return seen.scores[name], seen.reconstruction if reconstruct else None
    x = to_input(batch)
    latent = model.encode(x)
    made = model.decode(latent)
    pictures = to_unit(made) if reconstruct else None
    # In place, and in whichever order of memory the network works in: no transposed copies.
    errors = made.float().clamp_(-1, 1).sub_(x).square_().mean(1).div_(4)
    return _score(scorer, errors, latent.flatten(1).float(), name), pictures


def _score(scorer: Scorer, errors: Tensor, latent: Tensor, name: str) -> Tensor:
    if name == "mse":
        return errors.double().mean((1, 2))
    if name == "normalised":
        return scorer.normalised(errors)
    if name == "peak":
        return scorer.peak(errors)
    if name == "latent":
        return scorer.mahalanobis(latent)
    first, second = (
        (_score(scorer, errors, latent, part).clamp_min(TINY).log() - scorer.centre[part])
        / scorer.spread[part]
        for part in ("normalised", "latent")
    )
    return first + second
