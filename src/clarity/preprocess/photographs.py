"""Anomalies that are no such object at all: crops of scikit-learn's two sample photographs.

Their colours are matched to the normal image they stand beside, so that no detector can tell them
by brightness, contrast or hue alone.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

from clarity.layout import IMAGE_SIZE, JUDGED_SPLITS
from clarity.preprocess.images import Pixels, to_square

NAMES = ("china", "flower")
#: Crops flatter than this (standard deviation of the luma, of 255) are drawn again.
CONTRAST = 25.0
ATTEMPTS = 20


@cache
def _photographs() -> tuple[Pixels, ...]:
    from sklearn.datasets import load_sample_image

    return tuple(np.asarray(load_sample_image(f"{name}.jpg")) for name in NAMES)


def photograph(image: Pixels, split: str, rng: np.random.Generator) -> tuple[Pixels, str]:
    """A crop with the colours of ``image``, and the name of the photograph.

    Each judged split cuts from a vertical third of its own, so that no pixel is in two splits.
    """
    number = int(rng.integers(len(NAMES)))
    picture = _photographs()[number]
    third = picture.shape[1] // len(JUDGED_SPLITS)
    strip = picture[:, JUDGED_SPLITS.index(split) * third :][:, :third]
    best, best_contrast = _crop(strip, rng), -1.0
    candidate = best
    for _ in range(ATTEMPTS):
        contrast = float(candidate.mean(axis=2).std())
        if contrast > best_contrast:
            best, best_contrast = candidate, contrast
        if contrast >= CONTRAST:
            break
        candidate = _crop(strip, rng)
    return match_colours(best, image), NAMES[number]


def _crop(strip: Pixels, rng: np.random.Generator) -> Pixels:
    height, width = strip.shape[:2]
    side = int(rng.integers(IMAGE_SIZE, width + 1))
    top = int(rng.integers(0, height - side + 1))
    left = int(rng.integers(0, width - side + 1))
    crop = strip[top : top + side, left : left + side]
    return to_square(crop[:, ::-1] if rng.random() < 0.5 else crop)


def match_colours(image: Pixels, model: Pixels) -> Pixels:
    """``image`` with the mean and the covariance of ``model``'s channels.

    The linear Monge-Kantorovich map between two Gaussians (Pitié & Kokaram 2007). Beside a grey
    model the covariance has rank one, and the result is grey too.
    """
    source, target = _flat(image), _flat(model)
    covariance = np.cov(source.T) + 1e-3 * np.eye(3)
    root = _root(covariance)
    inverse = np.linalg.inv(root)
    transform = inverse @ _root(root @ np.cov(target.T) @ root) @ inverse
    matched = (source - source.mean(axis=0)) @ transform.T + target.mean(axis=0)
    if (model == model[:, :, :1]).all():
        matched[:] = matched.mean(axis=1, keepdims=True)
    pixels: Pixels = np.rint(np.clip(matched, 0, 255)).astype(np.uint8)
    return pixels.reshape(image.shape)


def _flat(image: Pixels) -> NDArray[np.float64]:
    return image.reshape(-1, 3).astype(np.float64)


def _root(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    """Square root of a symmetric positive semi-definite matrix."""
    values, vectors = np.linalg.eigh(matrix)
    return np.asarray((vectors * np.sqrt(np.clip(values, 0, None))) @ vectors.T)
