"""What one score of a batch takes, without the measures that only evaluation asks for.

`Scorer.inspect` computes every metric and score: SSIM and the spectrum cost more than a small
network's forward pass, and so do contiguous copies. Here are the same numbers, but only those that
the chosen score is made of.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from clarity.choice import FUSED
from clarity.evaluate import parts
from clarity.evaluate.forward import elbo_parts, encoded
from clarity.evaluate.reconstruction import squared_error, ssim
from clarity.evaluate.spectrum import (
    Spectra,
    log_spectral_distance,
    luma,
    spectral_difference,
    transform,
)
from clarity.models.base import to_input, to_unit

if TYPE_CHECKING:
    from torch import Tensor

    from clarity.evaluate.scorer import Scorer
    from clarity.models.base import Autoencoder


def scores_of(
    model: Autoencoder, scorer: Scorer, batch: Tensor, name: str, *, reconstruct: bool
) -> tuple[dict[str, Tensor], Tensor | None]:
    """The score ``name``, the scores it is made of, and where asked for the reconstructions.

    Args:
        model: in eval mode, on the batch's device.
        scorer: fitted to the model.
        batch: uint8, N×H×H×C.
        name: one of the scorer's.
        reconstruct: whether reconstructions are wanted.

    Returns:
        N scores each, float64; reconstructions N×C×H×H on [0, 1] or None.
    """
    needed = scorer.fused.needs() if name == FUSED and scorer.fused else (name,)
    passed = _Passed(model, scorer, batch)
    return (
        scorer.judged({one: passed.signal(one) for one in needed}),
        passed.pictures[0] if reconstruct else None,
    )


@dataclass
class _Passed:
    """One forward pass, and what is asked of it."""

    model: Autoencoder
    scorer: Scorer
    batch: Tensor

    @cached_property
    def _encoded(self) -> tuple[Tensor, Tensor, Tensor | None]:
        x = to_input(self.batch)
        return x, *encoded(self.model, x)

    @cached_property
    def _units(self) -> tuple[Tensor, Tensor]:
        """Reconstruction and original on [0, 1], in whichever order of memory the network works
        in."""
        x, latent, _ = self._encoded
        return to_unit(self.model.decode(latent)), to_unit(x)

    @cached_property
    def pictures(self) -> tuple[Tensor, Tensor]:
        """The same, contiguous."""
        made, own = self._units
        return made.contiguous(), own.contiguous()

    @cached_property
    def _errors(self) -> Tensor:
        return squared_error(*self._units)

    @cached_property
    def _greys(self) -> tuple[Tensor, Tensor]:
        made, own = self._units
        return luma(made), luma(own)

    @cached_property
    def _patches(self) -> dict[str, Tensor]:
        return parts.patches(self._errors, self._greys[1])

    @cached_property
    def _spectra(self) -> Spectra:
        made, own = self._greys
        return Spectra(transform(made), transform(own))

    @cached_property
    def _bands(self) -> dict[str, Tensor]:
        return parts.bands(self._spectra)

    def _nats(self) -> Tensor:
        x, mean, log_variance = self._encoded
        if log_variance is None:
            raise ValueError("an ELBO of a network that is no VAE")
        reconstruction, divergence = elbo_parts(self.model, x, mean, log_variance)
        return reconstruction + divergence

    def signal(self, name: str) -> Tensor:
        """N values, float64."""
        if name == "mse":
            return self._errors.double().mean((1, 2))
        if name == "ssim":
            return 1 - ssim(*self.pictures)
        if name == "lsd":
            return log_spectral_distance(spectral_difference(self._spectra))
        if name == "normalised":
            return self.scorer.normalised(self._errors)
        if name == "peak":
            return self.scorer.peak(self._errors)
        if name in parts.PATCH_NAMES:
            return self._patches[name]
        if name in (*parts.BAND_NAMES, *parts.SHARE_NAMES):
            return self._bands[name]
        if name == "local":
            assert self.scorer.local is not None
            made, own = self._greys
            return self.scorer.local(made - own)
        if name == "elbo":
            return self._nats()
        if name == "latent":
            return self.scorer.mahalanobis(self._encoded[1].flatten(1).float())
        return self.scorer.combined(self.signal("normalised"), self.signal("latent"))
