"""Drift tests against independent computations, and how often they call."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy import stats
from scipy.ndimage import laplace

from clarity.layout import normals
from clarity.params import Drift
from clarity.score.drift import Sample, gaussian_kernel, measure, mmd2, statistics
from clarity.score.watch import LOOKED_AT, reference_images

SETTINGS = Drift(alpha=0.01, effect=0.35, minimum=20, permutations=999, seed=0, lasting=3)


def pictures(n: int, seed: int, brightness: float = 120, spread: float = 40) -> np.ndarray:
    """Smooth random pictures with brightness that varies between them."""
    random = np.random.default_rng(seed)
    coarse = random.normal(0, spread, (n, 8, 8, 3)) + random.normal(brightness, 20, (n, 1, 1, 1))
    return np.clip(np.kron(coarse, np.ones((1, 8, 8, 1))), 0, 255).astype(np.uint8)


def test_statistics_agree_with_a_direct_computation() -> None:
    image = np.random.default_rng(0).integers(0, 256, (1, 64, 64, 3), dtype=np.uint8)
    found = {name: float(values[0]) for name, values in statistics(image).items()}
    luma = (image[0] / 255) @ np.array([0.299, 0.587, 0.114])
    assert found["brightness"] == pytest.approx(luma.mean())
    assert found["contrast"] == pytest.approx(luma.std())
    inner = laplace(luma)[1:-1, 1:-1]
    assert found["sharpness"] == pytest.approx(np.log10(inner.var() + 255**-2))
    grey = np.repeat(image[..., :1], 3, axis=3)
    assert statistics(grey)["colour"][0] == pytest.approx(0, abs=1e-12)


def test_ks_and_effect_are_scipys_and_p_values_are_adjusted_by_holm() -> None:
    a, b = pictures(80, 1), pictures(60, 2, brightness=150)
    report = measure(Sample(a), Sample(b), SETTINGS)
    x, y = statistics(a)["brightness"], statistics(b)["brightness"]
    (test,) = [test for test in report.tests if test.quantity == "brightness"]
    assert test.statistic == stats.ks_2samp(x, y).statistic
    assert test.effect == pytest.approx(stats.wasserstein_distance(x, y) / x.std())
    ordered = sorted(report.tests, key=lambda t: t.p)
    expected, floor = [], 0.0
    for rank, one in enumerate(ordered):
        floor = max(floor, min(1.0, (len(ordered) - rank) * one.p))
        expected.append(floor)
    assert [t.p_adjusted for t in ordered] == pytest.approx(expected)


def test_mmd_is_the_double_sum_of_its_definition() -> None:
    random = np.random.default_rng(0)
    codes = random.normal(size=(12, 3))
    kernel = gaussian_kernel(codes)
    first = np.arange(12) < 5
    x, y = np.flatnonzero(first), np.flatnonzero(~first)
    expected = (
        np.mean([kernel[i, j] for i in x for j in x if i != j])
        + np.mean([kernel[i, j] for i in y for j in y if i != j])
        - 2 * np.mean([kernel[i, j] for i in x for j in y])
    )
    assert mmd2(kernel, first[None])[0] == pytest.approx(expected)


def sample(n: int, seed: int, shift: float = 0.0) -> Sample:
    random = np.random.default_rng(1000 + seed)
    return Sample(pictures(n, seed), random.gamma(4, 1, n) + shift, random.normal(shift, 1, (n, 8)))


def test_like_pictures_are_rarely_called_different() -> None:
    calls = [measure(sample(100, i), sample(60, i + 500), SETTINGS).drifted for i in range(8)]
    assert not any(calls)


@pytest.mark.parametrize(
    ("arrived", "quantity"),
    [
        (Sample(pictures(60, 9, brightness=160)), "brightness"),
        (Sample(pictures(60, 9, spread=15)), "contrast"),
        (Sample(np.repeat(pictures(60, 9)[..., :1], 3, axis=3)), "colour"),
        (Sample(pictures(60, 9), np.random.default_rng(2).gamma(4, 2, 60)), "reconstruction error"),
        (Sample(pictures(60, 9), None, np.full((60, 8), 2.0)), "latent codes"),
    ],
)
def test_each_kind_of_drift_is_found_and_named(arrived: Sample, quantity: str) -> None:
    report = measure(sample(100, 3), arrived, SETTINGS)
    assert quantity in {test.quantity for test in report.tests if test.drifted}
    assert quantity in report.sentence


def test_a_significant_but_tiny_difference_is_no_drift() -> None:
    random = np.random.default_rng(0)
    images = pictures(20, 1).repeat(75, axis=0)
    a = Sample(images, random.normal(0, 1, 1500))
    b = Sample(images, random.normal(0.25, 1, 1500))
    (test,) = [t for t in measure(a, b, SETTINGS).tests if t.quantity == "reconstruction error"]
    assert test.p_adjusted < SETTINGS.alpha
    assert not test.drifted


def test_of_many_reference_images_an_even_spread_is_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    normals("val").parent.mkdir(parents=True)
    for sizes, least in (((3, 5), 8), ((1500, 2503), LOOKED_AT)):
        rows = np.arange(sum(sizes)).astype(np.uint16).view(np.uint8).reshape(-1, 1, 1, 2)
        np.save(normals("val"), rows[: sizes[0]])
        np.save(normals("gate"), rows[sizes[0] :])
        found = np.ascontiguousarray(reference_images()).view(np.uint16).ravel()
        assert len(found) == least
        assert (found[0], found[-1]) == (0, sum(sizes) - 1)
        steps = np.diff(found.astype(int))
        assert set(steps) <= ({1} if sum(sizes) <= LOOKED_AT else {2, 3})


def test_too_few_pictures_are_not_judged() -> None:
    report = measure(sample(100, 1), sample(19, 2, shift=5), SETTINGS)
    assert not report.drifted
    assert "too few" in report.sentence
