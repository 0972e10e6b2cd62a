"""Reading ``items.parquet`` a row group at a time, and turning each row into pixels."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from clarity.errors import ClarityError, in_a_line
from clarity.layout import Shape
from clarity.preprocess.images import ImageProblem, Pixels, Seen, decode, from_array, to_square

COLUMNS = ("id", "group", "role", "label", "encoding", "dtype", "shape", "data")
#: Of sources that know kinds of anomaly.
ANNOTATED = ("kind", "mask")


@dataclass(frozen=True, slots=True)
class RawItem:
    """One row of ``items.parquet``."""

    id: str
    group: str
    role: str
    label: int | None
    encoding: str
    dtype: str
    shape: str
    data: bytes
    kind: str = ""
    mask: bytes | None = None


def count_items(path: Path) -> int:
    """Rows in the file."""
    with _open(path) as file:
        return int(file.metadata.num_rows)


def read_items(path: Path) -> Iterator[RawItem]:
    """The rows, in their order, with one row group in memory."""
    with _open(path) as file:
        columns = [*COLUMNS, *(name for name in ANNOTATED if name in file.schema_arrow.names)]
        for number in range(file.metadata.num_row_groups):
            try:
                table = file.read_row_group(number, columns=columns)
            except (pa.ArrowException, OSError) as error:
                raise ClarityError(_broken(path, error)) from None
            for batch in table.to_batches(max_chunksize=100):
                for row in batch.to_pylist():
                    yield RawItem(**row)


def pixels_of(
    item: RawItem, shape: Shape, white: int | None = None, seen: Seen | None = None
) -> Pixels:
    """The image of a row, uint8 of this shape; `images.decode` describes ``white`` and ``seen``.

    Raises:
        ImageProblem: it cannot be used; says why.
    """
    if item.encoding == "file":
        return to_square(decode(item.data, white, seen), shape)
    try:
        dtype = np.dtype(item.dtype).newbyteorder("<")
        sides = tuple(int(side) for side in item.shape.split("x"))
        array = np.frombuffer(item.data, dtype).reshape(sides)
    except (TypeError, ValueError):
        raise ImageProblem(
            f"{len(item.data)} bytes are no {item.dtype} array of shape {item.shape}"
        ) from None
    return to_square(from_array(array, white, seen), shape)


def _open(path: Path) -> pq.ParquetFile:
    try:
        file = pq.ParquetFile(path)
    except FileNotFoundError:
        raise ClarityError(f"{path}: no such file; run `clarity ingest` first") from None
    except (pa.ArrowException, OSError) as error:
        raise ClarityError(_broken(path, error)) from None
    missing = [name for name in COLUMNS if name not in file.schema_arrow.names]
    if missing:
        raise ClarityError(
            f"{path}: column {missing[0]} is missing; run `clarity ingest` to write it anew"
        )
    return file


def _broken(path: Path, error: BaseException) -> str:
    cause = in_a_line(error, 120)
    return f"{path}: not a readable Parquet file ({cause}); run `clarity ingest` to write it anew"
