"""A folder of pictures, in any of the layouts that `clarity.ingest.layouts` recognises.

The order is that of the paths, compared part by part, in whichever of Unicode's forms a file
system keeps them.
"""

from __future__ import annotations

import os
import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath

from clarity.errors import ClarityError
from clarity.files import sha256_bytes
from clarity.ingest.items import Item, Source
from clarity.ingest.layouts import Place, recognise
from clarity.ingest.masks import pair, set_apart

KINDS = frozenset(
    {".avif", ".bmp", ".gif", ".jfif", ".jp2", ".jpe", ".jpeg", ".jpg", ".pbm", ".pgm", ".png"}
    | {".pnm", ".ppm", ".tif", ".tiff", ".webp"}
)
#: A larger file is no picture for 64×64; it would have to be held in memory whole.
LARGEST = 64 * 2**20
#: In a file's name: control characters, and what stands for bytes that are not UTF-8.
UNFIT = re.compile("[\x00-\x1f\x7f\ud800-\udfff]")


def open_source(
    folder: str,
    normal: Sequence[str] | None = None,
    anomalous: Sequence[str] | None = None,
    masks: str | None = None,
) -> Source:
    """Every picture below ``folder``; hidden files, README.md and other files are skipped.

    Args:
        folder: ``data.path``.
        normal, anomalous, masks: ``data.normal``, ``data.anomalous`` and ``data.masks``.

    Raises:
        ClarityError: no such folder, no picture in it, one that cannot be read, or a layout that
            is not clear.
    """
    root = Path(folder)
    if not root.is_dir():
        raise ClarityError(f"data.path {folder}: no such folder")
    files = list(_files(root))
    pictures: Sequence[PurePosixPath] = sorted(
        (name for name in files if name.suffix.lower() in KINDS), key=in_order
    )
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
    for name in pictures:
        if UNFIT.search(str(name)):
            raise ClarityError(
                f"{root}: the name {str(name)!a} holds bytes that are not UTF-8 or control "
                "characters; rename it"
            )
    places, paired, notes = read_layout(folder, pictures, normal, anomalous, masks)
    source = Source(
        items=iter(()),
        licence="the user's own data; not stated",
        credit="not stated",
        total=len(places),
        notes=notes,
        annotated=any(place.kind for place in places.values()),
    )
    if others:
        kinds = ", ".join(sorted(others))
        source.notes.append(f"{sum(others.values())} files skipped that are no pictures ({kinds})")
    source.items = read_places(root, places, paired, source.inputs)
    return source


def read_layout(
    folder: str,
    pictures: Sequence[PurePosixPath],
    normal: Sequence[str] | None = None,
    anomalous: Sequence[str] | None = None,
    masks: str | None = None,
) -> tuple[dict[PurePosixPath, Place], dict[PurePosixPath, PurePosixPath], list[str]]:
    """The place of every picture that is no mask, the masks of those that have one, and what to
    say aloud.

    Args:
        folder, normal, anomalous, masks: as for `open_source`.
        pictures: paths below ``folder``, in order.

    Raises:
        ClarityError: a layout that is not clear.
    """
    apart: Sequence[PurePosixPath] = []
    if normal is None or normal:
        pictures, apart, where = set_apart(folder, pictures, masks)
    layout = recognise(folder, pictures, normal, anomalous)
    if not apart:
        return layout.places, {}, [layout.said]
    paired, said = pair(folder, layout.places, apart, where)
    return layout.places, paired, [layout.said, said]


def pictures_below(root: Path) -> list[PurePosixPath]:
    """Paths of all files that are pictures by their ending."""
    return [name for name in _files(root) if name.suffix.lower() in KINDS]


def in_order(name: PurePosixPath) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """By which pictures are sorted."""
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


def read_places(
    root: Path,
    places: Mapping[PurePosixPath, Place],
    masks: Mapping[PurePosixPath, PurePosixPath],
    inputs: dict[str, str],
) -> Iterator[Item]:
    """The pictures with what is known of them; their files' digests go into ``inputs``."""

    def read(name: PurePosixPath) -> bytes:
        content = read_picture(root / name)
        inputs[str(name)] = sha256_bytes(content)
        return content

    for name, place in places.items():
        yield Item(
            id=str(name),
            data=read(name),
            group=place.group,
            role=place.role,
            label=place.label,
            kind=place.kind,
            mask=read(masks[name]) if name in masks else None,
        )


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
