"""``index.csv`` and ``rejected.csv``: their columns, checked before they are written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import pandas as pd
import pandera.pandas as pa

from clarity.layout import SPLITS

INDEX_SCHEMA = pa.DataFrameSchema(
    {
        "split": pa.Column(str, pa.Check.isin(SPLITS)),
        "label": pa.Column(int, pa.Check.isin([0, 1])),
        "row": pa.Column(int, pa.Check.ge(0)),
        "id": pa.Column(str, pa.Check.str_length(min_value=1), unique=True),
        "group": pa.Column(str, pa.Check.str_length(min_value=1)),
        "kind": pa.Column(str, pa.Check.str_length(min_value=1)),
        "has_mask": pa.Column(int, pa.Check.isin([0, 1])),
        "sha256": pa.Column(str, pa.Check.str_matches(r"^[0-9a-f]{64}$")),
    },
    checks=[
        pa.Check(lambda t: (t["kind"] == "normal") == (t["label"] == 0), name="kind fits label"),
        pa.Check(
            lambda t: t.loc[t["label"] == 0].groupby("group")["split"].nunique().max() == 1,
            name="a group's normals are in one split",
        ),
        pa.Check(
            lambda t: t["row"] == t.groupby(["split", "label"]).cumcount(),
            name="rows count from 0",
        ),
    ],
    unique=["split", "label", "row"],
    strict=True,
    ordered=True,
)


@dataclass(frozen=True, slots=True)
class IndexRow:
    """One packed image; docs/architecture.md describes the columns."""

    split: str
    label: int
    row: int
    id: str
    group: str
    kind: str
    has_mask: int
    sha256: str


def write_index(path: Path, rows: Sequence[IndexRow]) -> None:
    """Check and write ``index.csv``: train, val, gate, test; normals before anomalies; by row."""
    ordered = sorted(rows, key=lambda r: (SPLITS.index(r.split), r.label, r.row))
    table = pd.DataFrame({name: [getattr(r, name) for r in ordered] for name in _INDEX_COLUMNS})
    INDEX_SCHEMA.validate(table).to_csv(path, index=False, lineterminator="\n")


_INDEX_COLUMNS = tuple(INDEX_SCHEMA.columns)


@dataclass(frozen=True, slots=True)
class Rejected:
    """An image that is left out, and why."""

    id: str
    reason: str


def write_rejected(path: Path, rows: Sequence[Rejected]) -> None:
    """Write ``rejected.csv``, in the source's order."""
    table = pd.DataFrame([asdict(row) for row in rows], columns=["id", "reason"])
    table.to_csv(path, index=False, lineterminator="\n")
