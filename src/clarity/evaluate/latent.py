"""What the latent space looks like: dimension used, smoothness of paths, collapse, directions."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from clarity.evaluate.forward import decode
from clarity.evaluate.reconstruction import SSIM_REACH, SSIM_SIGMA, gaussian
from clarity.evaluate.spectrum import luma
from clarity.models.base import Autoencoder
from clarity.models.lean import piq

#: A latent element counts as active when the variance of its posterior mean is above this.
ACTIVE = 0.01
#: Below this share of active elements the posterior counts as collapsed.
COLLAPSED = 0.25
#: Faces that the participation ratio is taken of, at most.
MOST_FACES = 2048
#: Distances below this count as no distance.
TINY = 1e-12
#: 1 - HaarPSI of equal images, in float32.
ROUNDING = 1e-6


def participation_ratio(latents: Tensor) -> float:
    """Dimension used: (Σλ)² / Σλ² over the eigenvalues λ of the latents' covariance (M×D), of at
    most `MOST_FACES` of them, evenly spaced.

    Between 1 and min(D, M - 1). Taken without eigenvalues, as tr(C)² / tr(C²), on whichever of
    C and the Gram matrix is smaller; 0 where nothing varies.
    """
    rows = torch.linspace(0, len(latents) - 1, min(MOST_FACES, len(latents)), dtype=torch.float64)
    faces = latents[rows.round().long()].double()
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

    With images x₀ … x_T decoded at equal steps:

    Attributes:
        pixel: T · Σ d²(x_t, x_t+1) / d²(x₀, x_T) with d² the squared error; at least 1, where 1 is
            a straight walk at constant speed. The perceptual path length of Karras et al. 2019
            with pixels for features, relative to the straight way.
        jump: largest step over the mean step, root mean squared error; 1 (equal steps) to T.
        jump_haarpsi: the same with 1 - HaarPSI for the step.
        crossfade: see `crossfade`.
    """

    pixel: list[float]
    jump: list[float]
    jump_haarpsi: list[float]
    crossfade: list[float]


def walk(start: Tensor, end: Tensor, steps: int) -> Tensor:
    """P×(steps+1)×D latents on the straight lines from P×D ``start`` to ``end``."""
    way = torch.linspace(0, 1, steps + 1, device=start.device)[None, :, None]
    return start[:, None] + (end - start)[:, None] * way


def walks(model: Autoencoder, start: Tensor, end: Tensor, steps: int) -> Paths:
    """Measure the walks between P×D latents, a pair at a time."""
    paths = Paths([], [], [], [])
    for latents in walk(start, end, steps):
        images = decode(model, latents)
        squared = (images[1:] - images[:-1]).double().square().flatten(1).sum(1)
        straight = float((images[-1] - images[0]).double().square().sum())
        length = steps * float(squared.sum())
        paths.pixel.append(length / straight if straight > TINY else 1.0)
        paths.jump.append(largest_step(squared.sqrt()))
        paths.jump_haarpsi.append(largest_step(haarpsi_steps(images)))
        paths.crossfade.append(crossfade(images))
    return paths


def haarpsi_steps(images: Tensor) -> Tensor:
    """1 - HaarPSI (Reisenhofer et al. 2018) of each image and the next: N - 1, float64, on [0, 1].

    What rounding alone makes of two equal images, below 10⁻⁶, counts as no step.
    """
    apart = 1 - piq("haarpsi").haarpsi(images[1:], images[:-1], reduction="none").double()
    return torch.where(apart > ROUNDING, apart, 0.0)


def largest_step(steps: Tensor) -> float:
    """The largest of T steps over their mean: 1 where all are equal, T where one is all of it.

    1 also where nothing moves.
    """
    mean = float(steps.mean())
    return float(steps.max()) / mean if mean > TINY else 1.0


def crossfade(images: Tensor) -> float:
    """How far a walk (T+1)×3×H×W is the straight blend of its ends' pixels: 1 it is, 0 it is not.

    With E the power of detail (luma less its Gaussian blur), which is a quadratic form, and t the
    share of the way: Σ [(1-t) E(x₀) + t E(x_T) - E(x_t)] / Σ t(1-t) E(x_T - x₀) over the images in
    between. Two faces shining through each other lose detail where they differ; the denominator is
    what their blend loses, so that a blend scores 1 exactly. Pictures in between with as much
    detail as the ends score 0, sharper ones less, and emptier ones than a blend above 1.

    1 where there is nothing in between or the ends are alike.
    """
    grey = luma(images)
    low, high = (gaussian(size, SSIM_SIGMA, SSIM_REACH).to(grey.device) for size in grey.shape[1:])
    fine = (grey - low.T @ grey @ high).double()
    way = torch.linspace(0, 1, len(images), dtype=torch.float64, device=grey.device)[1:-1]
    power = fine.square().mean((1, 2))
    lost = ((1 - way) * power[0] + way * power[-1] - power[1:-1]).sum()
    whole = (way * (1 - way)).sum() * (fine[-1] - fine[0]).square().mean()
    return float(lost / whole) if whole > TINY else 1.0


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
