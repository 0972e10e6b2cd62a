"""Images in ``.npy`` arrays, alone or in an ``.npz`` archive: checked by their headers, streamed.

Arrays are read a few rows at a time and never held whole.
"""

from __future__ import annotations

import math
import tokenize
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
from numpy.lib import format as npy_format
from numpy.typing import NDArray

from clarity.errors import ClarityError, in_a_line
from clarity.ingest.items import Item, Role
from clarity.scale import ROUNDING, TYPES, is_pixels, other_scale

#: Bytes of an array in memory at a time.
CHUNK = 16 * 2**20
#: A larger image would have to be held in memory whole.
LARGEST = 256 * 2**20
CHANNELS = (1, 3)
#: What reading a broken file, or a broken archive, raises. A header is parsed as Python.
BROKEN = (
    *(ValueError, EOFError, KeyError, RuntimeError, TypeError, OverflowError, MemoryError),
    *(SyntaxError, tokenize.TokenError, zipfile.BadZipFile, zlib.error),
)
READERS = {
    (1, 0): npy_format.read_array_header_1_0,
    (2, 0): npy_format.read_array_header_2_0,
}


@dataclass(frozen=True)
class Array:
    """What the header of a checked ``.npy`` file says."""

    path: Path
    shape: tuple[int, ...]
    dtype: np.dtype
    fortran: bool
    offset: int
    #: Of the array, in an ``.npz`` file.
    member: str | None = None

    @property
    def name(self) -> str:
        """What ids begin with."""
        return self.member or self.path.stem

    @property
    def where(self) -> str:
        """What messages begin with."""
        return f"{self.path}: {self.member}" if self.member else str(self.path)

    @property
    def row_bytes(self) -> int:
        """Bytes of one image."""
        return math.prod(self.shape[1:]) * self.dtype.itemsize

    @property
    def first(self) -> bool:
        """Whether channels come before height and width."""
        return len(self.shape) == 4 and self.shape[3] not in CHANNELS

    def upright(self, image: NDArray) -> NDArray:
        """A row as height×width, or height×width×channels."""
        return image.transpose(1, 2, 0) if self.first else image

    @property
    def notes(self) -> list[str]:
        """What to say aloud: how the sides were read, where they are not N×height×width×3."""
        if len(self.shape) == 4 and not self.first and self.shape[3] == 3:
            return []
        how = "channels first" if self.first else "grey images"
        return [f"{self.where}: read as {how}, because its shape is {sides(self.shape)}"]


def read_header(path: Path, member: str | None = None) -> Array:
    """Check the header and the length of an ``.npy`` file of images, or of one in an ``.npz``.

    Raises:
        ClarityError: what is wrong with it, in one line.
    """
    where = f"{path}: {member}" if member else str(path)
    try:
        with opened(path, member) as (handle, found):
            version = npy_format.read_magic(handle)
            if version not in READERS:
                raise ClarityError(
                    f"{where}: .npy format {version[0]}.{version[1]}; save it with numpy.save"
                )
            shape, fortran, dtype = READERS[version](handle)
            offset = handle.tell()
    except FileNotFoundError:
        raise ClarityError(f"{path}: no such file; data.source npy needs it") from None
    except IsADirectoryError:
        raise ClarityError(f"{path}: a folder, not a .npy file") from None
    except PermissionError:
        raise ClarityError(f"{path}: not readable; change its permissions") from None
    except OSError as error:
        raise ClarityError(f"{where}: not readable ({error.strerror}); save it anew") from None
    except BROKEN as error:
        cause = in_a_line(error, 120)
        raise ClarityError(f"{where}: not a .npy file ({cause}); save it with numpy.save") from None
    if dtype.hasobject:
        raise ClarityError(
            f"{where}: an array of objects, which only pickle can read; save it as uint8"
        )
    if not is_pixels(dtype):
        raise ClarityError(f"{where}: dtype {dtype}; save it as {TYPES}")
    if problem := _unclear(shape):
        raise ClarityError(f"{where}: shape {sides(shape)}; {problem}")
    if min(shape) < 1:
        raise ClarityError(f"{where}: shape {sides(shape)} holds no pixels")
    array = Array(path, shape, dtype, fortran, offset, member)
    if array.row_bytes > LARGEST:
        raise ClarityError(
            f"{where}: images of {sides(shape[1:])} take {array.row_bytes // 2**20} MB each; "
            "make them smaller"
        )
    expected = offset + shape[0] * array.row_bytes
    if found != expected:
        what = "truncated" if found < expected else "longer than its header says"
        raise ClarityError(
            f"{where}: {what}: {found:,} bytes for {shape[0]} images that take {expected:,}; "
            "copy or save it anew"
        )
    return array


@contextmanager
def opened(path: Path, member: str | None) -> Iterator[tuple[IO[bytes], int]]:
    """An ``.npy`` file, or one in an ``.npz`` file, and its bytes."""
    if member is None:
        with path.open("rb") as handle:
            yield handle, path.stat().st_size
        return
    with zipfile.ZipFile(path) as archive, archive.open(f"{member}.npy") as packed:
        yield packed, archive.getinfo(f"{member}.npy").file_size


def sides(shape: tuple[int, ...]) -> str:
    return "×".join(map(str, shape)) or "of a scalar"


def _unclear(shape: tuple[int, ...]) -> str:
    """Why the sides do not say where height, width and channels are; empty where they do."""
    if len(shape) == 3 and shape[2] > 4:
        return ""
    if len(shape) == 4 and (shape[1] in CHANNELS) != (shape[3] in CHANNELS):
        return ""
    both = len(shape) == 4 and shape[1] in CHANNELS
    why = "channels may be its second or its last side; " if both else ""
    return f"{why}images are N×height×width×3, or N×height×width where they are grey"


def read_rows(
    array: Array,
    role: Role,
    labels: list[int] | None,
    groups: list[str] | None,
) -> Iterator[Item]:
    native = array.dtype.newbyteorder("<")
    row = 0
    for chunk in _chunks(array):
        if array.dtype.kind == "f":
            _check_range(array.where, chunk, row)
        for stored in chunk.astype(native, copy=False):
            image = array.upright(stored)
            yield Item(
                id=f"{array.name}/{row}",
                group=groups[row] if groups else "",
                role=role,
                label=labels[row] if labels else None,
                encoding="array",
                dtype=native.name,
                shape="x".join(map(str, image.shape)),
                data=image.tobytes(),
            )
            row += 1


def _chunks(array: Array) -> Iterator[NDArray]:
    """The array in pieces of a few rows, with plain reads: mapped pages would count as memory."""
    count = max(1, CHUNK // array.row_bytes)
    if array.fortran:  # rows are strewn over the file; only a map can gather them
        try:
            mapped = np.load(array.path, mmap_mode="r", allow_pickle=False)
            if array.member:  # of which there is none in an archive: all of it
                mapped = mapped[array.member]
        except (OSError, *BROKEN) as error:
            raise _broken(array, error) from None
        for start in range(0, array.shape[0], count):
            yield np.ascontiguousarray(mapped[start : start + count])
        return
    with opened(array.path, array.member) as (handle, _):
        handle.seek(array.offset)
        for start in range(0, array.shape[0], count):
            rows = min(count, array.shape[0] - start)
            try:
                content = handle.read(rows * array.row_bytes)
            except BROKEN as error:  # what an archive's checksums say
                raise _broken(array, error) from None
            yield np.frombuffer(content, array.dtype).reshape(rows, *array.shape[1:])


def _broken(array: Array, error: Exception) -> ClarityError:
    return ClarityError(f"{array.where}: broken ({in_a_line(error, 120)}); save it anew")


def _check_range(where: str, chunk: NDArray, first: int) -> None:
    """Finite floats outside [0, 1] mean another scale: the whole file is meant otherwise.

    NaN and infinity are the business of ``preprocess``, which rejects those images alone.
    """
    outside = np.isfinite(chunk) & ((chunk < -ROUNDING) | (chunk > 1 + ROUNDING))
    if outside.any():
        row, *_ = np.argwhere(outside)[0]
        finite = chunk[np.isfinite(chunk)]
        problem = other_scale(float(finite.min()), float(finite.max()))
        raise ClarityError(f"{where}: image {first + row}: {problem}")
