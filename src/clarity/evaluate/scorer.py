"""Anomaly scores of one trained model, fitted once at evaluation and reused where it is served.

Signals, higher is more anomalous (docs/metrics/anomaly-scores.md has equations and sources), of
which each is a score once it is judged on both sides (`clarity.evaluate.sides`):

``mse``         reconstruction error
``ssim``        1 - SSIM
``lsd``         log-spectral distance, dB
``normalised``  squared error over the error's usual size at that pixel, mean over pixels
``peak``        the largest such ratio after smoothing: what is wrong in one place only
``latent``      Mahalanobis distance of the latent from the training latents
``patch_4`` …   the largest error of a patch against the patch's own variance, by its side
``band_1`` …    power of the error by band of frequencies, from so many cycles an image on
``share_2`` …   that, as a share of the picture's own power there
``local``       the largest Mahalanobis distance of a patch of the error from training errors there
``combined``    ``normalised`` and ``latent`` in one, as in Denouden et al. 2018
``elbo``        negative ELBO in nats (VAE only)

and ``fused``, all of them weighed in one (`clarity.evaluate.fused`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from clarity.choice import FUSED
from clarity.errors import ClarityError, in_a_line
from clarity.evaluate import parts
from clarity.evaluate.calibration import Calibration
from clarity.evaluate.forward import through
from clarity.evaluate.fused import Fused
from clarity.evaluate.local import Local
from clarity.evaluate.reconstruction import gaussian, image_metrics, squared_error
from clarity.evaluate.sides import TINY, two_sided
from clarity.evaluate.spectrum import Spectra, luma, transform
from clarity.files import atomic_path

if TYPE_CHECKING:
    from clarity.models.base import Autoencoder

FORMAT = 5
#: Formats that can be read; in the first every score has one side, in the second training normals
#: have no part in the fused one, in the third what was fitted without a kind is not kept, in the
#: fourth there is no ``local``.
READABLE = (1, 2, 3, 4, 5)
#: Principal components of the latent in which the covariance is estimated in full.
COMPONENTS = 128
#: Smoothing (σ, in pixels) of the map of usual errors: few validation faces make it noisy.
SMOOTHING = 2.0
#: Smoothing (σ and reach, in pixels) before ``peak`` looks for the largest ratio.
PEAK_SIGMA, PEAK_REACH = 2.0, 8
#: Floor of the map, as a share of its mean: a pixel that is never wrong must not decide alone.
ERROR_FLOOR = 0.05


@dataclass(frozen=True)
class Inspection:
    """What one forward pass says of a batch.

    Attributes:
        original, reconstruction: N×C×H×H on [0, 1].
        error_map: N×H×H, squared error averaged over channels, on [0, 1].
        latent: N×D.
        metrics: `reconstruction.image_metrics`, N values each, float64.
        signals: N values each, float64, higher is more anomalous; keys without ``signal_``.
        scores: the same as they are judged, on both sides; keys without ``score_``.
    """

    original: Tensor
    reconstruction: Tensor
    error_map: Tensor
    latent: Tensor
    metrics: dict[str, Tensor]
    signals: dict[str, Tensor]
    scores: dict[str, Tensor]
    recon_nats: Tensor | None
    kl_nats: Tensor | None


@dataclass(frozen=True)
class Scorer:
    """Everything the scores need beside the network. Lives on the CPU; follows a batch's device.

    Attributes:
        usual_error: H×H, mean squared error of validation normals by pixel, smoothed, floored.
        latent_mean: D.
        latent_basis: K×D, orthonormal rows: principal components of the training latents.
        latent_precision: K×K, inverse of the shrunk covariance in that basis.
        latent_residual: variance by element outside the basis; 0 where the basis is complete.
        centre, spread: mean and standard deviation over validation normals of the logarithms of
            ``normalised`` and ``latent``, which put both on one scale in ``combined``.
        thresholds: by score; an image is anomalous when its score is above.
        best: the score to use (`clarity.choice`); None until that is known.
        turns: by signal, below which value it is turned upwards; empty until validation normals
            are measured: then every score is its signal.
        fused: all signals weighed in one score, ``fused``; None where ``val`` cannot settle it.
        calibration: of ``best``, for p-values; None until that is known.
        local: the error by its place; None in scorers from before there was such a signal.
    """

    usual_error: Tensor
    latent_mean: Tensor
    latent_basis: Tensor
    latent_precision: Tensor
    latent_residual: float
    centre: Mapping[str, float]
    spread: Mapping[str, float]
    thresholds: Mapping[str, float]
    best: str | None = None
    turns: Mapping[str, float] = field(default_factory=dict)
    fused: Fused | None = None
    calibration: Calibration | None = None
    local: Local | None = None

    def inspect(self, model: Autoencoder, batch: Tensor) -> Inspection:
        """Reconstruction, error map, metrics and all scores from a single forward pass.

        Args:
            batch: uint8, N×H×H×C, on the model's device.
        """
        passed = through(model, batch)
        errors = squared_error(passed.reconstruction, passed.original)
        made, grey = luma(passed.reconstruction), luma(passed.original)
        spectra = Spectra(transform(made), transform(grey))
        metrics = image_metrics(passed.reconstruction, passed.original, spectra)
        signals = {"mse": metrics["mse"], "ssim": 1 - metrics["ssim"], "lsd": metrics["lsd"]}
        signals["normalised"] = self.normalised(errors)
        signals["peak"] = self.peak(errors)
        signals["latent"] = self.mahalanobis(passed.latent)
        signals |= parts.patches(errors, grey)
        signals |= parts.bands(spectra)
        if self.local:
            signals["local"] = self.local(made - grey)
        signals["combined"] = self.combined(signals["normalised"], signals["latent"])
        if passed.recon_nats is not None and passed.kl_nats is not None:
            signals["elbo"] = passed.recon_nats + passed.kl_nats
        return Inspection(
            original=passed.original,
            reconstruction=passed.reconstruction,
            error_map=errors,
            latent=passed.latent,
            metrics=metrics,
            signals=signals,
            scores=self.judged(signals),
            recon_nats=passed.recon_nats,
            kl_nats=passed.kl_nats,
        )

    def judged(self, signals: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Scores from signals, N values each, float64; the fused one where all it needs is."""
        scores = {
            name: two_sided(name, values, self.turns[name]) if name in self.turns else values
            for name, values in signals.items()
        }
        if self.fused and all(name in scores for name in self.fused.needs()):
            scores[FUSED] = self.fused(scores)
        return scores

    def scores(self, model: Autoencoder, batch: Tensor) -> dict[str, Tensor]:
        """N values (float64) for each score, higher is more anomalous; see `inspect`."""
        return self.inspect(model, batch).scores

    def error_map(self, model: Autoencoder, batch: Tensor) -> Tensor:
        """Squared error averaged over channels: N×H×H on [0, 1]; see `inspect`."""
        passed = through(model, batch)
        return squared_error(passed.reconstruction, passed.original)

    def normalised(self, errors: Tensor) -> Tensor:
        """Mean over pixels of squared error over its usual size; about 1 for a normal image."""
        usual = self.usual_error.to(errors.device)
        return (errors.double() / usual).mean((1, 2))

    def peak(self, errors: Tensor) -> Tensor:
        """Maximum of the smoothed ratio of squared error to its usual size, N, float64.

        The maximum of a smoothed anomaly map as an image's score is Roth et al. 2022.
        """
        ratio = (errors / self.usual_error.to(errors.device)).float()
        height, width = ratio.shape[-2:]
        down = gaussian(height, PEAK_SIGMA, PEAK_REACH).to(errors.device).T
        across = gaussian(width, PEAK_SIGMA, PEAK_REACH).to(errors.device)
        return (down @ ratio @ across).amax((1, 2)).double()

    def mahalanobis(self, latent: Tensor) -> Tensor:
        """Distance of N×D latents from the training latents, N, float64.

        Inside the basis by the shrunk covariance; what lies outside it by one variance for every
        direction, as in probabilistic PCA (Tipping & Bishop 1999).
        """
        device = latent.device
        centred = latent.double() - self.latent_mean.to(device)
        inside = centred @ self.latent_basis.to(device).T
        squared = ((inside @ self.latent_precision.to(device)) * inside).sum(1)
        if self.latent_residual > 0:
            outside = centred.square().sum(1) - inside.square().sum(1)
            squared = squared + outside.clamp_min(0) / self.latent_residual
        return squared.clamp_min(0).sqrt()

    def combined(self, normalised: Tensor, latent: Tensor) -> Tensor:
        """Both signals (N each) on one scale, summed, N, float64 (Denouden et al. 2018)."""
        first, second = (
            (values.clamp_min(TINY).log() - self.centre[name]) / self.spread[name]
            for name, values in (("normalised", normalised), ("latent", latent))
        )
        return first + second

    def principal_plane(self, latent: Tensor) -> Tensor:
        """N×D latents in the first two (or one) principal components, N×2, float64."""
        centred = latent.double() - self.latent_mean.to(latent.device)
        return centred @ self.latent_basis[:2].to(latent.device).T

    def save(self, path: Path) -> None:
        """Write as safetensors, the plain numbers as JSON in its metadata; same bytes each time."""
        numbers = {
            "format": FORMAT,
            "latent_residual": self.latent_residual,
            "centre": dict(self.centre),
            "spread": dict(self.spread),
            "thresholds": dict(self.thresholds),
            "best": self.best,
            "turns": dict(self.turns),
            "fused": self.fused.as_numbers() if self.fused else None,
            "calibrated_by": self.calibration.by if self.calibration else None,
        }
        tensors = {
            name: getattr(self, name).contiguous()
            for name in ("usual_error", "latent_mean", "latent_basis", "latent_precision")
        }
        if self.local:
            tensors["local_whitening"] = self.local.whitening
            tensors["local_offset"] = self.local.offset
        if self.calibration:
            tensors["calibration_scores"] = torch.from_numpy(self.calibration.scores)
            tensors["calibration_weights"] = torch.from_numpy(self.calibration.weights)
        with atomic_path(path) as temporary:
            # One key only: the format's writer keeps no order among several.
            metadata = {"scorer": json.dumps(numbers, sort_keys=True, allow_nan=False)}
            save_file(tensors, temporary, metadata=metadata)


def load_scorer(path: Path) -> Scorer:
    """Read what `Scorer.save` wrote.

    Raises:
        ClarityError: no such file, or not a scorer of this format.
    """
    try:
        with safe_open(path, framework="pt") as file:
            numbers: dict[str, Any] = json.loads((file.metadata() or {}).get("scorer", "{}"))
            if numbers.pop("format", None) not in READABLE:
                raise ClarityError(
                    f"{path}: no scorer of format {FORMAT}; evaluate the model again"
                )
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            if by := numbers.pop("calibrated_by", None):
                known = [tensors.pop(f"calibration_{n}").numpy() for n in ("scores", "weights")]
                numbers["calibration"] = Calibration(known[0], known[1], by)
            if "local_offset" in tensors:
                numbers["local"] = Local(
                    tensors.pop("local_whitening"), tensors.pop("local_offset")
                )
            if fused := numbers.pop("fused", None):
                numbers["fused"] = Fused.from_numbers(fused)
            return Scorer(**tensors, **numbers)
    except FileNotFoundError:
        raise ClarityError(f"{path}: no such file; evaluate the model first") from None
    except (SafetensorError, TypeError, KeyError, json.JSONDecodeError) as error:
        reason = in_a_line(error)
        raise ClarityError(f"{path}: unreadable ({reason}); evaluate the model again") from None


def fit_scorer(
    latents: Tensor, normal_errors: Tensor, normal_latents: Tensor, local: Local | None = None
) -> Scorer:
    """Fit what the scores need; thresholds and best score come later.

    Args:
        latents: M×D, latents of training normals.
        normal_errors: V×H×H, squared error maps of validation normals.
        normal_latents: V×D, latents of the same validation normals.
        local: fitted to errors of training normals.
    """
    from dataclasses import replace

    from scipy.ndimage import gaussian_filter
    from sklearn.covariance import ledoit_wolf
    from sklearn.decomposition import PCA

    usual = normal_errors.double().mean(0)
    smooth = torch.from_numpy(gaussian_filter(usual.cpu().numpy(), SMOOTHING, mode="nearest"))
    floor = max(float(smooth.mean()) * ERROR_FLOOR, TINY)

    sample = latents.double().cpu().numpy()
    count, size = sample.shape
    kept = max(1, min(COMPONENTS, size, count - 1))
    solver = "randomized" if min(count, size) > 4 * kept else "full"
    with np.errstate(invalid="ignore"):  # PCA also computes shares of a variance that may be 0
        pca = PCA(kept, svd_solver=solver, random_state=0).fit(sample)
    inside = pca.transform(sample)
    covariance, _ = ledoit_wolf(inside, assume_centered=True)
    # An element that never moves would have an infinite precision.
    ridge = max(float(covariance.trace()) / kept * 1e-6, TINY)
    covariance = torch.from_numpy(covariance) + ridge * torch.eye(kept, dtype=torch.float64)
    total = float(sample.var(0, ddof=1).sum())
    left = total - float(pca.explained_variance_.sum())
    outside = min(size, count - 1) - kept
    residual = max(left / outside, TINY) if outside > 0 else 0.0
    if outside == 0 and size > kept:
        # Fewer faces than elements: nothing was seen outside the basis, yet unseen faces go there.
        residual = float(pca.explained_variance_[-1]) + ridge

    scorer = Scorer(
        usual_error=smooth.clamp_min(floor),
        latent_mean=torch.from_numpy(pca.mean_),
        latent_basis=torch.from_numpy(pca.components_.copy()),
        latent_precision=torch.linalg.inv(covariance),
        latent_residual=residual,
        centre={},
        spread={},
        thresholds={},
        local=local,
    )
    both = {
        "normalised": scorer.normalised(normal_errors),
        "latent": scorer.mahalanobis(normal_latents),
    }
    logs = {name: values.clamp_min(TINY).log() for name, values in both.items()}
    return replace(
        scorer,
        centre={name: float(values.mean()) for name, values in logs.items()},
        spread={
            name: max(float(values.std()) if len(values) > 1 else 1.0, 1e-6)
            for name, values in logs.items()
        },
    )
