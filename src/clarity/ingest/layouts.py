"""What a folder of pictures is: splits, classes, kinds of anomaly, groups; by its folders' names.

Nothing is guessed: what the names do not decide is refused with the parameter that does.
docs/data.md has the layouts.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from clarity.errors import ClarityError
from clarity.ingest.items import Role
from clarity.ingest.words import ANOMALOUS, NORMAL, SPLITS, check_kinds, folded

Paths = Sequence[PurePosixPath]
#: Names that are listed before "and … more".
SHOWN = 8
GROUPS = "if the folders are people or other groups, set data.normal: []"


@dataclass(frozen=True, slots=True)
class Place:
    """What a picture's folders say of it."""

    role: Role = "pool"
    label: int | None = None
    kind: str = ""
    group: str = ""


@dataclass(frozen=True)
class Layout:
    """Every picture's place, and the line that is said aloud."""

    places: dict[PurePosixPath, Place]
    said: str


def recognise(
    root: str,
    pictures: Paths,
    normal: Sequence[str] | None = None,
    anomalous: Sequence[str] | None = None,
) -> Layout:
    """The layout of the pictures below ``root``.

    Args:
        root: ``data.path``, for messages.
        pictures: their paths below it.
        normal, anomalous: ``data.normal`` and ``data.anomalous``.

    Raises:
        ClarityError: ambiguous or contradictory; one line with the parameter that decides.
    """
    if normal is not None and not normal:
        return _grouped(pictures, "data.normal is an empty list")
    depth = _depth(root, pictures)
    classes, reason = _classes(root, pictures, depth, normal, anomalous)
    if classes:
        return _classed(root, pictures, depth, classes, reason, anomalous or ())
    _refuse_deeper(root, pictures, depth)
    if depth:
        return _unlabelled(pictures)
    return _grouped(pictures, "no folder is named like a split (train, test) or class (good, bad)")


def _depth(root: str, pictures: Paths) -> int:
    """How many folders lie above the classes: one where the first folders are splits."""
    tops = dict.fromkeys(path.parts[0] for path in pictures)
    splits = [name for name in _folders(pictures, 0) if folded(name) in SPLITS]
    others = [name for name in tops if name not in splits]
    if not splits:
        return 0
    if others:
        raise ClarityError(
            f"{root}: {splits[0]} is named like a split, and {others[0]} beside it is none; put "
            f"everything below train and test, or rename {splits[0]}; {GROUPS}"
        )
    if all(SPLITS[folded(name)] != "pool" for name in splits):
        raise ClarityError(f"{root}: there is {splits[0]} but no train; add it; {GROUPS}")
    return 1


def _folders(pictures: Paths, depth: int) -> list[str]:
    """The names of the folders at this depth, in order."""
    return list(
        dict.fromkeys(path.parts[depth] for path in pictures if len(path.parts) > depth + 1)
    )


def _splits(pictures: Paths) -> list[str]:
    """The names of the first folders, train before test."""
    order = list(SPLITS)
    return sorted(_folders(pictures, 0), key=lambda name: order.index(folded(name)))


def _classes(
    root: str,
    pictures: Paths,
    depth: int,
    normal: Sequence[str] | None,
    anomalous: Sequence[str] | None,
) -> tuple[dict[str, int], str]:
    """The label of each folder that is a class, and why; none where no folder is."""
    names = _folders(pictures, depth)
    for name in names if depth else ():
        if folded(name) in SPLITS:
            above = next(path for path in pictures if path.parts[1:2] == (name,)).parts[0]
            raise ClarityError(
                f"{root}: {above}/{name} is named like a split where a class or group is expected; "
                "rename it"
            )
    if normal or anomalous:
        return _named(root, names, normal, anomalous)
    good = [name for name in names if folded(name) in NORMAL]
    bad = [name for name in names if folded(name) in ANOMALOUS]
    unknown = [name for name in names if name not in good and name not in bad]
    if not good and not bad:
        return {}, ""
    if not good:
        raise ClarityError(
            f"{root}: {bad[0]} is named like anomalies, and no folder with pictures like normals; "
            "name theirs in "
            f"data.normal{_of(unknown)}; {GROUPS}"
        )
    if unknown and not depth:
        raise ClarityError(
            f"{root}: {good[0]} is named like normals, and {listed(unknown)} beside it like "
            f"neither normals nor anomalies; if anomalies, set data.normal: {good[0]}; {GROUPS}"
        )
    labels = {name: int(name not in good) for name in names}
    if unknown:
        return labels, f"what lies beside {good[0]} is a kind of anomaly, as in MVTec AD"
    return labels, "the folders bear these names"


def _named(
    root: str, names: Sequence[str], normal: Sequence[str] | None, anomalous: Sequence[str] | None
) -> tuple[dict[str, int], str]:
    """The same where parameters say it."""
    for key, asked in (("data.normal", normal), ("data.anomalous", anomalous)):
        for name in asked or ():
            if name not in names:
                raise ClarityError(f"{key}: {root} has no folder {name}{_of(names)}")
    rest = [name for name in names if name not in (*(normal or ()), *(anomalous or ()))]
    if anomalous is None:
        return {name: int(name in rest) for name in names}, "data.normal says so"
    found = list(normal or (name for name in rest if folded(name) in NORMAL))
    strangers = [name for name in rest if name not in found]
    if not found:
        raise ClarityError(f"{root}: name the folders of normals in data.normal{_of(rest)}")
    if strangers:
        raise ClarityError(
            f"{root}: {listed(strangers)} is neither normal nor anomalous; name it in data.normal "
            "or data.anomalous, or take it away"
        )
    which = "data.normal and data.anomalous say" if normal else "data.anomalous says"
    return {name: int(name in anomalous) for name in names}, f"{which} so"


def _classed(
    root: str,
    pictures: Paths,
    depth: int,
    classes: Mapping[str, int],
    reason: str,
    anomalous: Sequence[str],
) -> Layout:
    below = [path for path in pictures if len(path.parts) > depth + 1]
    if len(below) < len(pictures):
        loose = next(path for path in pictures if len(path.parts) <= depth + 1)
        raise ClarityError(
            f"{root}: {loose} lies beside the folders {listed(list(classes))}, so it is neither "
            "normal nor anomalous; put it into one of them"
        )
    subs: dict[str, dict[str, None]] = {name: {} for name in classes}
    for path in below:
        if len(path.parts) > depth + 2:
            sub = path.parts[depth + 1]
            if folded(sub) in SPLITS:
                raise ClarityError(
                    f"{root}: {path.parts[depth]}/{sub} is named like a split; splits come above "
                    f"classes: make it {sub}/{path.parts[depth]}"
                )
            subs[path.parts[depth]][sub] = None
    grouped = {sub for name, label in classes.items() if not label for sub in subs[name]}
    # A folder of all anomalies may hold one of each kind; the same groups as the normals' may not.
    parents = {
        name
        for name, label in classes.items()
        if label
        and (name in anomalous or folded(name) in ANOMALOUS)
        and not grouped & {*subs[name]}
    }
    places = {path: _place(path, depth, classes, parents) for path in below}
    kinds = dict.fromkeys(place.kind for place in places.values() if place.label)
    check_kinds(kinds, root)
    normals = sum(place.label == 0 for place in places.values())
    where = f" below {listed(_splits(pictures))}" if depth else ""
    good = listed([name for name, label in classes.items() if not label])
    found = "no anomalies (synthetic ones are made)"
    if kinds:
        found = f"{len(places) - normals} anomalies ({listed(list(kinds))})"
    return Layout(
        places, f"read as {normals} normals ({good}) and {found}{where}, because {reason}"
    )


def _place(
    path: PurePosixPath, depth: int, classes: Mapping[str, int], parents: Iterable[str]
) -> Place:
    name, *rest = path.parts[depth:-1]
    kind = name if classes[name] else ""
    if name in parents and rest:
        kind, *rest = rest
    role = SPLITS[folded(path.parts[0])] if depth else "pool"
    return Place(role, classes[name], kind, rest[0] if rest else "")


def _unlabelled(pictures: Paths) -> Layout:
    places = {
        path: Place(SPLITS[folded(path.parts[0])], group=path.parts[1] if path.parts[2:] else "")
        for path in pictures
    }
    return Layout(
        places,
        f"read as {listed(_splits(pictures))}, all normal, {_groups(places)}, because the "
        "folders bear these names and no class (good, bad) is below them",
    )


def _grouped(pictures: Paths, reason: str) -> Layout:
    places = {path: Place(group=path.parts[0] if path.parts[1:] else "") for path in pictures}
    return Layout(places, f"read as {_groups(places)}, because {reason}")


def _groups(places: Mapping[PurePosixPath, Place]) -> str:
    count = len({place.group for place in places.values()} - {""})
    return f"{count} groups (a folder each)" if count else "pictures without groups"


def _refuse_deeper(root: str, pictures: Paths, depth: int) -> None:
    """Classes or splits below folders that are none: several data sets, or classes of groups."""
    for path in pictures:
        if len(path.parts) > depth + 2:
            above, name = path.parts[depth : depth + 2]
            if folded(name) in (*SPLITS, *NORMAL, *ANOMALOUS):
                raise ClarityError(
                    f"{root}: {above}/{name} is named like a split or class, below a folder that "
                    f"is none; if {above} is the data set, name it in data.path; else put {name} "
                    f"on top, as {name}/{above}; {GROUPS}"
                )


def listed(names: Sequence[str]) -> str:
    """Some of the names."""
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more


def _of(names: Sequence[str]) -> str:
    return f"; there are {listed(names)}" if names else ""
