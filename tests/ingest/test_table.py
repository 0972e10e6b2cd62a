"""A table of pictures: any order, separator and type; what it says wrongly is one line."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from data_helpers import make_project, refused, run_stages, save_tree
from PIL import Image

RAW = ("data/raw/items.parquet", "data/raw/source.json")
TREE = {"a": 12, "b": 4, "c": 5}


def rows() -> list[dict[str, str]]:
    """Twelve to be divided, four normals to test, two kinds of anomaly, one with a mask."""
    found = [{"path": f"a/{i}.png", "group": f"part {i % 6}"} for i in range(12)]
    found += [{"path": f"b/{i}.png", "label": "good", "split": "test"} for i in range(4)]
    found += [{"path": f"c/{i}.png", "kind": "dent", "split": "test"} for i in range(3)]
    found += [{"path": "c/3.png", "label": "NG", "kind": "süß", "split": "test"}]
    found[-1]["mask"] = "m.png"
    return found


@pytest.fixture
def project(tmp_path: Path) -> Path:
    project = make_project(tmp_path, {"source": "table", "path": "own"})
    save_tree(project / "own", TREE, (64, 64))
    mask = np.zeros((64, 64), np.uint8)
    mask[:5] = 255
    Image.fromarray(mask).save(project / "own/m.png")
    return project


def write(project: Path, content: list[dict[str, str]], **how: str) -> None:
    table = pd.DataFrame(content).fillna("")
    table.to_csv(project / "own/list.csv", index=False, **how)  # type: ignore[call-overload]


def test_a_table_says_what_pictures_are(project: Path) -> None:
    write(project, rows())
    said = run_stages(project, "ingest", "preprocess")
    assert (
        "read as 16 normals, 12 of them not labelled and 4 anomalies (dent, süß), because list.csv "
        "says so in its columns path, group, label, split, kind, mask"
    ) in said
    assert "1 pictures are not in the table, c/4.png is the first" in said
    index = pd.read_csv(project / "data/processed/index.csv")
    test = index[index["split"] == "test"]
    assert list(test["kind"]) == ["normal"] * 4 + ["dent"] * 3 + ["süß"]
    assert list(test["has_mask"]) == [0] * 7 + [1]
    assert np.load(project / "data/processed/test_masks.npy")[3].sum() == 5 * 64
    normals = index.query("label == 0 and split != 'test'")
    assert normals.groupby("group")["split"].nunique().max() == 1
    assert set(normals["group"]) == {f"part {i}" for i in range(6)}


def test_every_way_to_write_the_same_table_gives_the_same_bytes(project: Path) -> None:
    def items(name: str | None = None) -> bytes:
        run_stages(project, "ingest")
        return (project / "data/raw/items.parquet").read_bytes()

    write(project, rows())
    first = items()
    shuffled = [dict(reversed(row.items())) for row in random.Random(0).sample(rows(), 20)]
    names = {"path": "File Name", "split": "SET"}
    renamed = [{names.get(key, key): value for key, value in row.items()} for row in shuffled]
    write(project, renamed, sep=";", encoding="utf-8-sig")
    assert items() == first
    write(project, shuffled, sep="\t", encoding="utf-16")
    assert items() == first
    back = [row | {"path": row["path"].replace("/", "\\")} for row in rows()]
    for ending in ("\r\n", "\r"):
        write(project, back, lineterminator=ending)
        assert items() == first
    (project / "own/list.csv").unlink()
    table = pd.DataFrame(rows())
    labels = {"good": 0.0, "NG": 1.0}  # with holes, so floats
    table["label"] = [labels.get(str(label)) for label in table["label"]]
    table.to_parquet(project / "own/list.parquet")
    assert items() == first


def changed(number: int, **cells: str) -> list[dict[str, str]]:
    content = rows()
    content[number] |= cells
    return content


MALFORMED = {
    "a label that is neither": (changed(12, label="dusty"), "b/0.png: label 'dusty' is neither"),
    "a kind of a normal": (changed(12, kind="dent"), "label 'good' and kind 'dent' contradict"),
    "a split of its own": (changed(12, split="holdout"), "split 'holdout' is none of train, val"),
    "no such picture": (changed(0, path="a/99.png"), "the path a/99.png is no file below own"),
    "no name at all": (
        changed(0, path="0" * 999),
        "is too long for a file's name",
    ),
    "an empty path": (changed(0, path=""), "list.csv:2: the row has no path"),
    "a way out": (changed(0, path="../params.yaml"), "leads out of own, where DVC would not see"),
    "no picture": (changed(0, path="list.csv"), "is no picture by its ending"),
    "a picture twice": (
        changed(0, path="a/1.png"),
        "list.csv:3: a/1.png is there twice, in row 2 too",
    ),
    "no such mask": (changed(19, mask="n.png"), "the mask n.png is no file below own"),
    "a mask of a normal": (changed(12, mask="m.png"), "b/0.png has a mask and is not labelled"),
    "two columns of paths": (changed(0, image="a/0.png"), "columns path and image both name the"),
    "the same fault again": (
        [row | {"split": f"s{n}"} if n % 2 else row for n, row in enumerate(rows())],
        "list.csv:3: a/1.png: split 's1' is none of train, val, gate and test "
        "[and 9 more such rows: 5, 7, 9, 11, 13, …]",
    ),
    "a taken kind": (changed(16, kind="all"), "'all' as a kind of anomaly means something else"),
}


@pytest.mark.parametrize("case", MALFORMED)
def test_malformed_tables_are_one_line(case: str, project: Path) -> None:
    content, says = MALFORMED[case]
    write(project, content)
    assert says in refused(project, "ingest", RAW)


FILES = {
    "no table": (None, "no table (.csv .tsv .parquet) in this folder"),
    "no column of paths": (b"name,label\na/0.png,0\n", "no column path; the first line is"),
    "a longer row": (b"path,label\na/0.png,0,1\n", "list.csv:2: 3 values for the 2 columns"),
    "only a first line": (b"path,label\n", "no rows below the first line"),
    "another encoding": ("path,group\na/0.png,Jörg\n".encode("latin-1"), "not UTF-8 text"),
    "longer rows, one over two lines, one blank": (
        b'path,label\n"a\n",0,1\n\na/0.png,0,1\n',
        "list.csv:2: 3 values for the 2 columns of the first line, with ',' between them [and 1 "
        "more such row: 4]",
    ),
    "an open quote": (b'path,label\na/1.png,0\n"a/0.png,0\n', "list.csv:3: not a readable table"),
}


@pytest.mark.parametrize("case", FILES)
def test_files_that_are_no_such_table_are_one_line(case: str, project: Path) -> None:
    content, says = FILES[case]
    if content is not None:
        (project / "own/list.csv").write_bytes(content)
    assert says in refused(project, "ingest", RAW)


def test_of_several_tables_one_is_named(tmp_path: Path) -> None:
    project = make_project(tmp_path / "a", {"source": "table", "path": "own"})
    save_tree(project / "own", {"a": 2})
    for name in ("x.csv", "y.csv"):
        (project / "own" / name).write_text("path\na/0.png\n")
    assert "x.csv, y.csv; say in data.name which" in refused(project, "ingest", RAW)
    named = make_project(tmp_path / "b", {"source": "table", "path": "../a/own", "name": "y.csv"})
    assert "because y.csv says so" in run_stages(named, "ingest")
    wrong = make_project(tmp_path / "c", {"source": "table", "path": "../a/own", "name": "z.csv"})
    assert "data.name z.csv: no table" in refused(wrong, "ingest", RAW)
