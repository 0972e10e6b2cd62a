"""The samples of an encoded picture, as its file holds them: every door decodes here.

Pillow decodes; what it would lose or turn round on the way is mended here: the low byte of 16-bit
colour, deep pictures whose 0 is white, transparency of deep and of 1-, 2- and 4-bit grey, and the
white that a file states itself. Layouts that would come out wrong are refused.
"""

from __future__ import annotations

import io
import sys
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from clarity.errors import in_a_line

#: Larger pictures are refused before a pixel is decoded: about 150 MB of RGB.
MAX_PIXELS = 50_000_000
#: What is decoded. EPS and the like, which start other programs, are not.
FORMATS = ("AVIF", "BMP", "GIF", "JPEG", "JPEG2000", "PNG", "PPM", "TIFF", "WEBP")
#: TIFF's tags, and two of their values.
BITS, PHOTOMETRIC, PLANAR, FORMAT = 258, 262, 284, 339
ZERO_IS_WHITE, SIGNED = 0, 2
#: What decodes to the byte that the other one drops. "N" is the machine's own order.
OTHER = {"B": "L", "L": "B", "N": "B" if sys.byteorder == "little" else "L"}


class ImageProblem(ValueError):
    """Why an image cannot be used, as a short phrase for ``rejected.csv``."""


@dataclass(frozen=True)
class Samples:
    """What a picture's file holds, turned upright.

    Attributes:
        values: H×W×C, uint8, uint16, int32 or float; C is 1 (grey), 3 (RGB) or 4 (RGB and alpha),
            2 (grey and alpha).
        white: the value that the file itself says is white; None where only its type does.
        inverted: 0 is white.
        frames: whether there are more pictures in the file, after this one.
    """

    values: NDArray
    white: int | None = None
    inverted: bool = False
    frames: bool = False


def read_samples(content: bytes) -> Samples:
    """Decode an encoded picture's first frame, turned as EXIF says.

    Raises:
        ImageProblem: not a picture, truncated, too large, or of a layout that is not read.
    """
    if not content:
        raise ImageProblem("empty file")
    try:
        return _read(content)
    except ImageProblem:
        raise
    except Image.DecompressionBombError:
        raise ImageProblem(f"more than {MAX_PIXELS:,} pixels") from None
    except UnidentifiedImageError:
        raise ImageProblem(_unknown(content)) from None
    except Exception as error:  # decoders of broken bytes raise nearly anything
        cause = in_a_line(error) or type(error).__name__
        raise ImageProblem(f"broken picture: {cause[:120]}") from None


def too_large(width: int, height: int) -> str:
    """The refusal of a picture of that size."""
    return f"{width}×{height} is more than {MAX_PIXELS:,} pixels"


def _read(content: bytes) -> Samples:
    with _open(content) as image:
        width, height = image.size
        if width * height > MAX_PIXELS:
            raise ImageProblem(too_large(width, height))
        tags = _tags(image)
        _refuse_layouts(image, tags)
        raw = _raw_mode(image)
        if image.format == "PPM" and raw == "ppm" and image.mode != "L":
            return _netpbm(content, image)
        if raw[:-1].endswith(";16") and image.mode in ("RGB", "RGBA"):
            return Samples(_sixteen(content, raw), frames=_several(image))
        _upright(image)
        if image.mode in ("I", "F") or image.mode.startswith("I;"):
            return _deep_grey(image, tags)
        return Samples(_eight(content, image), frames=_several(image))


def _open(content: bytes) -> Any:
    return Image.open(io.BytesIO(content), formats=FORMATS)


def _tags(image: Any) -> dict[int, Any]:
    if image.format != "TIFF":
        return {}
    return {key: image.tag_v2.get(key) for key in (BITS, PHOTOMETRIC, PLANAR, FORMAT)}


def _refuse_layouts(image: Any, tags: dict[int, Any]) -> None:
    """TIFFs that Pillow would decode to wrong values without a word."""
    bits = max(tags.get(BITS) or (8,))
    if bits == 8 and SIGNED in (tags.get(FORMAT) or ()):
        raise ImageProblem("a TIFF of signed 8-bit samples; save it as unsigned 8 or 16 bits")
    if bits == 16 and image.mode == "CMYK":
        raise ImageProblem("a TIFF of 16-bit CMYK; save it as RGB")
    if bits == 16 and tags.get(PLANAR) == 2 and len(tags[BITS]) > 1:
        raise ImageProblem("a 16-bit TIFF with a plane for each colour; save its colours together")


def _raw_mode(image: Any) -> str:
    """How the decoder is to read the file's bytes; empty where that is no single word."""
    if not image.tile:
        return ""
    tile = image.tile[0]
    if tile.codec_name == "ppm":
        return "ppm"
    first = tile.args[0] if isinstance(tile.args, tuple) else tile.args
    return first if isinstance(first, str) else ""


def _upright(image: Any) -> Any:
    image.load()
    if image.format != "TIFF":  # loading a TIFF turns it, and its tag would turn it again
        ImageOps.exif_transpose(image, in_place=True)
    return image


def _several(image: Any) -> bool:
    """Whether other frames follow. (A JPEG's are previews and depth maps.)"""
    with suppress(Exception):  # of a broken second frame the first is still fine
        return image.format in ("GIF", "PNG", "TIFF", "WEBP") and bool(image.is_animated)
    return False


def _sixteen(content: bytes, raw: str) -> NDArray[np.uint16]:
    """16-bit colour, H×W×3 or 4: Pillow keeps the high bytes; a second decode gives the low."""

    def decoded(mode: str) -> NDArray[np.uint8]:
        with _open(content) as image:
            image.tile = [
                tile._replace(args=(mode, *tile.args[1:]) if isinstance(tile.args, tuple) else mode)
                for tile in image.tile
            ]
            return np.asarray(_upright(image))

    if raw == "LA;16B":  # four bytes a pixel, read as they are
        return np.ascontiguousarray(decoded("RGBA")).view(">u2").astype(np.uint16)
    premultiplied = raw.startswith("RGBa")
    raw = raw.replace("RGBa", "RGBA")
    deep = decoded(raw).astype(np.uint16)
    deep <<= 8
    deep |= decoded(raw[:-1] + OTHER[raw[-1]])
    if premultiplied:
        colour, alpha = deep[..., :3].astype(np.uint32), deep[..., 3:].astype(np.uint32)
        divided = (colour * 65535 + alpha // 2) // np.maximum(alpha, 1)
        deep[..., :3] = np.minimum(divided, 65535)
    key = _transparency(content)
    if key is not None and deep.shape[2] == 3:
        shown = (deep != np.array(key, np.uint16)).any(axis=2, keepdims=True)
        deep = np.concatenate([deep, shown * np.uint16(65535)], axis=2)
    return deep


def _transparency(content: bytes) -> Any:
    with _open(content) as image:
        return image.info.get("transparency") if image.format == "PNG" else None


def _netpbm(content: bytes, image: Any) -> Samples:
    """Binary PGM or PPM of more than 8 bits; it states its own white."""
    tile = image.tile[0]
    most = int(tile.args[-1])
    width, height = image.size
    channels = 3 if image.mode == "RGB" else 1
    count = width * height * channels
    kind = ">u2" if most > 255 else "u1"
    if len(content) - tile.offset < count * np.dtype(kind).itemsize:
        raise ImageProblem("broken picture: truncated")
    values = np.frombuffer(content, kind, count, tile.offset).reshape(height, width, channels)
    return Samples(values.astype(np.uint16), None if most == 65535 else most)


def _deep_grey(image: Any, tags: dict[int, Any]) -> Samples:
    values = np.asarray(image)
    values = values.astype(values.dtype.newbyteorder("="), copy=False)[:, :, None]
    white = None
    bits, kinds = max(tags.get(BITS) or (16,)), tags.get(FORMAT) or ()
    if values.dtype.kind == "i" and values.min() < 0:
        raise ImageProblem(f"pixels below 0 (down to {values.min()}); save it as unsigned 16 bits")
    if image.format == "TIFF" and values.dtype.kind != "f":
        if bits < 16:
            white = 2**bits - 1
        elif bits == 16 and SIGNED in kinds:
            values = values.astype(np.int16)
    elif image.format == "PPM" and values.dtype.kind == "i":
        values = values.astype(np.uint16)
    key = image.info.get("transparency") if image.format == "PNG" else None
    if isinstance(key, int):
        values = np.concatenate([values, (values != key) * np.uint16(65535)], axis=2)
    inverted = tags.get(PHOTOMETRIC) == ZERO_IS_WHITE
    return Samples(values, white, inverted, _several(image))


def _eight(content: bytes, image: Any) -> NDArray[np.uint8]:
    """Everything else as Pillow has it: H×W×3, or H×W×4 where something is transparent."""
    key = image.info.get("transparency")
    if image.format == "PNG" and image.mode in ("1", "L") and isinstance(key, int):
        # Samples of fewer bits are spread over 0…255, the transparent one is not.
        image.info["transparency"] = key * 255 // (2 ** min(content[24], 8) - 1)
    if image.mode == "La":
        image = image.convert("LA")
    mode = "RGBA" if image.has_transparency_data else "RGB"
    # Without needless copies: at the limit, each would be another 150 MB.
    return np.array(image if image.mode == mode else image.convert(mode))


def _unknown(content: bytes) -> str:
    if content[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        return "a TIFF of a layout that is not read; save it as 8- or 16-bit grey or RGB"
    if content[4:8] == b"ftyp":
        return "HEIC or a film, which are not read; export it as JPEG or PNG"
    return "not a picture of a known kind"
