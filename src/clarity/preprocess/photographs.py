"""Anomalies that are no such object at all: crops of scikit-learn's two sample photographs.

Their colours are matched to the normal image they stand beside, so that no detector can tell them
by brightness, contrast or hue alone.
"""

from __future__ import annotations

from functools import cache
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from clarity.errors import ClarityError
from clarity.layout import JUDGED_SPLITS, Shape
from clarity.preprocess.images import ImageProblem, Pixels, decode, to_square

NAMES = ("china", "flower")
#: Each photograph is cut into this many rows and columns of cells.
GRID = (4, 6)
#: Crops with less structure are drawn again: mean difference of neighbouring pixels' luma, of 255.
#: Stretched to a face's contrast, an empty sky would show only the traces of its compression.
STRUCTURE = 5.0
ATTEMPTS = 50


@cache
def _photographs() -> tuple[Pixels, ...]:
    """Read where the distribution lies: importing the package takes longer than all the crops."""
    try:
        folder = Path(str(distribution("scikit-learn").locate_file("sklearn/datasets/images")))
        return tuple(decode((folder / f"{name}.jpg").read_bytes()) for name in NAMES)
    except (PackageNotFoundError, OSError, ImageProblem):
        raise ClarityError(
            "preprocess.anomalies.kinds photograph: the package scikit-learn or its sample "
            "photographs are missing; install requirements.txt anew, or leave the kind out"
        ) from None


def photograph(image: Pixels, split: str, rng: np.random.Generator) -> tuple[Pixels, str]:
    """A crop with the colours of ``image``, and the name of the photograph.

    The cells of a photograph are dealt out diagonally to the judged splits: no pixel is in two of
    them, and each sees all parts of the picture.
    """
    number = int(rng.integers(len(NAMES)))
    picture, size = _photographs()[number], len(image)
    best, most = _crop(picture, split, size, rng), -1.0
    candidate = best
    for _ in range(ATTEMPTS):
        found = _structure(candidate)
        if found > most:
            best, most = candidate, found
        if most >= STRUCTURE:
            break
        candidate = _crop(picture, split, size, rng)
    return match_colours(best, image), NAMES[number]


def cell(split: str, number: int, height: int, width: int) -> tuple[slice, slice]:
    """One of the cells of a split in a photograph of that size, as rows and columns of pixels."""
    rows, columns = GRID
    own = [
        (row, column)
        for row in range(rows)
        for column in range(columns)
        if (row + column) % len(JUDGED_SPLITS) == JUDGED_SPLITS.index(split)
    ]
    row, column = own[number % len(own)]
    tall, wide = height // rows, width // columns
    return (
        slice(row * tall, (row + 1) * tall),
        slice(column * wide, (column + 1) * wide),
    )


def _crop(picture: Pixels, split: str, size: int, rng: np.random.Generator) -> Pixels:
    rows, columns = GRID
    number = int(rng.integers(rows * columns // len(JUDGED_SPLITS)))
    part = picture[cell(split, number, *picture.shape[:2])]
    height, width = part.shape[:2]
    # Never smaller than the image, so that nothing is enlarged, but where a cell is hardly larger.
    room = min(height, width)
    side = int(rng.integers(min(size, 2 * room // 3), room + 1))
    top = int(rng.integers(0, height - side + 1))
    left = int(rng.integers(0, width - side + 1))
    crop = part[top : top + side, left : left + side]
    return to_square(crop[:, ::-1] if rng.random() < 0.5 else crop, Shape(size, 3))


def _structure(crop: Pixels) -> float:
    luma = crop.mean(axis=2)
    down, across = np.abs(np.diff(luma, axis=0)).mean(), np.abs(np.diff(luma, axis=1)).mean()
    return float(down + across) / 2


def match_colours(image: Pixels, model: Pixels) -> Pixels:
    """``image`` with the colours of ``model``, both uint8 H×H×3.

    First the linear Monge-Kantorovich map between two Gaussians (Pitié & Kokaram 2007), which
    brings the channels' correlations over; then, in each channel, every value is replaced by the
    model's value of the same rank, so that its histogram is exactly the model's. (The map alone
    leaves less contrast wherever it has to be clipped, and that would give the crops away.) Beside
    a grey model the result is grey.
    """
    source, target = _flat(image), _flat(model)
    covariance = np.cov(source.T) + 1e-3 * np.eye(3)
    root = _root(covariance)
    inverse = np.linalg.inv(root)
    transform = inverse @ _root(root @ np.cov(target.T) @ root) @ inverse
    mapped = (source - source.mean(axis=0)) @ transform.T
    if (model == model[:, :, :1]).all():
        mapped = np.repeat(mapped.mean(axis=1, keepdims=True), 3, axis=1)
    values = np.sort(model.reshape(-1, 3), axis=0)
    ranks = np.argsort(mapped, axis=0, kind="stable")
    matched = np.empty_like(values)
    np.put_along_axis(matched, ranks, values, axis=0)
    return matched.reshape(image.shape)


def _flat(image: Pixels) -> NDArray[np.float64]:
    return image.reshape(-1, 3).astype(np.float64)


def _root(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    """Square root of a symmetric positive semi-definite matrix."""
    values, vectors = np.linalg.eigh(matrix)
    return np.asarray((vectors * np.sqrt(np.clip(values, 0, None))) @ vectors.T)
