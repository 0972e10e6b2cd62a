"""Synthetic anomalies, by kind, each from one normal image of the same split.

Every anomaly has a random generator of its own, seeded by (seed, split, kind, row), so that
dropping a kind or adding images changes no other anomaly. docs/data.md describes the kinds.
"""

from __future__ import annotations

import colorsys
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from clarity.layout import SPLITS
from clarity.preprocess.images import Pixels
from clarity.preprocess.photographs import photograph

#: Order in the arrays, and the number that seeds a kind: append, never reorder.
KINDS = ("cutpaste", "occlusion", "shuffled", "inverted", "photograph")
MASKED = ("cutpaste", "occlusion")
#: An anomaly differs from its image by at least this, on average over its mask (else over the
#: picture), of 255: less is the same picture to whoever looks at it.
DIFFERENT = 1.0
#: An attempt whose patch hardly differs from what it covers (mean |difference|, of 255) is redone.
VISIBLE = 12.0
ATTEMPTS = 20
#: Patches of a side that `shuffled` cuts.
PATCHES = 4

Mask = NDArray[np.uint8]


@dataclass(frozen=True)
class Anomaly:
    """``image``: uint8 H×H×C. ``mask``: uint8 0/1 H×H, None where the kind has none."""

    image: Pixels
    mask: Mask | None = None
    #: The photograph it was cut from; None where it belongs to the normal image's group.
    group: str | None = None


def generator(seed: int, split: str, kind: str, row: int) -> np.random.Generator:
    """The random generator of one anomaly."""
    return np.random.default_rng([seed, SPLITS.index(split), KINDS.index(kind), row])


def make(kind: str, image: Pixels, split: str, row: int, seed: int) -> Anomaly | None:
    """One anomaly from the normal image at ``row`` of ``split``.

    Returns:
        The anomaly, or None where the kind cannot change this image by ``DIFFERENT`` (a patch of a
        blank picture moved within it, a symmetric picture turned, say).
    """
    rng = generator(seed, split, kind, row)
    colours = image.shape[2]
    # The kinds are made in colour; of a grey image all three channels stay the same.
    coloured = np.repeat(image, 3, axis=2) if colours == 1 else image
    if kind == "photograph":
        crop, name = photograph(coloured, split, rng)
        made = Anomaly(crop, group=name)
    else:
        made = _MAKERS[kind](coloured, rng)
    if colours == 1:
        made = replace(made, image=np.ascontiguousarray(made.image[:, :, :1]))
    changed = np.abs(made.image.astype(np.int16) - image)
    where = slice(None) if made.mask is None else made.mask.astype(bool)
    return made if changed[where].mean() >= DIFFERENT else None


def cutpaste(image: Pixels, rng: np.random.Generator) -> Anomaly:
    """A rectangle cut out, its colours jittered, and pasted elsewhere (CutPaste, Li et al. 2021).

    As there: 2 to 15 % of the area, aspect ratio in [0.3, 1) or (1, 3.3], jitter of up to 0.1 in
    brightness, contrast, saturation and hue.
    """

    def attempt() -> tuple[Pixels, Mask]:
        height, width = _rectangle(rng, len(image), 0.02, 0.15)
        from_y, from_x = _corner(rng, len(image), height, width)
        patch = _jitter(image[from_y : from_y + height, from_x : from_x + width], rng)
        return _paste(image, patch, _corner(rng, len(image), height, width))

    return _most_visible(image, attempt)


def occlusion(image: Pixels, rng: np.random.Generator) -> Anomaly:
    """A rectangle of 5 to 20 % of the area covered with one colour that occurs in the image."""

    def attempt() -> tuple[Pixels, Mask]:
        height, width = _rectangle(rng, len(image), 0.05, 0.20)
        colour = image[tuple(rng.integers(0, len(image), 2))]
        patch = np.broadcast_to(colour, (height, width, 3))
        return _paste(image, patch, _corner(rng, len(image), height, width))

    return _most_visible(image, attempt)


def shuffled(image: Pixels, rng: np.random.Generator) -> Anomaly:
    """The sixteen patches of a quarter's side in another order, none of them in its place."""
    side, patch = PATCHES, len(image) // PATCHES
    tiles = image.reshape(side, patch, side, patch, 3).swapaxes(1, 2).reshape(-1, patch, patch, 3)
    identity = np.arange(len(tiles))
    order = rng.permutation(len(tiles))
    while (order == identity).any():
        order = rng.permutation(len(tiles))
    mixed = tiles[order].reshape(side, side, patch, patch, 3).swapaxes(1, 2)
    return Anomaly(np.ascontiguousarray(mixed.reshape(image.shape)))


def inverted(image: Pixels, rng: np.random.Generator) -> Anomaly:
    """Upside-down: turned by 180°."""
    return Anomaly(np.ascontiguousarray(image[::-1, ::-1]))


_MAKERS: dict[str, Callable[[Pixels, np.random.Generator], Anomaly]] = {
    "cutpaste": cutpaste,
    "occlusion": occlusion,
    "shuffled": shuffled,
    "inverted": inverted,
}


def _rectangle(rng: np.random.Generator, side: int, least: float, most: float) -> tuple[int, int]:
    """Height and width of a rectangle with a share of a square's area in [least, most]."""
    area = rng.uniform(least, most) * side**2
    aspect = rng.uniform(0.3, 1.0) if rng.random() < 0.5 else rng.uniform(1.0, 3.3)
    height, width = (area * aspect) ** 0.5, (area / aspect) ** 0.5
    return int(np.clip(round(height), 2, side)), int(np.clip(round(width), 2, side))


def _corner(rng: np.random.Generator, side: int, height: int, width: int) -> tuple[int, int]:
    return int(rng.integers(0, side - height + 1)), int(rng.integers(0, side - width + 1))


def _paste(image: Pixels, patch: NDArray[np.uint8], corner: tuple[int, int]) -> tuple[Pixels, Mask]:
    (top, left), (height, width) = corner, patch.shape[:2]
    changed = image.copy()
    changed[top : top + height, left : left + width] = patch
    mask = np.zeros(image.shape[:2], np.uint8)
    mask[top : top + height, left : left + width] = 1
    return changed, mask


def _most_visible(image: Pixels, attempt: Callable[[], tuple[Pixels, Mask]]) -> Anomaly:
    """The first attempt that differs enough under its mask, else the one that differs most."""
    best, best_difference = attempt(), -1.0
    candidate = best
    for _ in range(ATTEMPTS):
        changed, mask = candidate
        inside = mask.astype(bool)
        difference = np.abs(changed[inside].astype(np.int16) - image[inside]).mean()
        if difference > best_difference:
            best, best_difference = candidate, float(difference)
        if difference >= VISIBLE:
            break
        candidate = attempt()
    return Anomaly(*best)


def _jitter(patch: Pixels, rng: np.random.Generator, strength: float = 0.1) -> Pixels:
    """Brightness, contrast, saturation and hue changed by up to ``strength`` each."""
    brightness, contrast, saturation = rng.uniform(1 - strength, 1 + strength, 3)
    hue = rng.uniform(-strength, strength)
    colours = patch.astype(np.float64) / 255 * brightness
    colours = (colours - colours.mean()) * contrast + colours.mean()
    luma = colours @ np.array([0.299, 0.587, 0.114])
    colours = luma[..., None] + (colours - luma[..., None]) * saturation
    # A turn of the hue is linear in YIQ; grey stays grey.
    basis = np.array([colorsys.rgb_to_yiq(*unit) for unit in np.eye(3)]).T
    cosine, sine = np.cos(2 * np.pi * hue), np.sin(2 * np.pi * hue)
    turn = np.array([[1, 0, 0], [0, cosine, -sine], [0, sine, cosine]])
    colours = colours @ (np.linalg.inv(basis) @ turn @ basis).T
    pixels: Pixels = np.rint(np.clip(colours, 0, 1) * 255).astype(np.uint8)
    return pixels
