"""Pictures as text and bytes: base64 in and out of requests, PNG without a time stamp."""

from __future__ import annotations

import base64
import binascii
import io
from urllib.parse import unquote

import numpy as np
from numpy.typing import NDArray

from clarity.errors import ClarityError
from clarity.layout import Shape

Images = NDArray[np.uint8]

URL_ALPHABET = str.maketrans("-_", "+/")


def png_bytes(image: NDArray[np.uint8]) -> bytes:
    """PNG of an H×W×3 or (grey) H×W×1 uint8 picture."""
    from PIL import Image

    buffer = io.BytesIO()
    plain = image[:, :, 0] if image.shape[2] == 1 else image
    Image.fromarray(np.ascontiguousarray(plain)).save(buffer, format="PNG")
    return buffer.getvalue()


def encode_png(image: NDArray[np.uint8]) -> str:
    """PNG of a picture, in base64: what a request's column ``image`` holds."""
    return base64.b64encode(png_bytes(image)).decode("ascii")


def decode_base64(text: object, where: str, shape: Shape, white: int | None = None) -> Images:
    """A picture of this shape from base64 text.

    Line breaks, the alphabet of URLs, a missing end of ``=`` and a ``data:`` URL are taken too.

    ``where`` names the row in the message of the :class:`ClarityError` that bad input raises.
    """
    if not isinstance(text, str):
        raise ClarityError(f"{where}: expected base64 text, found {type(text).__name__}")
    if text.startswith("data:"):
        text = unquote(text.partition(",")[2])
    text = "".join(text.split()).rstrip("=").translate(URL_ALPHABET)
    try:
        data = base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise ClarityError(
            f"{where}: not base64; send the picture file's bytes in base64"
        ) from None
    return decode_bytes(data, where, shape, white)


def decode_bytes(data: bytes, where: str, shape: Shape, white: int | None = None) -> Images:
    """A picture of this shape from an encoded file's bytes, squared as `preprocess` does it."""
    from clarity.preprocess.images import ImageProblem, decode, to_square

    try:
        return to_square(decode(data, white), shape)
    except ImageProblem as problem:
        raise ClarityError(f"{where}: {problem}; send a PNG, JPEG or the like") from None


def error_map(original: Images, reconstruction: Images) -> Images:
    """H×W×3 heat picture of the squared error, averaged over channels, full scale at 0.25.

    One fixed scale for every picture, so that two maps can be compared; 0.25 is an error of half
    the range in every channel.
    """
    from matplotlib import colormaps

    difference = original.astype(np.float32) - reconstruction.astype(np.float32)
    squared = np.square(difference / 255.0).mean(axis=-1)
    heat: NDArray[np.float64] = colormaps["magma"](np.clip(squared / 0.25, 0, 1))
    return (heat[..., :3] * 255).round().astype(np.uint8)
