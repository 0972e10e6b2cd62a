"""A folder of pictures: one sub-folder a group, or flat.

The group is the first folder below ``data.path``; pictures that lie in ``data.path`` itself have
none. The order is that of the paths, compared part by part, in whichever of Unicode's forms a
file system keeps them.
"""

from __future__ import annotations

import os
import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

from clarity.errors import ClarityError
from clarity.files import sha256_bytes
from clarity.ingest.items import Item, Source

KINDS = frozenset(
    {".avif", ".bmp", ".gif", ".jfif", ".jp2", ".jpe", ".jpeg", ".jpg", ".pbm", ".pgm", ".png"}
    | {".pnm", ".ppm", ".tif", ".tiff", ".webp"}
)
#: A larger file is no picture for 64×64; it would have to be held in memory whole.
LARGEST = 64 * 2**20
#: In a file's name: control characters, and what stands for bytes that are not UTF-8.
UNFIT = re.compile("[\x00-\x1f\x7f\ud800-\udfff]")


def open_source(folder: str) -> Source:
    """Every picture below ``folder``; hidden files, README.md and other files are skipped.

    Raises:
        ClarityError: no such folder, no picture in it, or one that cannot be read.
    """
    root = Path(folder)
    if not root.is_dir():
        raise ClarityError(f"data.path {folder}: no such folder")
    files = list(_files(root))
    pictures = sorted((name for name in files if name.suffix.lower() in KINDS), key=_in_order)
    others = Counter(
        name.suffix.lower() or name.name
        for name in files
        if name.suffix.lower() not in KINDS and name.name != "README.md"
    )
    if not pictures:
        hint = ""
        if ".npy" in others:
            hint = "; there are .npy files, for which data.source is npy"
        raise ClarityError(
            f"data.path {folder}: no pictures in this folder ({' '.join(sorted(KINDS))}){hint}"
        )
    source = Source(
        items=iter(()),
        licence="the user's own data; not stated",
        credit="not stated",
        total=len(pictures),
    )
    if others:
        kinds = ", ".join(sorted(others))
        source.notes.append(f"{sum(others.values())} files skipped that are no pictures ({kinds})")
    source.items = _read(root, pictures, source.inputs)
    return source


def _in_order(name: PurePosixPath) -> tuple[tuple[str, ...], tuple[str, ...]]:
    return tuple(unicodedata.normalize("NFC", part) for part in name.parts), name.parts


def _files(root: Path) -> Iterator[PurePosixPath]:
    """Paths below ``root`` of every file that is not hidden; links to folders are not followed."""

    def unreadable(error: OSError) -> None:
        raise ClarityError(f"{error.filename}: not readable; change its permissions")

    for folder, folders, names in os.walk(root, onerror=unreadable):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in names:
            if not name.startswith("."):
                yield PurePosixPath((Path(folder) / name).relative_to(root).as_posix())


def _read(root: Path, names: Sequence[PurePosixPath], inputs: dict[str, str]) -> Iterator[Item]:
    for name in names:
        if UNFIT.search(str(name)):
            raise ClarityError(
                f"{root}: the name {str(name)!a} holds bytes that are not UTF-8 or control "
                "characters; rename it"
            )
        content = read_picture(root / name)
        inputs[str(name)] = sha256_bytes(content)
        group = name.parts[0] if len(name.parts) > 1 else ""
        yield Item(id=str(name), group=group, data=content)


def read_picture(path: Path) -> bytes:
    """The bytes of a picture's file.

    Raises:
        ClarityError: not readable, or too large for one picture.
    """
    try:
        size = path.stat().st_size
        if size > LARGEST:
            raise ClarityError(
                f"{path}: {size // 2**20} MB is too much for one picture; make it smaller or "
                "remove it"
            )
        return path.read_bytes()
    except OSError as error:
        raise ClarityError(f"{path}: not readable ({error.strerror})") from None
