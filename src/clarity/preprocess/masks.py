"""Masks that a source brings, brought to the pictures' square by the pictures' own geometry."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from clarity.errors import ClarityError
from clarity.preprocess.images import ImageProblem
from clarity.preprocess.items import RawItem
from clarity.preprocess.samples import read_samples

#: A pixel of which at least this share is anomalous is anomalous.
HALF = 0.5
JPEG = b"\xff\xd8"


class CutAwayError(Exception):
    """What the mask marks lies outside the centred square that is kept of the picture."""


def plane(item: RawItem, size: int) -> NDArray[np.uint8] | None:
    """The mask of an item: uint8 0/1, size×size; None where it marks nothing.

    A pixel is marked that is not black (in a JPEG: brighter than half its brightest). Each pixel of
    the square is anomalous if half of the area that it covers is marked; if that leaves none, those
    are of which most is.

    Raises:
        ClarityError: the mask is broken, or of another size than its picture.
        CutAwayError: the square shows nothing of what is marked.
    """
    assert item.mask is not None
    try:
        marked = _marked(item.mask)
    except ImageProblem as problem:
        raise ClarityError(
            f"{item.id}: its mask cannot be read ({problem}); save it anew"
        ) from None
    height, width = _shape(item)
    if marked.shape != (height, width):
        raise ClarityError(
            f"{item.id}: its mask is {marked.shape[1]}×{marked.shape[0]} pixels, the picture "
            f"{width}×{height}; save the mask in the picture's size"
        )
    if not marked.any():
        return None
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    square = marked[top : top + side, left : left + side]
    if not square.any():
        raise CutAwayError
    if side != size:
        how = Image.Resampling.BOX if side > size else Image.Resampling.NEAREST
        picture = Image.fromarray(square.astype(np.float32))
        share = np.asarray(picture.resize((size, size), how))
        # The mean of a single marked pixel of very many is not told from 0 by its rounding.
        square = share >= min(HALF, float(share.max()))
    return np.ascontiguousarray(square, np.uint8)


def _marked(content: bytes) -> NDArray[np.bool_]:
    """H×W, from a picture of any kind; what is transparent is not marked."""
    values = read_samples(content).values
    if values.shape[2] in (2, 4):
        values = values[..., :-1] * (values[..., -1:] > 0)
    brightness = values.max(axis=2)
    line = brightness.max() / 2 if content.startswith(JPEG) else 0
    marked: NDArray[np.bool_] = brightness > line
    return marked


def _shape(item: RawItem) -> tuple[int, int]:
    """Height and width of an item's picture, before it is cut."""
    if item.encoding == "array":
        height, width = item.shape.split("x")[:2]
        return int(height), int(width)
    shape = read_samples(item.data).values.shape
    return int(shape[0]), int(shape[1])
