"""One picture: decoded, checked and brought to 64×64 RGB, in one stated way.

Used by ``preprocess`` for every image of the data set and by ``clarity score`` for new ones, so
that a model sees what it was trained on. docs/data.md states the rules.
"""

from __future__ import annotations

import io
import warnings

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from clarity.layout import IMAGE_SIZE

#: Larger pictures are refused before a pixel is decoded: about 150 MB of RGB.
MAX_PIXELS = 50_000_000
#: What is decoded. EPS and the like, which start other programs, are not.
FORMATS = ("AVIF", "BMP", "GIF", "JPEG", "JPEG2000", "PNG", "PPM", "TIFF", "WEBP")

Pixels = NDArray[np.uint8]

# Pillow warns from 89 million pixels on; the limit above has refused such a picture by then.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)


class ImageProblem(ValueError):
    """Why an image cannot be used, as a short phrase for ``rejected.csv``."""


def decode(content: bytes) -> Pixels:
    """Decode an encoded picture.

    The first frame, turned as EXIF says; grey repeated over the channels; alpha laid over white;
    16-bit grey scaled by 255/65535; float grey only in [0, 1].

    Returns:
        uint8 H×W×3, RGB.

    Raises:
        ImageProblem: not a picture, truncated, too large, zero size, or not finite.
    """
    if not content:
        raise ImageProblem("empty file")
    try:
        with Image.open(io.BytesIO(content), formats=FORMATS) as image:
            width, height = image.size
            if width * height > MAX_PIXELS:
                raise ImageProblem(_too_large(width, height))
            image.load()
            ImageOps.exif_transpose(image, in_place=True)
            return _rgb(image)
    except ImageProblem:
        raise
    except Image.DecompressionBombError:
        raise ImageProblem(f"more than {MAX_PIXELS:,} pixels") from None
    except UnidentifiedImageError:
        raise ImageProblem("not a picture of a known kind") from None
    except Exception as error:  # decoders of broken bytes raise nearly anything
        cause = " ".join(str(error).split()) or type(error).__name__
        raise ImageProblem(f"broken picture: {cause[:120]}") from None


def from_array(array: NDArray) -> Pixels:
    """Check an array that stands for one image and convert it.

    Args:
        array: uint8, uint16, or float in [0, 1]; H×W (grey) or H×W×C with C of 1 (grey),
            3 (RGB) or 4 (RGB and alpha, laid over white).

    Returns:
        uint8 H×W×3, RGB. Floats are multiplied by 255 and rounded, 16-bit integers scaled.

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
        raise ImageProblem(_too_large(width, height))
    pixels = _to_uint8(array)
    if pixels.ndim == 2:
        pixels = pixels[:, :, None]
    if pixels.shape[2] == 1:
        return np.repeat(pixels, 3, axis=2)
    if pixels.shape[2] == 4:
        return _rgb(Image.fromarray(pixels))
    return pixels


def to_square(image: Pixels) -> Pixels:
    """Cut the largest centred square and resize it.

    Downwards every pixel is the mean of the area it covers (no aliasing); upwards bicubic. An odd
    pixel stays on the right or at the bottom.

    Args:
        image: uint8 H×W×3.

    Returns:
        uint8 64×64×3, C-order.
    """
    height, width = image.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    square = np.ascontiguousarray(image[top : top + side, left : left + side])
    if side == IMAGE_SIZE:
        return square
    how = Image.Resampling.BOX if side > IMAGE_SIZE else Image.Resampling.BICUBIC
    return np.asarray(Image.fromarray(square).resize((IMAGE_SIZE, IMAGE_SIZE), how))


def _rgb(image: Image.Image) -> Pixels:
    if 0 in image.size:
        raise ImageProblem("zero size")
    if image.mode in ("I", "F") or image.mode.startswith("I;"):
        array = np.asarray(image)
        if array.dtype.kind == "i":  # Pillow widens some 16-bit pictures to 32 bits
            if array.min() < 0 or array.max() > 65535:
                raise ImageProblem("32-bit pixels beyond the 16-bit range")
            array = array.astype(np.uint16)
        return np.repeat(_to_uint8(array)[:, :, None], 3, axis=2)
    if image.has_transparency_data:
        picture = image if image.mode == "RGBA" else image.convert("RGBA")
        image = Image.new("RGB", picture.size, "white")
        image.paste(picture, mask=picture.getchannel("A"))
    # Without needless copies: at the limit, each would be another 150 MB.
    return np.array(image if image.mode == "RGB" else image.convert("RGB"))


def _to_uint8(array: NDArray) -> Pixels:
    if array.dtype == np.uint8:
        return array
    if array.dtype == np.uint16:
        # Integer arithmetic with rounding: 65535 is 255, 257 is 1.
        return ((array.astype(np.uint32) * 255 + 32767) // 65535).astype(np.uint8)
    if array.dtype.kind == "f":
        if not np.isfinite(array).all():
            raise ImageProblem("NaN or infinite pixels")
        low, high = float(array.min()), float(array.max())
        if low < 0 or high > 1:
            raise ImageProblem(f"float pixels from {low:g} to {high:g}, not in [0, 1]")
        return np.rint(array.astype(np.float64) * 255).astype(np.uint8)
    raise ImageProblem(f"dtype {array.dtype}, not uint8, uint16 or float in [0, 1]")


def _too_large(width: int, height: int) -> str:
    return f"{width}×{height} is more than {MAX_PIXELS:,} pixels"
