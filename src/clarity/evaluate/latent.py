"""What the latent space looks like: dimension used, smoothness of paths, collapse, directions."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from clarity.evaluate.forward import decode
from clarity.evaluate.reconstruction import ssim
from clarity.models.base import Autoencoder

#: A latent element counts as active when the variance of its posterior mean is above this.
ACTIVE = 0.01
#: Below this share of active elements the posterior counts as collapsed.
COLLAPSED = 0.25
#: Faces that the participation ratio is taken of, at most.
MOST_FACES = 2048
#: Distances below this count as no distance.
TINY = 1e-12


def participation_ratio(latents: Tensor) -> float:
    """Dimension used: (Σλ)² / Σλ² over the eigenvalues λ of the latents' covariance (M×D).

    Between 1 and min(D, M - 1). Taken without eigenvalues, as tr(C)² / tr(C²), on whichever of
    C and the Gram matrix is smaller; 0 where nothing varies.
    """
    faces = latents[:MOST_FACES].double()
    centred = faces - faces.mean(0)
    wide = centred.shape[1] > centred.shape[0]
    product = centred @ centred.T if wide else centred.T @ centred
    squared = float(product.square().sum())
    return float(product.trace()) ** 2 / squared if squared > TINY**2 else 0.0


def active_units(latents: Tensor) -> list[bool]:
    """Whether each element of a VAE's posterior mean varies over faces (Burda et al. 2016)."""
    return [bool(v > ACTIVE) for v in latents.double().var(0)]


@dataclass(frozen=True)
class Paths:
    """Straight walks through the latent space between pairs of faces, one value a pair.

    With images x₀ … x_T decoded at equal steps, and d² the squared distance of two images:

    Attributes:
        pixel: T · Σ d²(x_t, x_t+1) / d²(x₀, x_T) with d² the squared error; at least 1, where 1 is
            a straight walk at constant speed. The perceptual path length of Karras et al. 2019
            with pixels for features, relative to the straight way.
        structural: the same with d² = 1 - SSIM; no lower bound at 1.
        detour: Σ d(x_t, x_t+1) / d(x₀, x_T): length of the walk over the straight way, at least 1.
    """

    pixel: list[float]
    structural: list[float]
    detour: list[float]


def walk(start: Tensor, end: Tensor, steps: int) -> Tensor:
    """P×(steps+1)×D latents on the straight lines from P×D ``start`` to ``end``."""
    way = torch.linspace(0, 1, steps + 1, device=start.device)[None, :, None]
    return start[:, None] + (end - start)[:, None] * way


def path_lengths(model: Autoencoder, start: Tensor, end: Tensor, steps: int) -> Paths:
    """Measure the walks between P×D latents, a pair at a time."""
    pixel, structural, detour = [], [], []
    for latents in walk(start, end, steps):
        images = decode(model, latents)
        here, there = images[:-1], images[1:]
        squared = (there - here).double().square().flatten(1).sum(1)
        straight = float((images[-1] - images[0]).double().square().sum())
        pixel.append(_relative(steps * float(squared.sum()), straight))
        detour.append(_relative(float(squared.sqrt().sum()), straight**0.5))
        apart = 1 - ssim(torch.cat([there, images[-1:]]), torch.cat([here, images[:1]]))
        structural.append(_relative(steps * float(apart[:-1].sum()), float(apart[-1])))
    return Paths(pixel, structural, detour)


def _relative(length: float, straight: float) -> float:
    """``length`` in units of the straight way; 1 where both ends decode to the same image."""
    return length / straight if straight > TINY else 1.0


def principal_directions(latents: Tensor, count: int) -> tuple[Tensor, Tensor, Tensor]:
    """Mean (D), unit directions (count×D) and standard deviations (count) of M×D latents."""
    from sklearn.decomposition import PCA

    kept = min(count, *latents.shape)
    solver = "randomized" if min(latents.shape) > 4 * kept else "full"
    pca = PCA(kept, svd_solver=solver, random_state=0).fit(latents.double().numpy())
    return (
        torch.from_numpy(pca.mean_).float(),
        torch.from_numpy(pca.components_.copy()).float(),
        torch.from_numpy(pca.explained_variance_).sqrt().float(),
    )


def traversal(latents: Tensor, elements: int, columns: int) -> tuple[Tensor, list[str]]:
    """Latents to decode, rows×columns×D, and what each row changes.

    With at most ``elements`` elements, each in turn runs over its quantiles from 2 % to 98 % of the
    training latents, the others at their median. With more, the leading principal directions run
    from -2.5 to 2.5 standard deviations around the mean.
    """
    size = latents.shape[1]
    if size <= elements:
        at = torch.linspace(0.02, 0.98, columns)
        quantiles = torch.quantile(latents, at, dim=0)
        grid = latents.median(0).values.repeat(size, columns, 1)
        for element in range(size):
            grid[element, :, element] = quantiles[:, element]
        return grid, [f"element {element + 1}" for element in range(size)]
    mean, directions, spread = principal_directions(latents, elements)
    reach = torch.linspace(-2.5, 2.5, columns)[None, :, None]
    grid = mean + reach * (spread[:, None] * directions)[:, None]
    return grid, [f"direction {row + 1}" for row in range(len(directions))]
