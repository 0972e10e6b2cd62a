"""Images to score: pictures, ``.npy`` arrays, folders of both; read a piece at a time."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from clarity.errors import ClarityError
from clarity.files import read_json, sha256_bytes
from clarity.ingest.arrays import CHUNK, Array, read_header
from clarity.layout import Shape
from clarity.names import cell
from clarity.preprocess.images import ImageProblem, Pixels, Seen, decode, from_array, to_square
from clarity.score.listing import listing, problem_of, read_bytes

#: Two of what a run writes, known again where they lie among pictures.
SHEET_PNG, SUMMARY = "most_anomalous.png", "summary.json"


@dataclass
class Piece:
    """Some images of a source, those that could not be used told apart.

    ``positions`` are the images' places in the source, ``rejected`` place, id and reason. Ids are
    fit for a table (:func:`clarity.names.cell`).
    """

    images: Pixels
    ids: list[str] = field(default_factory=list)
    positions: list[int] = field(default_factory=list)
    rejected: list[tuple[int, str, str]] = field(default_factory=list)


@dataclass
class Reading:
    """How pixels become images: by the model's shape and ``preprocess.white``."""

    shape: Shape
    white: int | None = None
    #: What is to be said of all of them.
    seen: Seen = field(default_factory=Seen)


class Member(ABC):
    """One file of a source: a picture, an array of many, or what can be neither."""

    path: Path

    @abstractmethod
    def __len__(self) -> int:
        """How many places it takes."""

    @abstractmethod
    def images(self, start: int, stop: int, reading: Reading) -> Iterator[tuple[str, Pixels | str]]:
        """Id and image, squared to the model's shape, of each place; or why there is no image."""


class Picture(Member):
    """An encoded picture in a file."""

    def __init__(self, path: Path, name: str) -> None:
        self.path = path
        self.id = cell(name)

    def __len__(self) -> int:
        return 1

    def images(self, start: int, stop: int, reading: Reading) -> Iterator[tuple[str, Pixels | str]]:
        try:
            yield self.id, _read(read_bytes(self.path), reading)
        except ImageProblem as problem:
            yield self.id, str(problem)


class Refused(Picture):
    """What is no image, and why."""

    def __init__(self, path: Path, name: str, reason: str) -> None:
        super().__init__(path, name)
        self.reason = reason

    def images(self, start: int, stop: int, reading: Reading) -> Iterator[tuple[str, Pixels | str]]:
        yield self.id, self.reason


class Rows(Member):
    """Rows of a ``.npy`` array: what ``ingest`` takes is taken here.

    Read by plain reads, since the pages of a memory map would count as resident memory; but for
    Fortran order, whose rows are strewn over the file.
    """

    def __init__(self, array: Array, name: str) -> None:
        self.path = array.path
        self.array = array
        self.id = cell(name)

    def __len__(self) -> int:
        return int(self.array.shape[0])

    def images(self, start: int, stop: int, reading: Reading) -> Iterator[tuple[str, Pixels | str]]:
        left = start
        try:
            for row, pixels in self._rows(start, stop):
                yield f"{self.id}/{row}", _squared(self.array.upright(pixels), reading)
                left = row + 1
        except (OSError, ValueError) as error:  # it vanished or was cut since it was looked at
            cause = error.strerror if isinstance(error, OSError) else error
            for row in range(left, stop):
                yield f"{self.id}/{row}", f"no longer readable ({cause})"

    def _rows(self, start: int, stop: int) -> Iterator[tuple[int, NDArray]]:
        array = self.array
        count = max(1, CHUNK // array.row_bytes)
        chunks = [(at, min(at + count, stop)) for at in range(start, stop, count)]
        if array.fortran:
            mapped = np.load(array.path, mmap_mode="r", allow_pickle=False)
            if mapped.shape != array.shape or mapped.dtype != array.dtype:
                raise ValueError("changed while it was read")
            for at, end in chunks:
                yield from enumerate(np.ascontiguousarray(mapped[at:end]), start=at)
            return
        with array.path.open("rb") as handle:
            handle.seek(array.offset + start * array.row_bytes)
            for at, end in chunks:
                content = handle.read((end - at) * array.row_bytes)
                whole = len(content) // array.row_bytes
                rows = np.frombuffer(content[: whole * array.row_bytes], array.dtype)
                yield from enumerate(rows.reshape(whole, *array.shape[1:]), start=at)
                if at + whole < end:
                    raise ValueError("cut off while it was read")


def _read(content: bytes, reading: Reading) -> Pixels:
    return to_square(decode(content, reading.white, reading.seen), reading.shape)


def _squared(pixels: NDArray, reading: Reading) -> Pixels | str:
    plain = reading.white is None or reading.white >= 255
    if plain and pixels.dtype == np.uint8 and pixels.shape == reading.shape.stored:
        reading.seen.value(255, int(pixels.max()))
        return pixels
    try:
        return to_square(from_array(pixels, reading.white, reading.seen), reading.shape)
    except ImageProblem as problem:
        return str(problem)


class Source:
    """N images by place, over one or many files; reading again gives the same."""

    def __init__(self, members: Sequence[Member]) -> None:
        self.members = members
        self._ends = list(accumulate(len(member) for member in members))
        #: To be set before reading.
        self.reading: Reading

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    def identity(self) -> str:
        """Digest of what is there, without reading it: names, sizes, times of change."""
        lines = (
            f"{type(one).__name__}\0{os.path.abspath(one.path)}\0{len(one)}\0{_state(one.path)}\n"
            for one in self.members
        )
        return sha256_bytes(os.fsencode("".join(lines)))

    def read(self, start: int, stop: int) -> Piece:
        """The images from ``start`` up to ``stop``, squared to the model's shape."""
        piece = Piece(np.empty((0, *self.reading.shape.stored), np.uint8))
        images = []
        position, stop = start, min(stop, len(self))
        while position < stop:
            at = bisect_right(self._ends, position)
            member, first = self.members[at], self._ends[at] - len(self.members[at])
            last = min(stop, self._ends[at]) - first
            for name, found in member.images(position - first, last, self.reading):
                if isinstance(found, str):
                    piece.rejected.append((position, name, cell(found)))
                else:
                    images.append(found)
                    piece.ids.append(name)
                    piece.positions.append(position)
                position += 1
        if images:
            piece.images = np.stack(images)
        return piece


def open_source(path: Path, leave_out: frozenset[str] = frozenset()) -> Source:
    """What lies at ``path``: a folder of pictures and arrays, an array, or a picture.

    In a folder each file is a place (an array: a place a row) whose id is its path below the
    folder; what cannot be an image is a place with a reason. Hidden files are left out.

    Args:
        path: a folder or a file.
        leave_out: absolute paths that are not looked at.

    Raises:
        ClarityError: nothing is there, or it is an array that cannot be used.
    """
    if os.path.isdir(path):
        entries = [one for one in listing(path) if os.path.abspath(one.path) not in leave_out]
        if not entries:
            raise ClarityError(f"{path}: an empty folder; put pictures into it")
        return Source([_member(one.path, one.name, one.problem) for one in entries])
    problem = problem_of(path)
    if problem is None:
        raise ClarityError(f"{path}: no such file or folder")
    if problem:
        raise ClarityError(f"{path}: {problem}")
    if _is_array(path):
        return Source([Rows(read_header(path), path.stem)])
    return Source([Picture(path, path.name)])


def _member(path: Path, name: str, problem: str) -> Member:
    if not problem and _is_sheet(path):
        problem = "a contact sheet that `clarity score` drew, not a picture"
    if problem:
        return Refused(path, name, problem)
    if not _is_array(path):
        return Picture(path, name)
    try:
        return Rows(read_header(path), name)
    except ClarityError as error:
        return Refused(path, name, str(error).removeprefix(f"{path}: "))
    except OSError as error:
        return Refused(path, name, f"not readable ({error.strerror})")


def _is_sheet(path: Path) -> bool:
    """Whether an earlier run drew this: its summary lies beside it."""
    if path.name != SHEET_PNG:
        return False
    try:
        return "threshold" in read_json(path.with_name(SUMMARY))
    except (OSError, ValueError, TypeError):
        return False


def _is_array(path: Path) -> bool:
    return path.suffix.lower() == ".npy"


def _state(path: Path) -> str:
    try:
        state = path.lstat() if path.is_symlink() and not path.exists() else path.stat()
    except OSError:
        return "gone"
    return f"{state.st_size}\0{state.st_mtime_ns}"
