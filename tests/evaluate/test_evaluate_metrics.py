"""The measures against independent computations: closed forms, scipy, sklearn, torchmetrics."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
import torch
from data_helpers import SHAPE
from scipy import ndimage
from sklearn.metrics import average_precision_score, roc_auc_score, roc_curve

from clarity.evaluate import anomaly, cost, latent, samples
from clarity.evaluate.forward import elbo_parts
from clarity.evaluate.images import face_pairs, shown_faces
from clarity.evaluate.reconstruction import image_metrics, ssim
from clarity.evaluate.spectrum import log_spectral_distance, spectral_difference, transforms
from clarity.models.base import Autoencoder
from clarity.models.build import build
from clarity.models.vae import convolutional_vae
from clarity.params import Model


@pytest.fixture(scope="module")
def faces() -> torch.Tensor:
    """Six pictures with detail at every frequency, N×3×64×64 on [0, 1]."""
    rng = np.random.default_rng(0)
    noise = rng.normal(size=(6, 3, 64, 64))
    blurred = (ndimage.gaussian_filter(noise, (0, 0, s, s)) * s for s in (0.6, 2, 6))
    fields = sum(blurred, np.zeros(noise.shape))
    low, high = fields.min(), fields.max()
    return torch.from_numpy((fields - low) / (high - low)).float()


def blurred(images: torch.Tensor, sigma: float) -> torch.Tensor:
    return torch.from_numpy(ndimage.gaussian_filter(images.numpy(), (0, 0, sigma, sigma)))


def lsd(reconstruction: torch.Tensor, original: torch.Tensor) -> torch.Tensor:
    return log_spectral_distance(spectral_difference(transforms(reconstruction, original)))


def checkerboard(images: torch.Tensor, height: float) -> torch.Tensor:
    board = np.indices((64, 64)).sum(0) % 2 * 2 - 1
    return (images + height * torch.from_numpy(board).float()).clamp(0, 1)


def test_lsd_is_zero_for_the_image_itself_and_grows_both_ways(faces: torch.Tensor) -> None:
    noisy = (
        faces + 0.1 * torch.randn(faces.shape, generator=torch.Generator().manual_seed(0))
    ).clamp(0, 1)
    assert lsd(faces, faces).abs().max() == 0
    mild, strong = (lsd(blurred(faces, s), faces) for s in (0.7, 2.0))
    assert (mild > 1).all()
    assert (strong > mild).all()
    assert (lsd(noisy, faces) > 1).all()
    assert (lsd(checkerboard(faces, 0.1), faces) > 1).all()
    # A flawless copy of what a blur lacks, put back as noise, is no clear picture either.
    assert (lsd(checkerboard(blurred(faces, 2), 0.1), faces) > 1).all()


def test_the_signed_bias_tells_blur_from_noise(faces: torch.Tensor) -> None:
    assert (image_metrics(blurred(faces, 2), faces)["hf_bias"] < 0).all()
    assert (image_metrics(checkerboard(faces, 0.2), faces)["hf_bias"] > 0).all()


def test_lsd_by_its_definition(faces: torch.Tensor) -> None:
    """Written once more, with numpy and loops."""
    other = blurred(faces, 1)

    def rings(image: np.ndarray) -> np.ndarray:
        grey = np.tensordot([0.299, 0.587, 0.114], image.astype(float), 1)
        line = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(64) / 64)
        window = np.outer(line, line)
        power = np.abs(np.fft.fft2((grey - np.average(grey, weights=window)) * window)) ** 2
        frequency = np.fft.fftfreq(64) * 64
        radius = np.round(np.hypot(frequency[:, None], frequency[None])).astype(int)
        floor = (1 / 255) ** 2 / 12 * (window**2).sum()
        return np.array([10 * np.log10(power[radius == r].mean() + floor) for r in range(8, 46)])

    expected = [
        math.sqrt(np.mean((rings(a) - rings(b)) ** 2))
        for a, b in zip(other.numpy(), faces.numpy(), strict=True)
    ]
    assert lsd(other, faces).numpy() == pytest.approx(expected, rel=1e-6)


def test_ssim_is_that_of_torchmetrics(faces: torch.Tensor) -> None:
    from torchmetrics.functional.image import structural_similarity_index_measure

    for other in (blurred(faces, 1), checkerboard(faces, 0.1), faces.roll(1, 0), faces):
        theirs = structural_similarity_index_measure(other, faces, data_range=1.0, reduction="none")
        assert ssim(other, faces).numpy() == pytest.approx(np.asarray(theirs), abs=2e-5)


def test_errors_by_their_closed_forms() -> None:
    original = torch.full((2, 3, 64, 64), 0.5)
    reconstruction = original.clone()
    reconstruction[0, :, :32] += 0.2
    found = image_metrics(reconstruction, original)
    assert found["mse"].tolist() == pytest.approx([0.02, 0])
    assert found["mae"].tolist() == pytest.approx([0.1, 0])
    assert found["psnr"].tolist() == pytest.approx([-10 * math.log10(0.02), 100])
    assert found["ssim"][1] == pytest.approx(1)


@pytest.mark.parametrize("ties", [False, True])
def test_detection_is_that_of_scikit_learn(ties: bool) -> None:
    rng = np.random.default_rng(1)
    normal, anomalous = rng.normal(0, 1, 80), rng.normal(1, 1.5, 130)
    if ties:
        normal, anomalous = normal.round(), anomalous.round()
    truth = np.r_[np.zeros(80), np.ones(130)]
    values = np.r_[normal, anomalous]
    found = anomaly.detection(normal, anomalous)
    pairs = (anomalous[:, None] > normal).mean() + (anomalous[:, None] == normal).mean() / 2
    assert found["auroc"] == pytest.approx(roc_auc_score(truth, values))
    assert found["auroc"] == pytest.approx(pairs)
    assert found["ap"] == pytest.approx(average_precision_score(truth, values))
    caught = [line for line in values if (anomalous >= line).mean() >= 0.95]
    assert found["fpr95"] == pytest.approx((normal >= max(caught)).mean())
    assert (found["n"], found["normals"]) == (130, 80)


def test_detection_without_anomalies_says_nothing() -> None:
    assert anomaly.detection(np.ones(3), np.empty(0))["auroc"] is None


def test_pixel_auroc_is_that_of_scikit_learn() -> None:
    rng = np.random.default_rng(3)
    masks = np.zeros((4, 16, 16), np.uint8)
    masks[0, 2:9, 3:8] = masks[1, 0:4, 0:4] = masks[3] = 1
    errors = rng.random((4, 16, 16)).round(2) * 0.5 + 0.2 * masks * rng.random((4, 16, 16))
    each = anomaly.pixel_auroc(errors, masks)
    for place in (0, 1):
        expected = roc_auc_score(masks[place].ravel(), errors[place].ravel())
        assert each[place] == pytest.approx(expected)
    assert np.isnan(each[2:]).all()
    pooled = anomaly.PixelRanking()
    for part in (slice(0, 1), slice(1, 4)):
        pooled.add(errors[part], masks[part])
    assert pooled.auroc() == pytest.approx(roc_auc_score(masks.ravel(), errors.ravel()), abs=1e-3)
    assert anomaly.PixelRanking().auroc() is None


def test_fpr95_agrees_with_the_roc_curve() -> None:
    rng = np.random.default_rng(5)
    normal, anomalous = rng.random(50), rng.random(50) + 0.3
    false, true, _ = roc_curve(np.r_[np.zeros(50), np.ones(50)], np.r_[normal, anomalous])
    found = anomaly.detection(normal, anomalous)["fpr95"]
    assert found <= np.interp(0.95, true, false) + 1 / 50


def test_participation_ratio_counts_the_dimensions_used() -> None:
    rng = np.random.default_rng(4)
    flat = rng.normal(size=(4000, 5)) @ np.linalg.qr(rng.normal(size=(40, 5)))[0].T
    assert latent.participation_ratio(torch.from_numpy(flat)) == pytest.approx(5, rel=0.02)
    line = torch.outer(torch.arange(50.0), torch.ones(7))
    assert latent.participation_ratio(line) == pytest.approx(1)
    wide = torch.from_numpy(rng.normal(size=(20, 300)))
    values = np.linalg.eigvalsh(np.cov(wide.numpy(), rowvar=False))
    expected = values.sum() ** 2 / (values**2).sum()
    assert latent.participation_ratio(wide) == pytest.approx(expected)
    assert latent.participation_ratio(torch.ones(9, 3)) == 0


class Bent(Autoencoder):
    """Decodes its one element as a point on an arc of radius 0.2 in the plane of two pixels."""

    latent_size = 1

    def encode(self, x: torch.Tensor) -> torch.Tensor:
        raise NotImplementedError

    def decode(self, z: torch.Tensor) -> torch.Tensor:
        images = torch.zeros(len(z), 3, 64, 64)
        images[:, 0, 0, 0] = 0.4 * torch.cos(z[:, 0])
        images[:, 0, 0, 1] = 0.4 * torch.sin(z[:, 0])
        return images


def test_walks_along_an_arc_and_a_line() -> None:
    steps = 32
    half = latent.walks(Bent(SHAPE), torch.zeros(1, 1), torch.full((1, 1), math.pi), steps)
    chord = 2 * math.sin(math.pi / 2 / steps)
    assert half.pixel == pytest.approx([(steps * chord / 2) ** 2], rel=1e-4)
    assert half.jump == pytest.approx([1], rel=1e-4)
    pca = build(Model(family="pca", latent=2), "pca-2", SHAPE)
    pca.load_state_dict(
        {"mean": torch.zeros(12288), "components": torch.eye(12288)[[5, 700]] * 0.5}
    )
    straight = latent.walks(pca, torch.tensor([[0.1, 0.3]]), torch.tensor([[1.0, -0.4]]), 8)
    assert straight.pixel == pytest.approx([1], abs=1e-5)
    assert straight.jump == pytest.approx([1], abs=1e-5)
    # A linear decoder can do nothing but blend.
    assert straight.crossfade == pytest.approx([1], abs=1e-4)
    nowhere = latent.walks(pca, torch.ones(1, 2), torch.ones(1, 2), 4)
    assert all(value == [1.0] for value in vars(nowhere).values())


@pytest.mark.parametrize("sigma", [0, 1, 2])
def test_a_ghost_of_two_faces_is_a_crossfade_and_a_face_is_none(
    faces: torch.Tensor, sigma: float
) -> None:
    """Whatever blurs all pictures alike: the zero and the one do not move with sharpness."""
    first, second, *others = blurred(faces, sigma) if sigma else faces
    way = torch.linspace(0, 1, 6)[:, None, None, None]
    ghost = (1 - way) * first + way * second
    assert latent.crossfade(ghost) == pytest.approx(1, abs=1e-4)
    switch = torch.stack([first] * 3 + [second] * 3)
    assert latent.crossfade(switch) == pytest.approx(0, abs=1e-9)
    real = torch.stack([first, *others, second])
    assert abs(latent.crossfade(real)) < 0.3
    emptied = ghost.clone()
    emptied[1:-1] = ghost[1:-1].mean((1, 2, 3), keepdim=True)
    assert latent.crossfade(emptied) > 1.2


def test_a_planted_jump_is_the_largest_step(faces: torch.Tensor) -> None:
    way = torch.linspace(0, 1, 9)[:, None, None, None]
    smooth = (1 - way) * faces[0] + way * faces[1]
    jumping = smooth.clone()
    jumping[4:] = 0.3 * smooth[4:] + 0.7 * faces[1]
    switch = torch.stack([faces[0]] * 5 + [faces[1]] * 4)

    def in_pixels(images: torch.Tensor) -> float:
        return latent.largest_step((images[1:] - images[:-1]).flatten(1).norm(dim=1))

    def perceived(images: torch.Tensor) -> float:
        return latent.largest_step(latent.haarpsi_steps(images))

    for jump in (in_pixels, perceived):
        assert jump(jumping) > 1.5 * jump(smooth)
        assert jump(switch) == pytest.approx(8, rel=1e-4)
    assert in_pixels(smooth) == pytest.approx(1, abs=1e-4)


def test_unused_elements_of_a_posterior_are_counted_out() -> None:
    codes = torch.randn(500, 4, generator=torch.Generator().manual_seed(0))
    codes[:, 1] *= 0.05
    assert latent.active_units(codes) == [True, False, True, True]


def test_traversal_changes_one_element_at_a_time() -> None:
    codes = torch.randn(400, 3, generator=torch.Generator().manual_seed(1))
    grid, labels = latent.traversal(codes, elements=5, columns=7)
    assert (grid.shape, labels) == ((3, 7, 3), ["element 1", "element 2", "element 3"])
    for row in range(3):
        moved = grid[row].std(0) > 0
        assert moved.tolist() == [element == row for element in range(3)]
    many, labels = latent.traversal(torch.randn(60, 200), elements=5, columns=7)
    assert (many.shape, labels[4]) == ((5, 7, 200), "direction 5")


def test_frechet_distance_by_its_closed_form() -> None:
    rng = np.random.default_rng(6)
    a, b = rng.normal(0, 1, (50, 1)), rng.normal(3, 2, (70, 1))
    expected = (a.mean() - b.mean()) ** 2 + (a.std(ddof=1) - b.std(ddof=1)) ** 2
    assert samples.frechet_distance(a, b) == pytest.approx(expected)
    from scipy.linalg import sqrtm

    a, b = rng.normal(size=(90, 6)), rng.normal(size=(80, 6)) @ rng.normal(size=(6, 6)) + 1
    first, second = np.cov(a.T), np.cov(b.T)
    root = sqrtm(first @ second).real
    expected = ((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(first + second - 2 * root)
    assert samples.frechet_distance(a, b) == pytest.approx(expected)
    assert samples.frechet_distance(a, a) == pytest.approx(0, abs=1e-6)


def test_precision_and_recall_of_a_prior_too_narrow_too_wide_and_right() -> None:
    rng = np.random.default_rng(8)
    real, alike, narrow, wide = (rng.normal(0, s, (200, 6)) for s in (1, 1, 0.2, 4))
    away = alike + 50
    assert samples.precision_recall(real, real) == (1, 1)
    assert samples.precision_recall(away, real) == (0, 0)
    assert min(samples.precision_recall(alike, real)) > 0.7
    precision, recall = samples.precision_recall(narrow, real)
    assert precision > 0.9 > 0.1 > recall
    precision, recall = samples.precision_recall(wide, real)
    assert precision < 0.1 < 0.9 < recall
    # By hand: on 0, 1, 2, 3 the third neighbours lie 3, 2, 2 and 3 away; a single point reaches 0.
    line = np.arange(4.0)[:, None]
    assert samples.precision_recall(np.array([[-3.0], [6.5]]), line) == (0.5, 1.0)
    assert samples.precision_recall(line[:1], line) == (1.0, 0.25)


def test_sharpness_is_the_variance_of_the_laplacian(faces: torch.Tensor) -> None:
    grey = np.tensordot(faces.numpy().astype(float), [0.299, 0.587, 0.114], ([1], [0])) * 255
    expected = [ndimage.laplace(image)[1:-1, 1:-1].var() for image in grey]
    assert samples.sharpness(faces).numpy() == pytest.approx(expected, rel=1e-5)
    assert (samples.sharpness(blurred(faces, 1)) < samples.sharpness(faces)).all()
    assert (samples.high_frequency_db(blurred(faces, 1)) < samples.high_frequency_db(faces)).all()


def test_a_mixture_needs_faces_enough_for_its_components() -> None:
    rng = np.random.default_rng(7)
    two = np.r_[rng.normal(-5, 0.5, (150, 2)), rng.normal(5, 0.5, (150, 2))]
    drawn, used = samples.mixture_latents(torch.from_numpy(two), 400, 2, seed=0)
    assert used == 2
    assert (drawn.abs().mean(1) > 2).float().mean() > 0.99
    few, used = samples.mixture_latents(torch.randn(100, 64), 10, 10, seed=0)
    assert (few.shape, used) == ((10, 64), 1)


def test_flops_are_two_a_weight_of_a_linear_network() -> None:
    fcn = build(Model(family="fcn", widths=(16, 8), latent=3), "fcn-tiny", SHAPE)
    weights = sum(p.numel() for p in fcn.parameters() if p.ndim == 2)
    assert cost.flops(fcn) == 2 * weights
    assert cost.flops(build(Model(family="pca", latent=64), "pca-64", SHAPE)) == 2 * 2 * 64 * 12288


def test_elbo_parts_are_those_of_the_distributions() -> None:
    torch.manual_seed(0)
    vae = convolutional_vae((4, 8), 5, SHAPE).eval()
    x = torch.rand(7, 3, 64, 64) * 2 - 1
    with torch.no_grad():
        mean, log_variance = vae.posterior(x)
        nats, kl = elbo_parts(vae, x, mean, log_variance)
        alone, _ = elbo_parts(vae, x[3:4], *vae.posterior(x[3:4]))
        posterior = torch.distributions.Normal(mean, (log_variance / 2).exp())
        prior = torch.distributions.Normal(torch.zeros(5), torch.ones(5))
        expected = torch.distributions.kl_divergence(posterior, prior).sum(1)
        noise = torch.randn(5, generator=torch.Generator().manual_seed(0))
        decoded = vae.decode(mean + (log_variance / 2).exp() * noise)
        likelihood = torch.distributions.Normal(decoded, (vae.log_variance / 2).exp())
        expected_nats = -likelihood.log_prob(x).flatten(1).sum(1)
    assert kl.numpy() == pytest.approx(expected.numpy(), rel=1e-4)
    assert nats.numpy() == pytest.approx(expected_nats.numpy(), rel=1e-4)
    assert float(alone[0]) == pytest.approx(float(nats[3]), rel=1e-6)


def index_of(groups: list[str]) -> pd.DataFrame:
    return pd.DataFrame({"row": range(len(groups)), "group": groups})


def test_shown_faces_are_of_different_people_first() -> None:
    index = index_of(["a", "a", "a", "b", "b", "c"])
    assert shown_faces(index, 3).tolist() == [0, 3, 5]
    assert shown_faces(index, 5).tolist() == [0, 3, 5, 1, 4]
    assert len(shown_faces(index, 32)) == 6


@pytest.mark.parametrize("people", [3, 200])
def test_pairs_join_different_people_and_repeat(people: int) -> None:
    index = index_of([f"p{i // 2}" for i in range(2 * people)])
    first, second, groups = face_pairs(index, 9, seed=0)
    again = face_pairs(index, 9, seed=0)
    assert len(first) == len(groups) == 9
    assert all(a != b for a, b in groups)
    assert len({(a, b) for a, b in zip(first, second, strict=True)}) == 9
    assert (first.tolist(), second.tolist()) == (again[0].tolist(), again[1].tolist())
    assert first.tolist() != face_pairs(index, 9, seed=1)[0].tolist()


def test_pairs_are_as_many_as_there_are() -> None:
    assert len(face_pairs(index_of(["a", "a"]), 9, seed=0)[0]) == 1
    assert len(face_pairs(index_of(["a"]), 9, seed=0)[0]) == 0
    assert len(face_pairs(index_of(["a"] * 65 + ["b"]), 100, seed=0)[0]) == 65
    assert len(face_pairs(index_of(["a"] * 66), 3000, seed=0)[0]) == 66 * 65 // 2
