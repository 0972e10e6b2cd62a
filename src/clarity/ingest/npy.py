"""``.npy`` arrays: ``trainingset.npy`` and, if there are any, its companions in one folder.

======================== ==========================================================
``trainingset.npy``      the pool: bool, uint8, uint16 or float in [0, 1]; N×H×W×3, N×H×W×1,
                         N×H×W (grey), or channels first where that is certain
``testingset.npy``       the same: the source's own test set
``testingset_labels.csv``  ``ID,anomaly``: 0 or 1 for every row of the test set
``trainingset_groups.csv``, ``testingset_groups.csv``  ``ID,group``: the person of every row
======================== ==========================================================

``ID`` is the row's number from 0. Arrays are read a few rows at a time and never held whole.
"""

from __future__ import annotations

import warnings
from pathlib import Path

import pandas as pd

from clarity.errors import ClarityError, in_a_line
from clarity.files import sha256_file
from clarity.ingest.arrays import Array, read_header, read_rows
from clarity.ingest.items import Role, Source
from clarity.problems import Faults, RowFault

TRAINING, TESTING = "trainingset", "testingset"


def open_source(folder: str, name: str | None = None) -> Source:
    """Check everything but the pixels at once; then stream the images.

    Args:
        folder: ``data.path``.
        name: ``data.name``: an ``.npz`` file, which `clarity.ingest.npz` reads.

    Raises:
        ClarityError: a file is missing, truncated, of another kind, or does not fit the others.
    """
    root = Path(folder)
    if not root.is_dir():
        raise ClarityError(f"data.path {folder}: no such folder; put {TRAINING}.npy into it")
    archives = sorted(root.glob("*.npz"))
    if name is not None or (archives and not (root / f"{TRAINING}.npy").exists()):
        from clarity.ingest import npz

        return npz.open_source(root, archives, name)
    training = read_header(root / f"{TRAINING}.npy")
    sets: list[tuple[Array, Role, list[int] | None, list[str] | None]] = [
        (training, "pool", None, _groups(root, TRAINING, training.shape[0]))
    ]
    used = [training.path, root / f"{TRAINING}_groups.csv"]
    notes = [*training.notes]
    if archives:
        notes.append(f"{archives[0].name} is not read, since there is {TRAINING}.npy")
    companions = [root / f"{TESTING}_labels.csv", root / f"{TESTING}_groups.csv"]
    if (root / f"{TESTING}.npy").exists():
        testing = read_header(root / f"{TESTING}.npy")
        labels = _labels(companions[0], testing.shape[0])
        sets.append((testing, "test", labels, _groups(root, TESTING, testing.shape[0])))
        used += [testing.path, *companions]
        notes += testing.notes
    else:
        for path in companions:
            if path.exists():
                raise ClarityError(
                    f"{path}: there is no {TESTING}.npy beside it; add that, or remove this file"
                )
        notes.append(f"no {TESTING}.npy in {folder}: the test split is cut from {TRAINING}.npy")
    return Source(
        items=(item for one in sets for item in read_rows(*one)),
        licence="the user's own data; not stated",
        credit="not stated",
        inputs={path.name: sha256_file(path) for path in used if path.exists()},
        total=sum(array.shape[0] for array, *_ in sets),
        notes=notes,
    )


def _table(
    path: Path, column: str, rows: int, known: tuple[str, ...] = (), expected: str = ""
) -> list[str]:
    """The column of a CSV ``ID,column`` as text, in the order of the IDs 0 … rows-1.

    Args:
        known: what may be written; empty: anything.
        expected: the same in words.
    """
    try:
        with warnings.catch_warnings():
            # Rows longer than the header would shift the columns with no more than a warning.
            warnings.simplefilter("error", pd.errors.ParserWarning)
            table = pd.read_csv(
                path, dtype=str, keep_default_na=False, encoding="utf-8-sig", index_col=False,
                skip_blank_lines=False,
            ).fillna("")  # fmt: skip
    except (ValueError, OSError, pd.errors.ParserWarning) as error:  # parser errors: ValueErrors
        cause = in_a_line(error, 120)
        raise ClarityError(f"{path}: not a readable CSV ({cause})") from None
    for name in ("ID", column):
        if name not in table.columns:
            raise ClarityError(
                f"{path}: no column {name}; the first line must be ID,{column}, not "
                f"{','.join(map(str, table.columns))[:80]}"
            )
    # Blank lines are rows to a spreadsheet.
    table = table.loc[(table[["ID", column]] != "").any(axis=1), ["ID", column]]
    if len(table) != rows:
        raise ClarityError(f"{path}: {len(table)} rows for {rows} images; give every image one row")
    numbers = {str(number): number for number in range(rows)}
    found: dict[int, str] = {}
    first: dict[str, int] = {}
    faults = Faults(path)
    for line, name, value in zip(table.index + 2, table["ID"], table[column], strict=True):
        with faults.of(line):
            name, value = name.strip(), value.strip()
            if name not in numbers:
                raise RowFault("ID", f"ID {name!r} is no image; IDs are 0 to {rows - 1}")
            if name in first:
                raise RowFault(
                    "twice",
                    f"ID {name} is there twice, in row {first[name]} too; give every image one row",
                )
            first[name] = line
            if known and value not in known:
                raise RowFault("value", f"{column} is {value!r} for ID {name}; write {expected}")
            found[numbers[name]] = value
    faults.refuse()
    return [found[number] for number in range(rows)]


def _labels(path: Path, rows: int) -> list[int] | None:
    if not path.exists():
        return None
    values = _table(path, "anomaly", rows, ("0", "1"), "0 (normal) or 1 (anomaly)")
    return [int(value) for value in values]


def _groups(root: Path, stem: str, rows: int) -> list[str] | None:
    path = root / f"{stem}_groups.csv"
    return _table(path, "group", rows) if path.exists() else None
