"""Where new pictures go in the data set: a place that `ingest` reads as a normal to train with."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath

from clarity.errors import ClarityError
from clarity.ingest.folder import in_order, pictures_below, read_layout
from clarity.ingest.layouts import Place
from clarity.ingest.words import ANOMALOUS, SPLITS, folded
from clarity.params import Data


def plan(data: Data, pictures: Iterable[tuple[str, str]]) -> list[PurePosixPath]:
    """A place below ``data.path`` for each picture, in the layout that is there.

    Without classes and splits that is the picture's group; with them it is a folder of normals
    that are trained with, and the group a folder in it.

    Args:
        data: the section ``data``, of source ``folder``.
        pictures: the group, empty for none, and the file's name of each.

    Raises:
        ClarityError: ``ingest`` would refuse the data set with these pictures in it, read one as
            anything but a normal to train with, or read what is there otherwise than before.
    """
    root = Path(data.path)
    there = sorted(pictures_below(root), key=in_order) if root.is_dir() else []
    before = _read(data, there) if there else {}
    homes = _homes(data, before)
    classes = any(place.label is not None for place in before.values())
    places: list[PurePosixPath] = []
    for group, name in pictures:
        home = next((home for home in homes if home.name == group), None)
        if home is None and classes and _anomalous(group, before):
            raise ClarityError(
                f"{group}/{name}: arrived in {group}, which is named like anomalies; take "
                "it away, or let it arrive in a folder of another name"
            )
        places.append((homes[0] / group if home is None else home) / name)
    _check(data, there, before, places)
    return places


def _read(data: Data, pictures: Sequence[PurePosixPath]) -> dict[PurePosixPath, Place]:
    """What `ingest` reads of these pictures.

    Raises:
        ClarityError: it refuses them.
    """
    return read_layout(data.path, pictures, data.normal, data.anomalous, data.masks)[0]


def _homes(data: Data, places: dict[PurePosixPath, Place]) -> list[PurePosixPath]:
    """The folders whose pictures are normals that are trained with; the groups are below them."""
    if data.normal == ():
        return [PurePosixPath()]
    if not places:
        return [PurePosixPath(name) for name in data.normal or ("",)]
    first = next(iter(places))
    # A first folder that is named like a split is one: else the layout would have been refused.
    deep = int(len(first.parts) > 1 and folded(first.parts[0]) in SPLITS)
    deep += int(any(place.label is not None for place in places.values()))
    usable = (path for path, place in places.items() if place.role == "pool" and not place.label)
    homes = list(dict.fromkeys(PurePosixPath(*path.parts[:deep]) for path in usable))
    if not homes:
        raise ClarityError(f"{data.path}: no folder of normals to train with; add one")
    return homes


def _anomalous(group: str, places: dict[PurePosixPath, Place]) -> bool:
    kinds = {place.kind for place in places.values() if place.label}
    return bool(group) and (group in kinds or folded(group) in ANOMALOUS)


def _check(
    data: Data,
    there: Sequence[PurePosixPath],
    before: dict[PurePosixPath, Place],
    planned: Sequence[PurePosixPath],
) -> None:
    after = _read(data, sorted({*there, *planned}, key=in_order))
    for path in planned:
        place = after.get(path)
        if place is None or place.role != "pool" or place.label:
            read = "a mask" if place is None else "an anomaly" if place.label else "no training's"
            raise ClarityError(
                f"{data.path}: a new picture of {path.parent} would be read as {read}; let such "
                "pictures arrive in a folder of another name"
            )
    for path, place in before.items():
        if after.get(path) != place:
            raise ClarityError(
                f"{data.path}: with new pictures in {planned[0].parent} {path} would be read "
                "otherwise than before; let such pictures arrive in folders of other names"
            )
