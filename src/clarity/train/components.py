"""PCA's fit: exact where the images fit into memory, incremental beyond."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from clarity.errors import ClarityError
from clarity.models.base import at_most
from clarity.train.data import Images

#: Up to so many images (of 64×64×3; fewer larger ones) the fit is exact: a copy in float32 and a
#: centred one take 1 GB.
EXACT = 10_000
#: Up to so many it is a full singular value decomposition; Lanczos (ARPACK) finds the first
#: components of more in a fraction of the time, to the same accuracy.
FULL = 1_000
#: Images of a batch beyond `EXACT`, at least.
BATCH = 2_048


def fit_components(images: Images, latent: int, name: str) -> tuple[Tensor, Tensor]:
    """Mean (D) and the ``latent`` first principal components (latent×D) of images of D numbers.

    Raises:
        ClarityError: more components than images.
    """
    count, shape = len(images), images.shape
    if latent > min(count, shape.elements):
        raise ClarityError(
            f"models.{name}.latent: {latent} components of {count} training images; "
            f"at most {min(count, shape.elements)} are possible"
        )
    exact = count <= at_most(EXACT, shape)
    if exact and count <= max(FULL, latent):
        return _full(_matrix(images, torch.arange(count)), latent)
    from sklearn.decomposition import PCA, IncrementalPCA

    if exact:
        pca = PCA(latent, svd_solver="arpack", random_state=0)
        pca.fit(_matrix(images, torch.arange(count)))
    else:
        pca = IncrementalPCA(latent)
        # No batch may be smaller than the number of components: the rest joins the last one.
        size = max(at_most(BATCH, shape), 2 * latent)
        starts = range(0, max(1, count // size) * size, size)
        for start in starts:
            end = count if start == starts[-1] else start + size
            pca.partial_fit(_matrix(images, torch.arange(start, end)))
    return _tensor(pca.mean_), _tensor(pca.components_)


def _full(matrix: np.ndarray, latent: int) -> tuple[Tensor, Tensor]:
    """Mean and first right singular vectors, each with its largest entry positive.

    Here and not by scikit-learn, whose import takes longer than a few hundred images' fit.
    """
    mean = matrix.mean(axis=0)
    _, _, axes = np.linalg.svd(matrix - mean, full_matrices=False)
    axes = axes[:latent]
    largest = np.take_along_axis(axes, np.abs(axes).argmax(axis=1, keepdims=True), axis=1)
    return _tensor(mean), _tensor(axes * np.sign(largest))


def _matrix(images: Images, rows: Tensor) -> np.ndarray:
    """These images as the rows of one matrix, float32 in [-1, 1]."""
    matrix = np.empty((len(rows), images.shape.elements), dtype=np.float32)
    first = 0
    for x in images.inputs(rows):
        matrix[first : first + len(x)] = x.flatten(1).cpu().numpy()
        first += len(x)
    return matrix


def _tensor(values: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(values, dtype=np.float32))
