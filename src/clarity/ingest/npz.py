"""An ``.npz`` file: the arrays that would else be several ``.npy`` and CSV files.

Images are arrays of a known name (`IMAGES`), or the only array that there is. ``NAME_labels`` (0 or
1 for every row) and ``NAME_groups`` (text or whole numbers) go with the images called ``NAME``.
"""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from clarity.errors import ClarityError, in_a_line
from clarity.files import sha256_file
from clarity.ingest.arrays import BROKEN, Array, read_header, read_rows, sides
from clarity.ingest.items import Role, Source
from clarity.ingest.layouts import listed

#: By role: what images are called, the first that is there.
IMAGES: dict[Role, tuple[str, ...]] = {
    "pool": ("trainingset", "train", "x_train", "train_images", "images"),
    "val": ("valset", "val", "x_val", "val_images"),
    "test": ("testingset", "test", "x_test", "test_images"),
}


def open_source(root: Path, archives: Sequence[Path], name: str | None) -> Source:
    """The images of one file; of several archives ``data.name`` says which.

    Raises:
        ClarityError: no such file, no images in it, or arrays that do not fit each other.
    """
    path = root / name if name is not None else archives[0]
    if not path.is_file() or path.suffix != ".npz":
        raise ClarityError(f"data.name {name}: no .npz file of this name in {root}")
    if name is None and len(archives) > 1:
        names = listed([path.name for path in archives])
        raise ClarityError(f"data.path {root}: {names}; say in data.name which has the images")
    try:
        with zipfile.ZipFile(path) as archive:
            members = [entry.removesuffix(".npy") for entry in archive.namelist()]
    except (OSError, *BROKEN) as error:
        cause = in_a_line(error, 120)
        raise ClarityError(f"{path}: not an .npz file ({cause}); save it anew") from None
    found = {
        role: next((name for name in names if name in members), None)
        for role, names in IMAGES.items()
    }
    if len(members) == 1:
        found["pool"] = members[0]
    if found["pool"] is None:
        raise ClarityError(
            f"{path}: no array {' or '.join(IMAGES['pool'])}; there are {listed(members)}"
        )
    parts: list[tuple[Array, Role, list[int] | None, list[str] | None]] = []
    read: list[str] = []
    for role, member in found.items():
        if member is not None:
            array = read_header(path, member)
            labels, groups = (_beside(array, members, what, read) for what in ("labels", "groups"))
            parts.append((array, role, _labels(array, labels), _groups(array, groups)))
            read.append(member)
    notes = [note for array, *_ in parts for note in array.notes]
    notes.insert(0, f"read as {', '.join(f'{a.name} ({role})' for a, role, *_ in parts)}, because "
        f"arrays of {path.name} bear these names")  # fmt: skip
    if rest := [name for name in members if name not in read]:
        notes.append(f"arrays that are not read: {listed(rest)}")
    return Source(
        items=(item for part in parts for item in read_rows(*part)),
        licence="the user's own data; not stated",
        credit="not stated",
        inputs={path.name: sha256_file(path)},
        total=sum(array.shape[0] for array, *_ in parts),
        notes=notes,
    )


def _beside(array: Array, members: Sequence[str], what: str, read: list[str]) -> NDArray | None:
    """An array that goes with the images, one value a row."""
    name = f"{array.name}_{what}"
    if name not in members:
        return None
    read.append(name)
    try:
        with np.load(array.path, allow_pickle=False) as content:
            values: NDArray = content[name]
    except (OSError, *BROKEN) as error:
        cause = in_a_line(error, 120)
        raise ClarityError(f"{array.path}: {name}: not readable ({cause})") from None
    if values.shape[:1] != array.shape[:1] or values.size != array.shape[0]:
        raise ClarityError(
            f"{array.path}: {name} has the shape {sides(values.shape)} for {array.shape[0]} "
            "images; give every image one value"
        )
    return values.reshape(-1)


def _labels(array: Array, values: NDArray | None) -> list[int] | None:
    if values is None:
        return None
    wrong = [value for value in values.tolist() if value not in (0, 1)]
    if wrong:
        raise ClarityError(
            f"{array.path}: {array.name}_labels holds {wrong[0]!r}; 0 is normal and 1 an anomaly, "
            "and classes of objects go by another name"
        )
    return [int(value) for value in values]


def _groups(array: Array, values: NDArray | None) -> list[str] | None:
    if values is not None and values.dtype.kind not in "Uiu":
        raise ClarityError(
            f"{array.path}: {array.name}_groups is of {values.dtype}; save text or whole numbers"
        )
    return None if values is None else [str(value) for value in values.tolist()]
