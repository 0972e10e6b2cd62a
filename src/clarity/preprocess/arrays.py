"""Arrays on disk, written and read a few rows at a time with plain reads and writes.

A memory map would do, but its pages count as resident memory, and these files may be larger than
what a run is allowed to hold.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import IO

import numpy as np
from numpy.lib import format as npy_format
from numpy.typing import NDArray

from clarity.layout import Shape
from clarity.preprocess.images import Pixels


class ArrayWriter:
    """A ``.npy`` file of uint8 rows, whose number is known when it is closed."""

    def __init__(self, path: Path, row_shape: tuple[int, ...]) -> None:
        self.rows = 0
        self._row_shape = row_shape
        self._handle = path.open("wb")
        self._header()
        self._start = self._handle.tell()

    def _header(self) -> None:
        description = {
            "descr": npy_format.dtype_to_descr(np.dtype(np.uint8)),
            "fortran_order": False,
            "shape": (self.rows, *self._row_shape),
        }
        npy_format.write_array_header_1_0(self._handle, description)

    def append(self, row: NDArray[np.uint8]) -> int:
        """Write one row and return its number."""
        assert row.shape == self._row_shape
        assert row.dtype == np.uint8
        self._handle.write(row.tobytes())
        self.rows += 1
        return self.rows - 1

    def __enter__(self) -> ArrayWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        # numpy leaves room in the header for the first dimension to grow, so it can be rewritten.
        self._handle.seek(0)
        self._header()
        assert self._handle.tell() == self._start
        self._handle.close()


class Spool:
    """All accepted images of a run in one nameless temporary file, to be read back by number."""

    def __init__(self, folder: Path, shape: Shape) -> None:
        self.shape = shape
        folder.mkdir(parents=True, exist_ok=True)
        self._handle: IO[bytes] = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - closed by __exit__
        self.rows = 0

    def append(self, content: bytes) -> int:
        """Write the bytes of one image and return its number."""
        assert len(content) == self.shape.elements
        self._handle.seek(0, 2)
        self._handle.write(content)
        self.rows += 1
        return self.rows - 1

    def read(self, row: int) -> Pixels:
        """One image, uint8 H×H×C."""
        size = self.shape.elements
        self._handle.seek(row * size)
        return np.frombuffer(self._handle.read(size), np.uint8).reshape(self.shape.stored)

    def read_all(self, rows: Sequence[int]) -> Pixels:
        """Several images, uint8 N×H×H×C."""
        return np.stack([self.read(row) for row in rows])

    def __enter__(self) -> Spool:
        return self

    def __exit__(self, *_: object) -> None:
        self._handle.close()
