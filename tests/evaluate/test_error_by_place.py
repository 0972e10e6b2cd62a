"""`local`: an error that is unusual for its place, however small."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import ndimage
from scipy.spatial.distance import mahalanobis

from clarity.evaluate.local import RIDGE, SIDE, STRIDE, fit_local


def errors(count: int, seed: int, size: int = 64) -> torch.Tensor:
    """Smooth ones, ten times as strong on the left as on the right."""
    rng = np.random.default_rng(seed)
    smooth = np.stack(
        [ndimage.gaussian_filter(rng.normal(size=(size, size)), 3) for _ in range(count)]
    )
    strength = np.where(np.arange(size) < size // 2, 1.0, 0.1)
    return torch.from_numpy(smooth * strength).float()


def test_what_is_weak_but_wrong_for_its_place_stands_out() -> None:
    local = fit_local(errors(400, 0).split(64), people=400)
    usual = errors(100, 1)
    line = float(local(usual).quantile(0.99))
    checkered = (torch.arange(8)[:, None] + torch.arange(8)) % 2 * 0.04 - 0.02
    fine, strong = usual.clone(), usual.clone()
    fine[:, 10:18, 12:20] += checkered  # of a kind that errors never are
    strong[:, :, 40:] += strong[:, :, 10:34] / 2  # as on the left, on the right
    for changed in (fine, strong):
        assert changed.square().mean() < 1.3 * usual.square().mean()
        assert (local(changed) > line).double().mean() > 0.9
    assert local(usual).dtype == torch.float64


def test_it_is_the_mahalanobis_distance_of_the_worst_place() -> None:
    known, picture = errors(60, 2), errors(1, 3)
    people = 12
    rows = range(0, 64 - SIDE + 1, STRIDE)
    cut = [(slice(a, a + SIDE), slice(b, b + SIDE)) for a in rows for b in rows]
    means, own, scales = [], [], []
    for place in cut:
        patches = known[(slice(None), *place)].reshape(60, -1).double().numpy()
        covariance = np.cov(patches.T, bias=True)
        scales.append(np.trace(covariance) / SIDE**2)
        means.append(patches.mean(0))
        own.append(covariance / scales[-1])
    share = people / (people + SIDE**2)
    shared = (1 - share) * np.mean(own, axis=0) + RIDGE * np.eye(SIDE**2)
    distances = [
        mahalanobis(picture[0][place].flatten(), mean, np.linalg.inv(share * c + shared) / scale)
        for place, mean, c, scale in zip(cut, means, own, scales, strict=True)
    ]
    found = float(fit_local([known], people)(picture)[0])
    assert found == pytest.approx(max(distances) ** 2 / SIDE**2, rel=1e-3)


@pytest.mark.parametrize("size", [32, 96, 256])
def test_pictures_of_other_sizes(size: int) -> None:
    local = fit_local(errors(50, 4, size).split(20), people=50)
    assert len(local.whitening) == ((min(size, 64) - SIDE) // STRIDE + 1) ** 2
    usual = local(errors(20, 5, size))
    odd = errors(20, 5, size)
    middle = size // 2
    odd[:, middle : middle + size // 8, middle : middle + size // 8] += 0.3
    assert (local(odd) > usual).all()


def test_a_network_without_any_error() -> None:
    local = fit_local([torch.zeros(5, 64, 64)], people=5)
    none, some = local(torch.zeros(1, 64, 64)), local(torch.full((1, 64, 64), 0.1))
    assert float(none) == 0
    assert np.isfinite(float(some))
    assert float(some) > 1
