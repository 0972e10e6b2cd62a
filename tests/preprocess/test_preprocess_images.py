"""One picture to 64×64 RGB: the stated rules, and every reason for a reject."""

from __future__ import annotations

import io

import numpy as np
import pytest
from data_helpers import SHAPE, random_images
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from clarity.layout import Shape
from clarity.preprocess.images import ImageProblem, decode, from_array, to_square


def encoded(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


PIXELS = random_images(1, (6, 9))[0]
GREY = PIXELS[..., 0]


def test_rgb_comes_back_as_it_is() -> None:
    np.testing.assert_array_equal(decode(encoded(Image.fromarray(PIXELS))), PIXELS)


@pytest.mark.parametrize("kind", ["PNG", "PPM", "TIFF", "BMP", "GIF"])
def test_grey_is_repeated_over_the_channels(kind: str) -> None:
    decoded = decode(encoded(Image.fromarray(GREY), kind))
    np.testing.assert_array_equal(decoded, np.repeat(GREY[..., None], 3, axis=2))


def test_alpha_is_laid_over_white() -> None:
    rgba = np.dstack([PIXELS, np.zeros_like(GREY)])
    rgba[0, 0, 3] = 255
    decoded = decode(encoded(Image.fromarray(rgba)))
    np.testing.assert_array_equal(decoded[0, 0], PIXELS[0, 0])
    assert (decoded.reshape(-1, 3)[1:] == 255).all()
    np.testing.assert_array_equal(from_array(rgba), decoded)


def test_palette_with_transparency_is_laid_over_white() -> None:
    image = Image.new("P", (4, 4), 0)
    image.putpalette([10, 20, 30] * 256)
    assert (decode(encoded(image, transparency=0)) == 255).all()
    assert (decode(encoded(image)) == [10, 20, 30]).all()


def test_sixteen_bits_are_scaled_to_eight() -> None:
    deep = np.array([[0, 257, 32768, 65535]], np.uint16)
    expected = [0, 1, 128, 255]
    for kind in ("PNG", "TIFF", "PPM"):
        np.testing.assert_array_equal(
            decode(encoded(Image.fromarray(deep), kind))[0, :, 0], expected
        )
    np.testing.assert_array_equal(from_array(deep)[0, :, 2], expected)


def test_cmyk_jpeg_becomes_rgb() -> None:
    assert decode(encoded(Image.new("CMYK", (8, 8)), "JPEG")).shape == (8, 8, 3)


@pytest.mark.parametrize(
    ("orientation", "turned"),
    [
        (1, lambda a: a),
        (2, lambda a: a[:, ::-1]),
        (3, lambda a: a[::-1, ::-1]),
        (6, lambda a: np.rot90(a, -1)),
        (8, lambda a: np.rot90(a, 1)),
    ],
)
def test_exif_orientation_is_applied(orientation: int, turned) -> None:  # type: ignore[no-untyped-def]
    image = Image.fromarray(PIXELS)
    exif = Image.Exif()
    exif[0x0112] = orientation
    np.testing.assert_array_equal(decode(encoded(image, exif=exif)), turned(PIXELS))


def test_float_pictures_must_lie_in_the_unit_interval() -> None:
    fine = np.array([[0.0, 0.5, 1.0]], np.float32)
    np.testing.assert_array_equal(
        decode(encoded(Image.fromarray(fine), "TIFF"))[0, :, 0], [0, 128, 255]
    )
    for wrong in (np.nan, np.inf, 1.5, -0.1):
        with pytest.raises(ImageProblem, match=r"NaN|infinite|not in \[0, 1\]"):
            decode(encoded(Image.fromarray(np.full((2, 2), wrong, np.float32)), "TIFF"))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty file"),
        (b"hello", "not a picture"),
        (encoded(Image.fromarray(random_images(1)[0]))[:3000], "broken picture"),
        (encoded(Image.new("L", (8000, 7000))), "8000×7000 is more than"),
    ],
)
def test_bytes_that_are_no_usable_picture(content: bytes, reason: str) -> None:
    with pytest.raises(ImageProblem, match=reason):
        decode(content)


@given(st.binary(max_size=200), st.integers(0, 400))
@settings(max_examples=150, deadline=None)
def test_damaged_bytes_never_raise_anything_else(noise: bytes, where: int) -> None:
    content = bytearray(encoded(Image.fromarray(PIXELS), "JPEG"))
    content[where : where + len(noise)] = noise
    try:
        decoded = decode(bytes(content))
    except ImageProblem:
        return
    assert decoded.dtype == np.uint8
    assert decoded.ndim == 3


@pytest.mark.parametrize(
    ("array", "reason"),
    [
        (np.zeros((4,), np.uint8), "1 dimensions"),
        (np.zeros((4, 4, 5), np.uint8), "5 channels"),
        (np.zeros((0, 4, 3), np.uint8), "zero size"),
        (np.zeros((4, 4, 3), np.int32), "dtype int32"),
        (np.full((4, 4, 3), np.nan), "NaN"),
        (np.full((4, 4, 3), 2.0), "not in"),
        (np.broadcast_to(np.uint8(0), (9000, 9000, 3)), "more than"),
    ],
)
def test_arrays_that_are_no_image(array: np.ndarray, reason: str) -> None:
    with pytest.raises(ImageProblem, match=reason):
        from_array(array)


def test_square_is_the_centre() -> None:
    wide = np.zeros((64, 100, 3), np.uint8)
    wide[:, 18:82] = PIXELS[0, 0]
    assert (to_square(wide, SHAPE) == PIXELS[0, 0]).all()
    assert (to_square(wide.swapaxes(0, 1), SHAPE) == PIXELS[0, 0]).all()
    assert to_square(PIXELS, SHAPE).shape == (64, 64, 3)
    assert to_square(PIXELS, Shape(96, 1)).shape == (96, 96, 1)
    one_shade = np.repeat(random_images(1, (32, 32))[0][..., :1], 3, axis=2)
    np.testing.assert_array_equal(to_square(one_shade, Shape(32, 1)), one_shade[..., :1])


def test_shrinking_averages_areas() -> None:
    large = random_images(1, (128, 128))[0]
    areas = large.reshape(64, 2, 64, 2, 3).mean(axis=(1, 3))
    # Rounded twice, once in each direction.
    np.testing.assert_allclose(to_square(large, SHAPE), areas, atol=1.01)


def test_image_of_the_right_size_is_untouched() -> None:
    image = random_images(1)[0]
    np.testing.assert_array_equal(to_square(image, SHAPE), image)
