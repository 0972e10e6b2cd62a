"""The scorer: what it computes, what it keeps, what it refuses."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from data_helpers import SHAPE
from scipy import ndimage
from scipy.spatial.distance import mahalanobis
from sklearn.covariance import ledoit_wolf

from clarity.errors import ClarityError
from clarity.evaluate.calibration import calibrate
from clarity.evaluate.forward import through
from clarity.evaluate.fused import LEFT_OUT, Examples
from clarity.evaluate.local import fit_local
from clarity.evaluate.reconstruction import squared_error
from clarity.evaluate.scorer import Scorer, fit_scorer, load_scorer
from clarity.evaluate.sides import scaled
from clarity.evaluate.spectrum import luma
from clarity.models.base import Autoencoder
from clarity.models.build import build
from clarity.params import Model

SPECS = {
    "fcn": Model(family="fcn", widths=(16,), latent=3),
    "conv": Model(family="conv", widths=(4, 8)),
    "vae": Model(family="vae", widths=(4, 8), latent=5),
}


def pictures(count: int, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (count, 64, 64, 3), generator=generator, dtype=torch.uint8)


@pytest.fixture(params=SPECS)
def fitted(request: pytest.FixtureRequest) -> tuple[Autoencoder, Scorer]:
    torch.manual_seed(0)
    network = build(SPECS[request.param], request.param, SHAPE).eval()
    train, val = through(network, pictures(40, 1)), through(network, pictures(12, 2))
    errors = squared_error(val.reconstruction, val.original)
    local = fit_local([luma(train.reconstruction) - luma(train.original)], people=40)
    return network, fit_scorer(train.latent, errors, val.latent, local)


def test_a_score_does_not_depend_on_the_batch(fitted: tuple[Autoencoder, Scorer]) -> None:
    network, scorer = fitted
    batch = pictures(5, 3)
    together = scorer.scores(network, batch)
    for name, values in together.items():
        assert values.shape == (5,)
        assert values.dtype == torch.float64
        alone = scorer.scores(network, batch[2:3])[name]
        assert float(alone[0]) == pytest.approx(float(values[2]), rel=1e-3, abs=1e-3), name
    assert ("elbo" in together) == hasattr(network, "posterior")


def test_what_is_read_back_scores_alike(fitted: tuple[Autoencoder, Scorer], tmp_path: Path) -> None:
    network, scorer = fitted
    batch = pictures(12, 5)
    signals = scorer.inspect(network, batch).signals
    names = tuple(name for name in signals if name not in LEFT_OUT)
    values = np.stack([scaled(name, signals[name]).numpy() for name in names], axis=1)
    odd = np.arange(12) % 2 == 1
    kinds = np.where(odd, "odd", "normal")
    examples = Examples(names, values + odd[:, None], values[:5] - 1, odd, kinds, kinds)
    fused = examples.fit(np.ones(12, bool))
    scorer = replace(
        scorer,
        thresholds={"mse": 0.1, "latent": 2.5},
        best="latent",
        turns={"mse": 0.01},
        fused=fused,
        calibration=calibrate(signals["latent"].numpy(), kinds, 0.05),
    )
    paths = [tmp_path / "a.safetensors", tmp_path / "b.safetensors"]
    for path in paths:
        scorer.save(path)
    assert paths[0].read_bytes() == paths[1].read_bytes()
    read = load_scorer(paths[0])
    assert (read.best, read.thresholds) == ("latent", {"mse": 0.1, "latent": 2.5})
    batch = pictures(3, 4)
    scores = scorer.scores(network, batch)
    assert "fused" in scores
    for name, found in scores.items():
        assert torch.equal(found, read.scores(network, batch)[name])
    assert read.calibration is not None
    assert scorer.calibration is not None
    some = scores["latent"].numpy()
    assert np.array_equal(read.calibration.p_values(some), scorer.calibration.p_values(some))
    seen = read.inspect(network, batch)
    assert torch.equal(seen.error_map, read.error_map(network, batch))
    expected = (seen.reconstruction - batch.permute(0, 3, 1, 2) / 255).square().mean(1)
    assert torch.allclose(seen.error_map, expected, atol=1e-6)


def test_mahalanobis_is_that_of_scipy_on_the_shrunk_covariance() -> None:
    rng = np.random.default_rng(0)
    train = rng.normal(size=(200, 4)) @ rng.normal(size=(4, 4)) + 2
    unseen = rng.normal(size=(6, 4)) * 3
    scorer = fit_scorer(torch.from_numpy(train), torch.rand(5, 64, 64), torch.from_numpy(unseen))
    covariance, _ = ledoit_wolf(train)
    precision = np.linalg.inv(covariance)
    expected = [mahalanobis(row, train.mean(0), precision) for row in unseen]
    assert scorer.mahalanobis(torch.from_numpy(unseen)).numpy() == pytest.approx(expected, rel=1e-3)


def test_latents_outside_the_training_faces_span_are_far() -> None:
    """More elements than faces, as in the convolutional models."""
    rng = np.random.default_rng(1)
    plane = np.linalg.qr(rng.normal(size=(900, 10)))[0].T
    train = torch.from_numpy(rng.normal(size=(60, 10)) @ plane + 0.01 * rng.normal(size=(60, 900)))
    inside = torch.from_numpy(rng.normal(size=(20, 10)) @ plane + 0.01 * rng.normal(size=(20, 900)))
    outside = inside + 0.1 * torch.from_numpy(rng.normal(size=(20, 900)))
    scorer = fit_scorer(train, torch.rand(5, 64, 64), inside)
    assert scorer.mahalanobis(outside).min() > scorer.mahalanobis(inside).max()


def test_an_error_counts_more_where_errors_are_rare() -> None:
    usual = torch.full((30, 64, 64), 0.01)
    usual[:, :, 32:] = 0.1
    scorer = fit_scorer(torch.randn(20, 3), usual, torch.randn(30, 3))
    left, right = torch.zeros(1, 64, 64), torch.zeros(1, 64, 64)
    left[:, 20:30, 5:15] = right[:, 20:30, 49:59] = 0.2
    ratio = float(scorer.normalised(left) / scorer.normalised(right))
    assert ratio == pytest.approx(10, rel=0.01)
    assert float(scorer.normalised(usual).mean()) == pytest.approx(1, rel=0.1)


def test_peak_finds_what_is_wrong_in_one_place() -> None:
    scorer = fit_scorer(torch.randn(20, 3), torch.full((9, 64, 64), 0.01), torch.randn(9, 3))
    spread, spot = torch.full((1, 64, 64), 0.01), torch.zeros(1, 64, 64)
    spot[:, 30:40, 30:40] = 0.3
    assert scorer.normalised(spot) < scorer.normalised(spread)
    assert scorer.peak(spot) > 10 * scorer.peak(spread)
    expected = ndimage.gaussian_filter(spot[0].double() / 0.01, 2, mode="mirror", truncate=4)
    assert float(scorer.peak(spot)) == pytest.approx(expected.max(), rel=1e-4)


def test_constant_latents_and_perfect_reconstructions_give_finite_scores() -> None:
    scorer = fit_scorer(torch.ones(20, 3), torch.zeros(4, 64, 64), torch.ones(4, 3))
    assert torch.isfinite(scorer.mahalanobis(torch.randn(5, 3))).all()
    assert torch.isfinite(scorer.normalised(torch.rand(5, 64, 64))).all()


def test_what_is_no_scorer_is_refused_in_one_line(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    missing, broken, foreign = (tmp_path / name for name in ("no", "broken", "foreign"))
    broken.write_bytes(b"not safetensors at all")
    save_file({"usual_error": torch.ones(2)}, foreign)
    for path in (missing, broken, foreign):
        with pytest.raises(ClarityError, match="evaluate the model") as caught:
            load_scorer(path)
        assert "\n" not in str(caught.value)
        assert str(path) in str(caught.value)
