"""Masks beside a folder's pictures: which file belongs to which anomaly.

Below the folder of masks a mask lies where its picture lies below the pictures, with or without the
split, or in a folder of its kind, or directly; it bears the picture's name, or ``NAME_mask``, with
any ending: ``test/dent/007.png`` has ``ground_truth/dent/007_mask.png``.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath

from clarity.errors import ClarityError
from clarity.ingest.layouts import Place, listed
from clarity.ingest.words import SPLITS, folded

#: What a folder of masks is called, folded, where ``data.masks`` names none.
FOLDERS = ("ground truth", "groundtruth")
ENDINGS = ("_mask", "-mask")

Paths = Sequence[PurePosixPath]


def set_apart(root: str, pictures: Paths, named: str | None) -> tuple[Paths, Paths, str]:
    """Pictures, masks, and the folder in which the masks lie (empty where there are none).

    Args:
        root: ``data.path``, for messages.
        pictures: everything that is there.
        named: ``data.masks``.

    Raises:
        ClarityError: there is no such folder.
    """
    folder = PurePosixPath(named) if named else None
    if folder is None:
        tops = [path.parts[0] for path in pictures if path.parts[1:]]
        folder = next((PurePosixPath(top) for top in tops if folded(top) in FOLDERS), None)
        if folder is None:
            return pictures, [], ""
    masks = [path for path in pictures if path.is_relative_to(folder)]
    if not masks:
        raise ClarityError(f"data.masks: {root} has no folder {named} with pictures in it")
    rest = [path for path in pictures if not path.is_relative_to(folder)]
    if not rest:
        raise ClarityError(f"{root}: {folder} is a folder of masks, and there is nothing beside it")
    return rest, masks, folder.as_posix()


def pair(
    root: str, places: Mapping[PurePosixPath, Place], masks: Paths, folder: str
) -> tuple[dict[PurePosixPath, PurePosixPath], str]:
    """The mask of each anomaly that has one, and what to say aloud.

    Raises:
        ClarityError: a mask is missing among those of its kind, is there twice, or belongs to no
            anomaly.
    """
    anomalies = {path: place for path, place in places.items() if place.label == 1}
    if not anomalies:
        raise ClarityError(
            f"{root}: {folder} is named like masks, and no folder like anomalies; name theirs in "
            "data.anomalous, or set data.normal: [] if the folders are people or other groups"
        )
    by_place: defaultdict[tuple[tuple[str, ...], str], list[PurePosixPath]] = defaultdict(list)
    for mask in masks:
        inside = mask.relative_to(folder)
        for stem in {inside.stem, _bare(inside.stem)}:
            by_place[inside.parts[:-1], stem].append(mask)
    found: dict[PurePosixPath, PurePosixPath] = {}
    for path, place in anomalies.items():
        own = next((by_place[key] for key in _keys(path, place) if key in by_place), [])
        if len(own) > 1:
            raise ClarityError(f"{root}: {path} has two masks, {own[0]} and {own[1]}; remove one")
        if own:
            found[path] = own[0]
    unused = [mask for mask in masks if mask not in set(found.values())]
    if unused:
        raise ClarityError(
            f"{root}: the mask {unused[0]} belongs to no anomaly; rename or remove it"
        )
    kinds = dict.fromkeys(place.kind for place in anomalies.values())
    masked = {anomalies[path].kind for path in found}
    missing = [p for p, place in anomalies.items() if p not in found and place.kind in masked]
    if missing:
        wanted = f"{folder}/{anomalies[missing[0]].kind}/{missing[0].stem}_mask.png"
        raise ClarityError(
            f"{root}: {missing[0]} has no mask ({wanted}, say), as others of its kind have; add "
            "it, a black one if nobody knows where the anomaly is"
        )
    bare = [kind for kind in kinds if kind not in masked]
    without = f", none for {listed(bare)}" if bare else ""
    return found, f"{len(found)} masks in {folder}{without}"


def _bare(stem: str) -> str:
    for ending in ENDINGS:
        stem = stem.removesuffix(ending)
    return stem


def _keys(path: PurePosixPath, place: Place) -> list[tuple[tuple[str, ...], str]]:
    """Where the mask of a picture may lie, the nearest place first."""
    folders = path.parts[:-1]
    below = folders[1:] if folded(folders[0]) in SPLITS else folders
    places = dict.fromkeys([folders, below, below[-1:], (place.kind,), ()])
    return [(parts, path.stem) for parts in places]
