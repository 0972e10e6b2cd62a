"""``.npy`` arrays: ``trainingset.npy`` and, if there are any, its companions in one folder.

======================== ==========================================================
``trainingset.npy``      N×H×W×3, bool, uint8, uint16 or float in [0, 1]: the pool
``testingset.npy``       the same: the source's own test set
``testingset_labels.csv``  ``ID,anomaly``: 0 or 1 for every row of the test set
``trainingset_groups.csv``, ``testingset_groups.csv``  ``ID,group``: the person of every row
======================== ==========================================================

``ID`` is the row's number from 0. Arrays are read a few rows at a time and never held whole.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
from numpy.lib import format as npy_format
from numpy.typing import NDArray

from clarity.errors import ClarityError
from clarity.files import sha256_file
from clarity.ingest.items import Item, Source
from clarity.scale import ROUNDING, TYPES, is_pixels, other_scale

TRAINING, TESTING = "trainingset", "testingset"
#: Bytes of an array in memory at a time.
CHUNK = 16 * 2**20
#: A larger image would have to be held in memory whole.
LARGEST = 256 * 2**20
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

    @property
    def row_bytes(self) -> int:
        """Bytes of one image."""
        return math.prod(self.shape[1:]) * self.dtype.itemsize


def open_source(folder: str) -> Source:
    """Check everything but the pixels at once; then stream the images.

    Raises:
        ClarityError: a file is missing, truncated, of another kind, or does not fit the others.
    """
    root = Path(folder)
    if not root.is_dir():
        raise ClarityError(f"data.path {folder}: no such folder; put {TRAINING}.npy into it")
    training = read_header(root / f"{TRAINING}.npy")
    sets: list[tuple[Array, Literal["pool", "test"], list[int] | None, list[str] | None]] = [
        (training, "pool", None, _groups(root, TRAINING, training.shape[0]))
    ]
    used = [training.path, root / f"{TRAINING}_groups.csv"]
    notes = []
    companions = [root / f"{TESTING}_labels.csv", root / f"{TESTING}_groups.csv"]
    if (root / f"{TESTING}.npy").exists():
        testing = read_header(root / f"{TESTING}.npy")
        labels = _labels(companions[0], testing.shape[0])
        sets.append((testing, "test", labels, _groups(root, TESTING, testing.shape[0])))
        used += [testing.path, *companions]
    else:
        for path in companions:
            if path.exists():
                raise ClarityError(
                    f"{path}: there is no {TESTING}.npy beside it; add that, or remove this file"
                )
        notes.append(f"no {TESTING}.npy in {folder}: the test split is cut from {TRAINING}.npy")
    return Source(
        items=(item for one in sets for item in _rows(*one)),
        licence="the user's own data; not stated",
        credit="not stated",
        inputs={path.name: sha256_file(path) for path in used if path.exists()},
        total=sum(array.shape[0] for array, *_ in sets),
        notes=notes,
    )


def read_header(path: Path) -> Array:
    """Check the header and the length of a ``.npy`` file of images.

    Raises:
        ClarityError: what is wrong with it, in one line.
    """
    try:
        with path.open("rb") as handle:
            version = npy_format.read_magic(handle)
            if version not in READERS:
                raise ClarityError(
                    f"{path}: .npy format {version[0]}.{version[1]}; save it with numpy.save"
                )
            shape, fortran, dtype = READERS[version](handle)
            offset = handle.tell()
    except FileNotFoundError:
        raise ClarityError(f"{path}: no such file; data.source npy needs it") from None
    except IsADirectoryError:
        raise ClarityError(f"{path}: a folder, not a .npy file") from None
    except PermissionError:
        raise ClarityError(f"{path}: not readable; change its permissions") from None
    except (ValueError, EOFError) as error:
        cause = " ".join(str(error).split())[:120]
        raise ClarityError(f"{path}: not a .npy file ({cause}); save it with numpy.save") from None
    if dtype.hasobject:
        raise ClarityError(
            f"{path}: an array of objects, which only pickle can read; save it as uint8"
        )
    if not is_pixels(dtype):
        raise ClarityError(f"{path}: dtype {dtype}; save it as {TYPES}")
    if len(shape) != 4 or shape[3] != 3:
        hint = " (channels last)" if len(shape) == 4 and shape[1] == 3 else ""
        raise ClarityError(
            f"{path}: shape {'×'.join(map(str, shape)) or 'of a scalar'}; "
            f"images are N×height×width×3{hint}"
        )
    if 0 in shape:
        raise ClarityError(f"{path}: shape {'×'.join(map(str, shape))} holds no pixels")
    array = Array(path, shape, dtype, fortran, offset)
    if array.row_bytes > LARGEST:
        raise ClarityError(
            f"{path}: images of {shape[1]}×{shape[2]} take {array.row_bytes // 2**20} MB each; "
            "make them smaller"
        )
    expected = offset + shape[0] * array.row_bytes
    found = path.stat().st_size
    if found != expected:
        what = "truncated" if found < expected else "longer than its header says"
        raise ClarityError(
            f"{path}: {what}: {found:,} bytes for {shape[0]} images that take {expected:,}; "
            "copy or save it anew"
        )
    return array


def _rows(
    array: Array,
    role: Literal["pool", "test"],
    labels: list[int] | None,
    groups: list[str] | None,
) -> Iterator[Item]:
    native = array.dtype.newbyteorder("<")
    shape = "x".join(map(str, array.shape[1:]))
    row = 0
    for chunk in _chunks(array):
        if array.dtype.kind == "f":
            _check_range(array.path, chunk, row)
        for image in chunk.astype(native, copy=False):
            yield Item(
                id=f"{array.path.stem}/{row}",
                group=groups[row] if groups else "",
                role=role,
                label=labels[row] if labels else None,
                encoding="array",
                dtype=native.name,
                shape=shape,
                data=image.tobytes(),
            )
            row += 1


def _chunks(array: Array) -> Iterator[NDArray]:
    """The array in pieces of a few rows, with plain reads: mapped pages would count as memory."""
    count = max(1, CHUNK // array.row_bytes)
    if array.fortran:  # rows are strewn over the file; only a map can gather them
        mapped = np.load(array.path, mmap_mode="r", allow_pickle=False)
        for start in range(0, array.shape[0], count):
            yield np.ascontiguousarray(mapped[start : start + count])
        return
    with array.path.open("rb") as handle:
        handle.seek(array.offset)
        for start in range(0, array.shape[0], count):
            rows = min(count, array.shape[0] - start)
            content = handle.read(rows * array.row_bytes)
            yield np.frombuffer(content, array.dtype).reshape(rows, *array.shape[1:])


def _check_range(path: Path, chunk: NDArray, first: int) -> None:
    """Finite floats outside [0, 1] mean another scale: the whole file is meant otherwise.

    NaN and infinity are the business of ``preprocess``, which rejects those images alone.
    """
    outside = np.isfinite(chunk) & ((chunk < -ROUNDING) | (chunk > 1 + ROUNDING))
    if outside.any():
        row, *_ = np.argwhere(outside)[0]
        finite = chunk[np.isfinite(chunk)]
        problem = other_scale(float(finite.min()), float(finite.max()))
        raise ClarityError(f"{path}: image {first + row}: {problem}")


def _table(path: Path, column: str, rows: int) -> pd.Series:
    """The column of a CSV ``ID,column`` as text, in the order of the IDs 0 … rows-1."""
    try:
        with warnings.catch_warnings():
            # Rows longer than the header would shift the columns with no more than a warning.
            warnings.simplefilter("error", pd.errors.ParserWarning)
            table = pd.read_csv(
                path, dtype=str, keep_default_na=False, encoding="utf-8-sig", index_col=False
            )
    except (ValueError, OSError, pd.errors.ParserWarning) as error:  # parser errors: ValueErrors
        cause = " ".join(str(error).split())[:120]
        raise ClarityError(f"{path}: not a readable CSV ({cause})") from None
    for name in ("ID", column):
        if name not in table.columns:
            raise ClarityError(
                f"{path}: no column {name}; the first line must be ID,{column}, not "
                f"{','.join(map(str, table.columns))[:80]}"
            )
    known = {str(number): number for number in range(rows)}
    ids = table["ID"].str.strip()
    if len(table) != rows:
        raise ClarityError(f"{path}: {len(table)} rows for {rows} images; give every image one row")
    for number, name in enumerate(ids):
        if name not in known:
            raise ClarityError(
                f"{path}:{number + 2}: ID {name!r} is no image; IDs are 0 to {rows - 1}"
            )
    if ids.duplicated().any():
        twice = ids[ids.duplicated()].iloc[0]
        raise ClarityError(f"{path}: ID {twice} is there twice; give every image one row")
    values = table[column].str.strip()
    values.index = pd.Index(ids.map(known))
    return values.sort_index()


def _labels(path: Path, rows: int) -> list[int] | None:
    if not path.exists():
        return None
    values = _table(path, "anomaly", rows)
    for row, value in values.items():
        if value not in ("0", "1"):
            raise ClarityError(
                f"{path}: anomaly is {value!r} for ID {row}; write 0 (normal) or 1 (anomaly)"
            )
    return [int(value) for value in values]


def _groups(root: Path, stem: str, rows: int) -> list[str] | None:
    path = root / f"{stem}_groups.csv"
    return list(_table(path, "group", rows)) if path.exists() else None
