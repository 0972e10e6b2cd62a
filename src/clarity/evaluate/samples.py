"""Faces that nobody has: drawn from a VAE's prior or from a density fitted to an AE's latents."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from clarity.evaluate.spectrum import luma, ring_power, transform

Floats = NDArray[np.float64]

#: Latents beyond this many elements get no density: a fit would say nothing.
MOST_ELEMENTS = 512
#: Training latents that a component of the mixture needs for each element of the latent.
FACES_PER_ELEMENT = 2
#: Nats a latent by which a step of the fit must gain, to take another: a tenth of this doubles the
#: steps and gains unseen latents 0.02 of 88 nats (64 elements, 4,096 latents).
SETTLED = 0.01
#: Principal components of faces that the Fréchet distance compares, at most.
FEATURES = 64
#: Side of the grey pictures they are taken of.
SIDE = 32
#: A face's reach is the distance to this many neighbours (Kynkäänniemi et al. 2019).
NEIGHBOURS = 3


def prior_latents(count: int, size: int, seed: int) -> Tensor:
    """Draws from N(0, I), count×size."""
    return torch.randn(count, size, generator=torch.Generator().manual_seed(seed))


def mixture_latents(latents: Tensor, count: int, components: int, seed: int) -> tuple[Tensor, int]:
    """Draws from a Gaussian mixture fitted to M×D training latents (Ghosh et al. 2020).

    Full covariances in standardised coordinates, with at least `FACES_PER_ELEMENT` × D latents to a
    component: fewer faces mean fewer components, down to a single Gaussian.

    Returns:
        count×D latents, and the number of components used.
    """
    from sklearn.mixture import GaussianMixture

    data = latents.double().numpy()
    used = max(1, min(components, len(data) // (FACES_PER_ELEMENT * data.shape[1])))
    mean, spread = data.mean(0), data.std(0)
    spread[spread == 0] = 1
    mixture = GaussianMixture(used, tol=SETTLED, reg_covar=1e-3, random_state=seed, max_iter=200)
    mixture.fit((data - mean) / spread)
    drawn, _ = mixture.sample(count)
    # Rows come sorted by component.
    drawn = drawn[np.random.default_rng(seed).permutation(count)]
    return torch.from_numpy(drawn * spread + mean).float(), used


def sharpness(images: Tensor) -> Tensor:
    """Variance of the Laplacian of the luma (Pech-Pacheco et al. 2000): N, on [0, 255]², float64.

    Images are N×C×H×W on [0, 1]; the four-neighbour Laplacian where it fits.
    """
    grey = luma(images.double()) * 255
    inner = grey[:, 1:-1, 1:-1]
    around = grey[:, :-2, 1:-1] + grey[:, 2:, 1:-1] + grey[:, 1:-1, :-2] + grey[:, 1:-1, 2:]
    return (around - 4 * inner).flatten(1).var(1, correction=0)


def high_frequency_db(images: Tensor) -> Tensor:
    """Mean log power above a quarter of Nyquist, N, dB."""
    return ring_power(transform(luma(images))).mean(1)


def thumbnails(images: Tensor) -> Floats:
    """N×C×H×H on [0, 1] as grey `SIDE`×`SIDE` pictures, flattened: N×SIDE²."""
    grey = torch.nn.functional.adaptive_avg_pool2d(luma(images)[:, None], SIDE)
    small: Floats = grey.flatten(1).double().cpu().numpy()
    return small


class Features:
    """Principal components of training faces, the features of the Fréchet distance.

    Args:
        faces: `thumbnails` of training faces.
        smallest: the smallest set to be compared; no more than a quarter of it is kept as
            components, so that covariances can be estimated.
    """

    def __init__(self, faces: Floats, smallest: int) -> None:
        from sklearn.decomposition import PCA

        count = max(1, min(FEATURES, smallest // 4, *faces.shape))
        solver = "randomized" if min(faces.shape) > 4 * count else "full"
        self.pca = PCA(count, svd_solver=solver, random_state=0).fit(faces)
        self.count = count

    def __call__(self, pictures: Floats) -> Floats:
        features: Floats = self.pca.transform(pictures)
        return features


def frechet_distance(a: Floats, b: Floats) -> float:
    """|μa - μb|² + tr(Ca + Cb - 2 (Ca Cb)^½) of two sets of features, N×K and M×K; at least 0.

    The Fréchet distance of two Gaussians (Dowson & Landau 1982), as in Heusel et al. 2017 but on
    features of its own: it is no FID.
    """
    mean = np.square(a.mean(0) - b.mean(0)).sum()
    first, second = (np.atleast_2d(np.cov(x, rowvar=False)) for x in (a, b))
    # Eigenvalues of a product of two positive semi-definite matrices are real and not negative.
    roots = np.sqrt(np.clip(np.linalg.eigvals(first @ second).real, 0, None)).sum()
    return max(0.0, float(mean + first.trace() + second.trace() - 2 * roots))


def precision_recall(made: Floats, real: Floats) -> tuple[float, float]:
    """Shares of N×K samples among real faces (M×K), and of real faces among samples, on [0, 1].

    A point lies among a set if it is within the reach of one of its members: the distance from the
    member to its third nearest neighbour in its own set (Kynkäänniemi et al. 2019). Precision says
    how many samples look like somebody, recall how many people the samples reach.
    """
    from scipy.spatial.distance import cdist

    def reach(points: Floats) -> Floats:
        near = np.sort(cdist(points, points), axis=1)
        farthest: Floats = near[:, min(NEIGHBOURS, len(points) - 1)]
        return farthest

    apart = cdist(made, real)
    precision = (apart <= reach(real)[None, :]).any(1).mean()
    recall = (apart <= reach(made)[:, None]).any(0).mean()
    return float(precision), float(recall)
