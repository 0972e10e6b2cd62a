"""Pictures that a table lists: CSV or Parquet, with a column of paths and whatever else is known.

Columns are found by their names (`COLUMNS`), in any order and case; rows may come in any order, and
the same rows in another give the same bytes. Values are text: an empty one says nothing.
"""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from clarity.errors import ClarityError, in_a_line
from clarity.files import sha256_file
from clarity.ingest.folder import KINDS, UNFIT, in_order, pictures_below, read_places
from clarity.ingest.items import Source
from clarity.ingest.layouts import Place, listed
from clarity.ingest.words import ANOMALOUS, NORMAL, SPLITS, folded, unfit_kind
from clarity.problems import Faults, RowFault

#: What a column is called, folded: any of these.
COLUMNS = {
    "path": ("path", "file", "filename", "file name", "filepath", "image", "image path", "picture"),
    "group": ("group", "person"),
    "label": ("label", "anomaly", "anomalous"),
    "kind": ("kind", "defect", "defect type", "anomaly type"),
    "split": ("split", "set", "subset"),
    "mask": ("mask", "mask path"),
}
ENDINGS = (".csv", ".tsv", ".parquet")
SEPARATORS = (",", ";", "\t", "|")
#: What a label is written like, folded.
LABELS = {
    **dict.fromkeys(("0", "0.0", "false", *NORMAL), 0),
    **dict.fromkeys(("1", "1.0", "true", *ANOMALOUS), 1),
}
#: Bytes of a file's name that file systems take.
LONGEST = 255
#: Bytes of a path below the table's folder; systems take 4096 of a whole one.
LONGEST_PATH = 2048
UTF_16 = (b"\xff\xfe", b"\xfe\xff")

Row = Mapping[str, str]
#: A name as the file has it, and the values as text.
Column = tuple[str, list[str]]


def open_source(folder: str, name: str | None = None) -> Source:
    """The pictures that the table in ``folder`` lists, in the order of their paths.

    Args:
        folder: ``data.path``, which the paths start from.
        name: ``data.name``: the table's file, where there are several.

    Raises:
        ClarityError: no table, one that is not readable, or a row that says something impossible.
    """
    root = Path(folder)
    if not root.is_dir():
        raise ClarityError(f"data.path {folder}: no such folder")
    path = _find(root, name)
    table, numbers = _read(path)
    columns, unread = _columns(path, table)
    rows = [
        dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)
    ]
    if not rows:
        raise ClarityError(f"{path}: no rows below the first line; list the pictures")
    places, masks = _places(root, path, dict(zip(numbers, rows, strict=True)))
    kinds = dict.fromkeys(place.kind for place in places.values() if place.kind)
    source = Source(
        items=iter(()),
        licence="the user's own data; not stated",
        credit="not stated",
        inputs={path.name: sha256_file(path)},
        total=len(places),
        notes=[_said(path, places, columns, list(kinds)), *_left(root, places, masks, unread)],
        annotated=bool(kinds or masks),
    )
    source.items = read_places(root, places, masks, source.inputs)
    return source


def _places(
    root: Path, path: Path, rows: Mapping[int, Row]
) -> tuple[dict[PurePosixPath, Place], dict[PurePosixPath, PurePosixPath]]:
    """Places and masks by picture, in the order of their paths, of rows by number.

    Raises:
        ClarityError: a row says something impossible; the first one is named, others counted.
    """
    places: dict[PurePosixPath, Place] = {}
    masks: dict[PurePosixPath, PurePosixPath] = {}
    first: dict[PurePosixPath, int] = {}
    faults = Faults(path)
    for number, row in rows.items():
        with faults.of(number):
            picture = _file(root, row["path"], "path")
            if picture in first:
                raise RowFault(
                    "twice",
                    f"{picture} is there twice, in row {first[picture]} too; give every picture "
                    "one row",
                )
            first[picture] = number
            place = _place(picture, row)
            if row.get("mask"):
                if place.label != 1:
                    raise RowFault(
                        "mask", f"{picture} has a mask and is not labelled an anomaly; say one"
                    )
                masks[picture] = _file(root, row["mask"], "mask")
            places[picture] = place
    faults.refuse()
    kinds = {place.kind for place in places.values()}
    for picture, place in places.items():
        with faults.of(first[picture]):
            if place.kind and (problem := unfit_kind(place.kind, kinds)):
                raise RowFault(place.kind, problem)
    faults.refuse()
    return {name: places[name] for name in sorted(places, key=in_order)}, masks


def _find(root: Path, name: str | None) -> Path:
    if name is not None:
        path = root / name
        if not path.is_file() or path.suffix.lower() not in ENDINGS:
            raise ClarityError(f"data.name {name}: no table ({' '.join(ENDINGS)}) in {root}")
        return path
    found = sorted(
        path for path in root.iterdir() if path.suffix.lower() in ENDINGS and path.name[0] != "."
    )
    if not found:
        raise ClarityError(f"data.path {root}: no table ({' '.join(ENDINGS)}) in this folder")
    if len(found) > 1:
        names = listed([path.name for path in found])
        raise ClarityError(f"data.path {root}: {names}; say in data.name which is the table")
    return found[0]


def _read(path: Path) -> tuple[list[Column], Sequence[int]]:
    """The columns, and the number of each of their rows."""
    try:
        if path.suffix.lower() == ".parquet":
            import pyarrow.parquet as pq

            table = pq.ParquetFile(path).read()
            values = [[_text(value) for value in column.to_pylist()] for column in table.columns]
            return list(zip(table.column_names, values, strict=True)), range(2, len(table) + 2)
        content = path.read_bytes()
        return _parse(path, content.decode("utf-16" if content[:2] in UTF_16 else "utf-8-sig"))
    except UnicodeDecodeError:
        raise ClarityError(f"{path}: not UTF-8 text; save it as “CSV UTF-8”") from None
    except (ValueError, OSError) as error:  # what pyarrow says is among them
        cause = in_a_line(error, 120)
        raise ClarityError(f"{path}: not a readable table ({cause})") from None


def _parse(path: Path, text: str) -> tuple[list[Column], list[int]]:
    """A CSV whose separator is the one by which the first line has a column of paths."""
    if text.startswith("sep="):  # Excel's own line
        _, text = _first_line(text)
    first = _first_line(text)[0].strip()
    for separator in SEPARATORS:
        names = next(csv.reader([first], delimiter=separator), [])
        if any(folded(name) in COLUMNS["path"] for name in names):
            break
    else:
        raise ClarityError(f"{path}: no column path; the first line is {first[:80]!r}")
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    rows: dict[int, list[str]] = {}
    number, faults = 0, Faults(path)
    try:
        for number, row in enumerate(reader, 1):
            if number == 1 or not any(row):
                continue
            with faults.of(number):
                if len(row) != len(names):
                    raise RowFault(
                        "length",
                        f"{len(row)} values for the {len(names)} columns of the first line, with "
                        f"{separator!r} between them",
                    )
                rows[number] = [value.strip() for value in row]
    except csv.Error as error:
        raise ClarityError(f"{path}:{number + 1}: not a readable table ({error})") from None
    faults.refuse()
    table = [(name.strip(), [row[k] for row in rows.values()]) for k, name in enumerate(names)]
    return table, list(rows)


def _first_line(text: str) -> tuple[str, str]:
    """It and the rest; also of a file whose lines end in a carriage return, as old Macs wrote."""
    first, *rest = re.split(r"\r\n|\r|\n", text, maxsplit=1)
    return first, "".join(rest)


def _text(value: Any) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, bool) or (isinstance(value, float) and value.is_integer()):
        value = int(value)
    return str(value).strip()


def _columns(path: Path, table: Iterable[Column]) -> tuple[dict[str, list[str]], list[str]]:
    """The columns that are known, by what they are; and the names of the others."""
    found: dict[str, Column] = {}
    unread = []
    for name, values in table:
        what = next((key for key, names in COLUMNS.items() if folded(name) in names), None)
        if what is None:
            unread.append(name)
        elif what in found:
            raise ClarityError(f"{path}: columns {found[what][0]} and {name} both name the {what}")
        else:
            found[what] = name, values
    if "path" not in found:
        raise ClarityError(f"{path}: no column path; there are {listed(unread)}")
    return {what: values for what, (_, values) in found.items()}, [n for n in unread if n]


def _file(root: Path, written: str, what: str) -> PurePosixPath:
    """A file below ``root`` that a row names."""
    if not written:
        raise RowFault("empty", "the row has no path; fill it in or remove the row")
    named = f"the {what} {written}"
    if UNFIT.search(written):
        raise RowFault(
            "control", f"the {what} {written[:80]!a} holds control characters; rename it"
        )
    if any(len(part.encode()) > LONGEST for part in written.split("/")):
        raise RowFault("long", f"the {what} {written[:80]}… is too long for a file's name")
    if len(written.encode()) > LONGEST_PATH:
        raise RowFault("long", f"the {what} {written[:80]}… is too long for a path")
    text = written if (root / written).is_file() else written.replace("\\", "/")
    path = Path(text)
    if path.is_relative_to(root.resolve()):
        path = path.relative_to(root.resolve())
    if path.is_absolute() or ".." in path.parts:
        raise RowFault(
            "out",
            f"{named} leads out of {root}, where DVC would not see a change; move it there, or "
            "name the folder above both in data.path",
        )
    if not (root / path).is_file():
        raise RowFault(f"no {what}", f"{named} is no file below {root}")
    if path.suffix.lower() not in KINDS:
        raise RowFault(f"no picture, {what}", f"{named} is no picture by its ending")
    return PurePosixPath(path.as_posix())


def _place(picture: PurePosixPath, row: Row) -> Place:
    text, kind, split = (row.get(name, "") for name in ("label", "kind", "split"))
    label = LABELS.get(folded(text))
    if text and label is None:
        raise RowFault(
            "label",
            f"{picture}: label {text!r} is neither normal (0, normal, good, …) nor anomalous (1, "
            "anomaly, bad, …); if it is a kind of anomaly, name the column kind",
        )
    if kind:
        said = int(folded(kind) not in NORMAL)
        if label is not None and label != said:
            raise RowFault(
                "contradiction",
                f"{picture}: label {text!r} and kind {kind!r} contradict each other",
            )
        label = said
    if split and folded(split) not in SPLITS:
        raise RowFault("split", f"{picture}: split {split!r} is none of train, val, gate and test")
    role = SPLITS[folded(split)] if split else "pool"
    return Place(role, label, kind if label else "", row.get("group", ""))


def _said(
    path: Path, places: Mapping[PurePosixPath, Place], columns: Iterable[str], kinds: Sequence[str]
) -> str:
    labels = [place.label for place in places.values()]
    count = labels.count(1)
    of = f" ({listed(kinds)})" if kinds else ""
    unsaid = f", {labels.count(None)} of them not labelled" if labels.count(None) > 0 else ""
    return (
        f"read as {len(places) - count} normals{unsaid} and {count} anomalies{of}, because "
        f"{path.name} says so in its columns {', '.join(columns)}"
    )


def _left(
    root: Path,
    places: Mapping[PurePosixPath, Place],
    masks: Mapping[PurePosixPath, PurePosixPath],
    unread: Sequence[str],
) -> list[str]:
    """What the table and the folder hold that is not used."""
    notes = [f"columns that are not read: {listed(unread)}"] if unread else []
    rest = set(pictures_below(root)) - {*places, *masks.values()}
    if rest:
        first = min(rest, key=in_order)
        notes.append(f"{len(rest)} pictures are not in the table, {first} is the first")
    return notes
