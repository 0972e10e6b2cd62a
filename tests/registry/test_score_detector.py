"""The detector: the same numbers as evaluation, whatever the score; refusals in one line."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import registry_world as world
import torch
from data_helpers import SHAPE
from described import details

from clarity.errors import ClarityError
from clarity.evaluate.fused import LEFT_OUT, Examples
from clarity.evaluate.scorer import Scorer
from clarity.evaluate.sides import scaled
from clarity.layout import Training, normals
from clarity.models.base import Autoencoder
from clarity.models.build import build
from clarity.params import Model
from clarity.score.detector import Detector, Files

SCORES = (
    "mse", "ssim", "lsd", "normalised", "peak", "latent", "combined", "elbo", "patch_8", "band_4",
    "share_2", "local", "fused",
)  # fmt: skip


@pytest.mark.parametrize("name", SCORES)
def test_one_score_is_the_score_that_evaluation_thresholds(name: str) -> None:
    from clarity.evaluate.local import fit_local
    from clarity.evaluate.scorer import fit_scorer

    torch.manual_seed(0)
    family = "vae" if name == "elbo" else "ae"
    model = build(Model(family=family, widths=(2, 2), latent=5), "small", SHAPE).eval()
    local = fit_local([torch.randn(9, 64, 64) / 9], people=9)
    scorer = fit_scorer(torch.randn(30, 5), torch.rand(8, 64, 64), torch.randn(8, 5), local)
    images = np.random.default_rng(0).integers(0, 256, (7, 64, 64, 3), dtype=np.uint8)
    scorer = judging(scorer, model, images)
    detector = Detector(model, scorer, details(name))
    verdict = detector.judge(images, reconstruct=True)
    seen = detector.inspect(images)
    np.testing.assert_allclose(verdict.score, seen.scores[name].numpy(), rtol=1e-5)
    assert verdict.reconstruction is not None
    assert np.abs(verdict.reconstruction / 255 - _hwc(seen.reconstruction)).max() < 0.5 / 255 + 1e-6
    np.testing.assert_array_equal(verdict.anomaly, verdict.score > 0)
    assert verdict.signals == detector.leading(seen.scores)
    assert max(len(names) for names in verdict.signals) == (2 if name == "fused" else 1)
    assert np.isnan(verdict.p_value).all()  # nothing to hold it against yet


def judging(scorer: Scorer, model: Autoencoder, images: np.ndarray) -> Scorer:
    """Turned at the median of these images, so that it shows, and with every signal weighed."""
    signals = scorer.inspect(model, torch.from_numpy(images)).signals
    turned = replace(scorer, turns={name: float(v.median()) for name, v in signals.items()})
    names = tuple(name for name in signals if name not in LEFT_OUT)
    plain = np.stack([scaled(name, turned.judged(signals)[name]).numpy() for name in names], 1)
    rows = np.ones(2 * len(plain), bool)
    kinds = np.array(["normal", "odd"]).repeat(len(plain))
    both = np.concatenate([plain, plain + 1])
    people = np.arange(len(both)).astype(str)
    examples = Examples(names, both, plain - 1, kinds == "odd", kinds, people)
    return replace(turned, fused=examples.fit(rows))


def _hwc(tensor: torch.Tensor) -> np.ndarray:
    return tensor.permute(0, 2, 3, 1).numpy()


@pytest.mark.usefixtures("here")
def test_details_and_detector_agree_on_false_alarms() -> None:
    detector = Detector.load(Files.of_training(Training("pca-8", 0)))
    rate = detector.judge(np.load(normals("val"))).anomaly.mean()
    assert rate <= world.RATE


@pytest.mark.usefixtures("here")
def test_what_is_missing_or_broken_is_named() -> None:
    training = Training("pca-8", 0)
    files = Files.of_training(training)
    with pytest.raises(ClarityError, match=r"details.json: missing; `dvc checkout`"):
        Detector.load(replace(files, details=Path("details.json")))
    files.weights.write_bytes(b"not safetensors at all")
    with pytest.raises(ClarityError, match="cannot be loaded"):
        Detector.load(files)
    detector = Detector.load(Files.of_training(Training("pca-4", 0)))
    for wrong in (np.zeros((1, 64, 64)), np.zeros((1, 3, 64, 64)), np.zeros((1, 64, 64, 3))):
        with pytest.raises(ClarityError, match="N×64×64×3"):
            detector.judge(wrong)  # type: ignore[arg-type]
