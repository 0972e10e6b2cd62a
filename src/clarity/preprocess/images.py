"""One picture: checked and brought to the data's size and channels, in one stated way.

Used by ``preprocess`` for every image of the data set and by all that scores new ones, so that a
model sees what it was trained on. docs/data.md states the rules; ``samples`` decodes.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from clarity.layout import Shape
from clarity.preprocess.samples import MAX_PIXELS, ImageProblem, read_samples, too_large
from clarity.scale import TYPES, is_pixels, other_scale

__all__ = ["ImageProblem", "Pixels", "Seen", "decode", "from_array", "to_square", "to_uint8"]

Pixels = NDArray[np.uint8]

#: A set is said to be dark whose brightest value is at most this share of what its type holds.
DARK = 0.25

# Pillow warns from 89 million pixels on; MAX_PIXELS has refused such a picture by then.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)


@dataclass
class Seen:
    """What went by, for what is only to be seen of many pictures together."""

    #: By the largest value of the type: how many pictures, and the brightest value in them.
    brightest: dict[float, tuple[int, float]] = field(default_factory=dict)
    #: Pictures whose file holds more frames.
    frames: int = 0

    def value(self, top: float, value: float, pictures: int = 1) -> None:
        """Note the brightest value of a picture, or of several, that could hold ``top``."""
        count, most = self.brightest.get(top, (0, 0.0))
        self.brightest[top] = count + pictures, max(most, value)

    def add(self, other: Seen) -> None:
        """Note what another one has."""
        for top, (count, most) in other.brightest.items():
            self.value(top, most, count)
        self.frames += other.frames

    def lines(self) -> list[str]:
        """What to say aloud."""
        said = []
        for top, (count, most) in sorted(self.brightest.items()):
            if not 0 < most <= DARK * top:
                continue
            if top == 1:
                mend = "if that is white, divide them by it"
            else:
                bits = int(most).bit_length()
                mend = f"if they hold {bits} bits, set preprocess.white: {2**bits - 1}"
            said.append(
                f"{count} pictures could be as bright as {top:g}, and the brightest value in them "
                f"is {most:g}, so they are almost black; {mend}"
            )
        if self.frames:
            said.append(f"{self.frames} files hold several frames; the first is used")
        return said


def decode(content: bytes, white: int | None = None, seen: Seen | None = None) -> Pixels:
    """Decode an encoded picture.

    The first frame, turned as EXIF says; grey repeated over the channels; alpha laid over white;
    more than 8 bits scaled; float grey only in [0, 1].

    Args:
        content: the file's bytes.
        white: ``preprocess.white``.
        seen: notes what is to be said of all pictures together.

    Returns:
        uint8 H×W×3, RGB.

    Raises:
        ImageProblem: not a picture, truncated, too large, zero size, or not finite.
    """
    samples = read_samples(content)
    if 0 in samples.values.shape:
        raise ImageProblem("zero size")
    if seen is not None:
        seen.frames += samples.frames
    return _rgb(samples.values, white, samples.white, samples.inverted, seen)


def from_array(array: NDArray, white: int | None = None, seen: Seen | None = None) -> Pixels:
    """Check an array that stands for one image and convert it.

    Args:
        array: bool, uint8, uint16, or float in [0, 1]; H×W (grey) or H×W×C with C of 1 (grey),
            3 (RGB) or 4 (RGB and alpha, laid over white).
        white: ``preprocess.white``.
        seen: notes what is to be said of all pictures together.

    Returns:
        uint8 H×W×3, RGB.

    Raises:
        ImageProblem: wrong rank, channels, dtype or size, NaN, infinite or out of range.
    """
    if array.ndim not in (2, 3):
        raise ImageProblem(f"{array.ndim} dimensions, not height, width and channels")
    if array.ndim == 3 and array.shape[2] not in (1, 3, 4):
        raise ImageProblem(f"{array.shape[2]} channels, not 1, 3 or 4")
    if 0 in array.shape:
        raise ImageProblem("zero size")
    height, width = array.shape[:2]
    if height * width > MAX_PIXELS:
        raise ImageProblem(too_large(width, height))
    if not is_pixels(array.dtype):
        raise ImageProblem(f"dtype {array.dtype}, not {TYPES}")
    return _rgb(array if array.ndim == 3 else array[:, :, None], white, seen=seen)


def to_uint8(
    values: NDArray, white: int | None = None, stated: int | None = None, seen: Seen | None = None
) -> Pixels:
    """Samples of any number and shape on the scale 0…255, rounded.

    Booleans are black and white; floats lie in [0, 1]; of integers the type's largest value is
    white (65535 of 32-bit ones), or what the file ``stated`` itself, or ``white`` if smaller.

    Raises:
        ImageProblem: brighter than white, NaN, infinite, or another scale.
    """
    if values.dtype.kind == "b":
        return values.astype(np.uint8) * np.uint8(255)
    if values.dtype.kind == "f":
        return _of_floats(values, seen)
    top = 65535 if values.dtype.itemsize > 2 else int(np.iinfo(values.dtype).max)
    if values.dtype.itemsize > 2 and white is not None:
        top = max(top, white)
    limit = min(stated or top, white or top)
    most = int(values.max())
    if seen is not None:
        seen.value(limit, most)
    if most > limit:
        raise ImageProblem(_too_bright(most, limit, white))
    if values.dtype == np.uint8 and limit == 255:
        return values
    # Integer arithmetic with rounding: of 16 bits, 65535 is 255 and 257 is 1.
    wide = values.astype(np.uint32 if limit <= 65535 else np.uint64)
    pixels: Pixels = ((wide * 255 + limit // 2) // limit).astype(np.uint8)
    return pixels


def to_square(image: Pixels, shape: Shape) -> Pixels:
    """Cut the largest centred square, resize it and, where images are grey, take its luma.

    Downwards every pixel is the mean of the area it covers (no aliasing); upwards bicubic. An odd
    pixel stays on the right or at the bottom.

    Args:
        image: uint8 H×W×3.
        shape: wanted.

    Returns:
        uint8 of that shape, C-order.
    """
    height, width = image.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    square = np.ascontiguousarray(image[top : top + side, left : left + side])
    if side != shape.size:
        how = Image.Resampling.BOX if side > shape.size else Image.Resampling.BICUBIC
        square = np.asarray(Image.fromarray(square).resize((shape.size, shape.size), how))
    return grey(square) if shape.channels == 1 else square


def grey(image: Pixels) -> Pixels:
    """uint8 H×W×1: the luma (ITU-R BT.601) of uint8 H×W×3; of equal channels, their value."""
    return np.asarray(Image.fromarray(image).convert("L"))[:, :, None]


def _rgb(
    values: NDArray,
    white: int | None,
    stated: int | None = None,
    inverted: bool = False,
    seen: Seen | None = None,
) -> Pixels:
    """H×W×C samples as uint8 H×W×3, what is transparent laid over white."""
    channels = values.shape[2]
    clear = channels in (2, 4)
    colour = to_uint8(values[..., :-1] if clear else values, white, stated, seen)
    if inverted:
        colour = 255 - colour
    if colour.shape[2] == 1:
        colour = np.repeat(colour, 3, axis=2)
    if not clear:
        return colour
    alpha = to_uint8(values[..., -1])
    page = Image.new("RGB", (values.shape[1], values.shape[0]), "white")
    page.paste(Image.fromarray(np.ascontiguousarray(colour)), mask=Image.fromarray(alpha))
    return np.array(page)


def _of_floats(values: NDArray, seen: Seen | None) -> Pixels:
    if not np.isfinite(values).all():
        raise ImageProblem("NaN or infinite pixels")
    low, high = float(values.min()), float(values.max())
    problem = other_scale(low, high)
    if problem:
        raise ImageProblem(problem)
    if seen is not None:
        seen.value(1, high)
    pixels: Pixels = np.rint(np.clip(values.astype(np.float64), 0, 1) * 255).astype(np.uint8)
    return pixels


def _too_bright(most: int, limit: int, white: int | None) -> str:
    if white is not None and limit == white:
        return f"holds {most}, brighter than preprocess.white ({white}); raise that"
    if limit == 65535:
        return f"32-bit pixels up to {most}; set preprocess.white to their white, or save 16 bits"
    return f"holds {most}, brighter than the {limit} that its file says is white"
