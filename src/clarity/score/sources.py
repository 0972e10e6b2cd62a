"""Images to score: a folder of pictures, a ``.npy`` array, one picture; read a piece at a time."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from clarity.errors import ClarityError
from clarity.files import sha256_bytes
from clarity.ingest.npy import Array, read_header
from clarity.layout import CHANNELS, IMAGE_SIZE
from clarity.preprocess.images import ImageProblem, Pixels, Seen, decode, from_array, to_square

IMAGE_SHAPE = (IMAGE_SIZE, IMAGE_SIZE, CHANNELS)


@dataclass
class Piece:
    """Some images of a source, those that could not be used told apart.

    ``positions`` are the images' places in the source, ``rejected`` place, id and reason.
    """

    images: Pixels
    ids: list[str] = field(default_factory=list)
    positions: list[int] = field(default_factory=list)
    rejected: list[tuple[int, str, str]] = field(default_factory=list)


class Source(ABC):
    """N images by place; reading again gives the same."""

    #: The model's ``preprocess.white``; set it before reading.
    white: int | None = None

    def __init__(self) -> None:
        #: What is to be said of all that was read.
        self.seen = Seen()

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def identity(self) -> str:
        """Digest of what is there, without reading it: names, sizes, times of change."""

    @abstractmethod
    def read(self, start: int, stop: int) -> Piece:
        """The images from ``start`` up to ``stop``, squared to 64×64×3."""


def open_source(path: Path) -> Source:
    """What lies at ``path``.

    Raises:
        ClarityError: nothing does, or nothing that could be scored.
    """
    if path.is_dir():
        return Pictures(path, sorted(p for p in path.rglob("*") if _is_candidate(p, path)))
    if not path.exists():
        raise ClarityError(f"{path}: no such file or folder")
    if path.suffix == ".npy":
        return Rows(read_header(path))
    return Pictures(path.parent, [path])


def _is_candidate(path: Path, root: Path) -> bool:
    hidden = any(part.startswith(".") for part in path.relative_to(root).parts)
    return path.is_file() and not hidden


class Pictures(Source):
    """Encoded pictures in files; what is no picture is rejected with its reason."""

    def __init__(self, root: Path, paths: list[Path]) -> None:
        if not paths:
            raise ClarityError(f"{root}: an empty folder; put pictures into it")
        super().__init__()
        self.root = root
        self.paths = paths

    def __len__(self) -> int:
        return len(self.paths)

    def identity(self) -> str:
        lines = (f"{path}\0{_state(path)}\n" for path in self.paths)
        return sha256_bytes("".join(lines).encode())

    def read(self, start: int, stop: int) -> Piece:
        piece = Piece(np.empty((0, *IMAGE_SHAPE), np.uint8))
        images = []
        for position, path in enumerate(self.paths[start:stop], start=start):
            name = path.relative_to(self.root).as_posix()
            try:
                images.append(to_square(decode(path.read_bytes(), self.white, self.seen)))
            except (ImageProblem, OSError) as problem:
                reason = str(problem) if isinstance(problem, ImageProblem) else problem.strerror
                piece.rejected.append((position, name, reason or "not readable"))
                continue
            piece.ids.append(name)
            piece.positions.append(position)
        if images:
            piece.images = np.stack(images)
        return piece


class Rows(Source):
    """Rows of a ``.npy`` array, uint8 or float in [0, 1], by plain reads: the pages of a memory map
    would count as resident memory."""

    def __init__(self, array: Array) -> None:
        if array.fortran:
            raise ClarityError(
                f"{array.path}: in Fortran order; save it with numpy.save(numpy.ascontiguousarray)"
            )
        super().__init__()
        self.array = array

    def __len__(self) -> int:
        return int(self.array.shape[0])

    def identity(self) -> str:
        return sha256_bytes(f"{self.array.path.resolve()}\0{_state(self.array.path)}".encode())

    def read(self, start: int, stop: int) -> Piece:
        array = self.array
        with array.path.open("rb") as handle:
            handle.seek(array.offset + start * array.row_bytes)
            content = handle.read((min(stop, len(self)) - start) * array.row_bytes)
        rows = np.frombuffer(content, array.dtype).reshape(-1, *array.shape[1:])
        places = range(start, start + len(rows))
        names = [f"{array.path.stem}/{row}" for row in places]
        plain = self.white is None or self.white >= 255
        if plain and array.dtype == np.uint8 and array.shape[1:] == IMAGE_SHAPE:
            self.seen.value(255, int(rows.max()))
            return Piece(rows, names, list(places))
        piece = Piece(np.empty((0, *IMAGE_SHAPE), np.uint8))
        images = []
        for place, name, row in zip(places, names, rows, strict=True):
            try:
                images.append(to_square(from_array(row, self.white, self.seen)))
            except ImageProblem as problem:
                piece.rejected.append((place, name, str(problem)))
                continue
            piece.ids.append(name)
            piece.positions.append(place)
        if images:
            piece.images = np.stack(images)
        return piece


def _state(path: Path) -> str:
    state = path.stat()
    return f"{state.st_size}\0{state.st_mtime_ns}"
