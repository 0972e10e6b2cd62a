"""``items.parquet``: what a source hands over, and the streamed writing of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pyarrow as pa
import pyarrow.parquet as pq

#: A row group ends at this many rows or bytes, whichever comes first: it is what is in memory.
ROWS_IN_GROUP = 1_000
BYTES_IN_GROUP = 32 * 2**20

Role = Literal["pool", "val", "gate", "test"]

SCHEMA = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("group", pa.string(), nullable=False),
        pa.field("role", pa.string(), nullable=False),
        pa.field("label", pa.int8()),
        pa.field("encoding", pa.string(), nullable=False),
        pa.field("dtype", pa.string(), nullable=False),
        pa.field("shape", pa.string(), nullable=False),
        pa.field("data", pa.binary(), nullable=False),
    ]
)
#: What a source that knows kinds of anomaly adds. Other sources keep the bytes they always had.
ANNOTATED = SCHEMA.append(pa.field("kind", pa.string(), nullable=False)).append(
    pa.field("mask", pa.binary())
)
#: Columns that hardly shrink.
BYTES = ("data", "mask")


@dataclass(frozen=True, slots=True)
class Item:
    """One image as the source brought it; docs/architecture.md describes the columns."""

    id: str
    data: bytes
    group: str = ""
    role: Role = "pool"
    label: int | None = None
    encoding: Literal["file", "array"] = "file"
    dtype: str = ""
    shape: str = ""
    kind: str = ""
    #: An encoded picture, not black where the anomaly is.
    mask: bytes | None = None


@dataclass
class Source:
    """Images of one source, streamed once.

    ``inputs`` (SHA-256 by file name) is complete when ``items`` is exhausted: sources that read
    whole files take the digest as they go.
    """

    items: Iterator[Item]
    licence: str
    credit: str
    inputs: dict[str, str] = field(default_factory=dict)
    #: How many images are expected, for the progress bar.
    total: int | None = None
    #: Lines to say aloud afterwards.
    notes: list[str] = field(default_factory=list)
    #: Whether items name kinds of anomaly, or carry masks.
    annotated: bool = False


def write_items(path: Path, items: Iterable[Item], annotated: bool = False) -> int:
    """Stream ``items`` into a Parquet file and return how many there were.

    The same items give the same bytes. Memory holds one row group: at most 1,000 rows and about
    32 MB (or one picture, where that is larger).
    """
    schema = ANNOTATED if annotated else SCHEMA
    # Pixels hardly shrink and encoded pictures not at all; the other columns do.
    compression = {name: "NONE" if name in BYTES else "ZSTD" for name in schema.names}
    text = [name for name in schema.names if name not in BYTES]
    count = size = 0
    rows: list[Item] = []
    with pq.ParquetWriter(
        path, schema, compression=compression, use_dictionary=text, write_statistics=text
    ) as writer:
        for item in items:
            rows.append(item)
            count += 1
            size += len(item.data) + len(item.mask or b"")
            if len(rows) == ROWS_IN_GROUP or size >= BYTES_IN_GROUP:
                writer.write_table(_table(rows, schema))
                rows, size = [], 0
        if rows:
            writer.write_table(_table(rows, schema))
    return count


def _table(rows: list[Item], schema: pa.Schema) -> pa.Table:
    columns = {name: [getattr(row, name) for row in rows] for name in schema.names}
    return pa.table(columns, schema=schema)
