"""Layouts of folders: recognised and said aloud, or refused with the parameter that decides."""

from __future__ import annotations

from collections import Counter
from pathlib import Path, PurePosixPath

import pandas as pd
import pytest
from data_helpers import make_project, refused, run_stages, save_tree

from clarity.errors import ClarityError
from clarity.ingest.layouts import Layout, recognise
from clarity.preprocess.anomalies import KINDS

RAW = ("data/raw/items.parquet", "data/raw/source.json")


def read(
    *names: str, normal: list[str] | None = None, anomalous: list[str] | None = None
) -> Layout:
    return recognise("own", [PurePosixPath(name) for name in names], normal, anomalous)


def places(layout: Layout) -> dict[str, tuple]:
    return {
        str(path): (place.role, place.label, place.kind, place.group)
        for path, place in layout.places.items()
    }


def test_two_folders_are_normals_and_anomalies() -> None:
    layout = read("Good/1.png", "Good/anna/2.png", "BAD/3.png")
    assert places(layout) == {
        "Good/1.png": ("pool", 0, "", ""),
        "Good/anna/2.png": ("pool", 0, "", "anna"),
        "BAD/3.png": ("pool", 1, "BAD", ""),
    }
    assert layout.said == (
        "read as 2 normals (Good) and 1 anomalies (BAD), because the folders bear these names"
    )


def test_splits_above_two_folders_are_kept() -> None:
    layout = read("train/ok/1.png", "Validation/ng/2.png", "val/ok/3.png", "test/ng/4.png")
    assert places(layout) == {
        "train/ok/1.png": ("pool", 0, "", ""),
        "Validation/ng/2.png": ("val", 1, "ng", ""),
        "val/ok/3.png": ("val", 0, "", ""),
        "test/ng/4.png": ("test", 1, "ng", ""),
    }


def test_folder_of_anomalies_holds_kinds_or_the_groups_of_the_normals() -> None:
    kinds = read("ok/1.png", "nok/dent/2.png", "nok/scratch/part-1/3.png")
    assert places(kinds)["nok/dent/2.png"] == ("pool", 1, "dent", "")
    assert places(kinds)["nok/scratch/part-1/3.png"] == ("pool", 1, "scratch", "part-1")
    groups = read("ok/part-1/1.png", "nok/part-1/2.png", "nok/part-2/3.png")
    assert places(groups)["nok/part-2/3.png"] == ("pool", 1, "nok", "part-2")


def test_parameters_name_folders_of_any_name() -> None:
    layout = read("fine/1.png", "rust/2.png", "dent/3.png", normal=["fine"])
    assert [place.kind for place in layout.places.values()] == ["", "rust", "dent"]
    assert layout.said.endswith("because data.normal says so")
    layout = read("train/a/1.png", "test/b/x/2.png", normal=["a"], anomalous=["b"])
    assert places(layout)["test/b/x/2.png"] == ("test", 1, "x", "")


def test_what_lies_beside_good_below_a_split_is_a_kind() -> None:
    layout = read("test/good/2.png", "test/bent lead/3.png", "train/good/1.png")
    assert places(layout)["test/bent lead/3.png"] == ("test", 1, "bent lead", "")
    assert layout.said == (
        "read as 2 normals (good) and 1 anomalies (bent lead) below train, test, because what lies "
        "beside good is a kind of anomaly, as in MVTec AD"
    )


def test_folders_without_such_names_are_groups() -> None:
    layout = read("anna/1.png", "bert/2.png", "3.png")
    assert [place.group for place in layout.places.values()] == ["anna", "bert", ""]
    assert layout.said.startswith("read as 2 groups (a folder each), because no folder is named")
    assert read("1.png").said.startswith("read as pictures without groups")
    forced = read("good/1.png", "bad/2.png", "train/3.png", normal=[])
    assert places(forced)["bad/2.png"] == ("pool", None, "", "bad")
    splits = read("train/anna/1.png", "test/2.png")
    assert places(splits) == {
        "train/anna/1.png": ("pool", None, "", "anna"),
        "test/2.png": ("test", None, "", ""),
    }
    assert "all normal" in splits.said


REFUSED = {
    "kinds without a split": (["good/1.png", "dent/2.png"], "set data.normal: good; "),
    "no normals": (["bad/1.png", "fine/2.png"], "name theirs in data.normal; there are fine"),
    "a class called train": (
        ["train/1.png", "good/2.png"],
        "train is named like a split, and",
    ),
    "a kind called train": (["train/good/1.png", "test/train/2.png"], "test/train is named like a"),
    "classes above splits": (["good/train/1.png", "bad/test/2.png"], "make it train/good"),
    "a picture beside classes": (["good/1.png", "bad/2.png", "3.png"], "3.png lies beside"),
    "a test set alone": (["test/good/1.png"], "there is test but no train"),
    "several data sets": (["cup/train/good/1.png", "cap/test/good/2.png"], "name it in data.path"),
    "classes of persons": (["anna/good/1.png", "bert/bad/2.png"], "as good/anna"),
    "a taken kind": (["ok/1.png", "bad/cutpaste/2.png"], "'cutpaste' as a kind of anomaly"),
    "a kind like a limit": (["ok/1.png", "bad/a/2.png", "bad/a_low/2.png"], "'a_low' as a kind"),
    "a kind of signs": (["ok/1.png", "bad/a|b/2.png"], "'a|b' as a kind of anomaly holds more"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_not_clear_is_refused(case: str) -> None:
    names, says = REFUSED[case]
    with pytest.raises(ClarityError) as refusal:
        read(*names)
    assert says in str(refusal.value)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ({"normal": ["fien"]}, "data.normal: own has no folder fien; there are fine, rust, dent"),
        ({"anomalous": ["rust"]}, "name the folders of normals in data.normal; there are fine"),
        ({"normal": ["fine"], "anomalous": ["rust"]}, "dent is neither normal nor anomalous"),
    ],
)
def test_parameters_that_do_not_fit_are_refused(asked: dict[str, list[str]], says: str) -> None:
    with pytest.raises(ClarityError) as refusal:
        read("fine/1.png", "rust/2.png", "dent/3.png", **asked)
    assert says in str(refusal.value)


def index_of(project: Path) -> pd.DataFrame:
    return pd.read_csv(
        project / "data/processed/index.csv", dtype={"id": str, "group": str}, keep_default_na=False
    )


def test_anomalies_of_two_folders_are_never_trained_on(tmp_path: Path) -> None:
    project = make_project(tmp_path, {"source": "folder", "path": "own"})
    save_tree(project / "own", {"ok": 24, "nok/dent": 3, "nok/scratch": 4})
    said = run_stages(project, "ingest", "preprocess")
    assert "ingest: read as 24 normals (ok) and 7 anomalies (dent, scratch), because" in said
    index = index_of(project)
    anomalies = index[index["label"] == 1]
    assert Counter(anomalies.query("split == 'test'")["kind"]) == {"dent": 3, "scratch": 4}
    assert not set(anomalies.query("split != 'test'")["kind"]) & {"dent", "scratch"}
    assert set(index.query("label == 0")["split"]) == {"train", "val", "gate", "test"}


def test_splits_that_the_source_brings_are_those(tmp_path: Path) -> None:
    project = make_project(tmp_path, {"source": "folder", "path": "own"})
    tree = {"train/good": 12, "val/good": 3, "val/bad": 2, "test/good": 4, "test/bad": 2}
    save_tree(project / "own", tree)
    # The same picture, said to be both.
    for name in ("train/good/twice.png", "test/bad/twice.png"):
        (project / "own" / name).write_bytes((project / "own/train/good/0.png").read_bytes())
    (project / "own/train/good/0.png").unlink()
    run_stages(project, "ingest", "preprocess")
    index = index_of(project)
    for split in ("val", "test"):
        own = index[(index["split"] == split)]
        assert set(own["id"].str.split("/").str[0]) == {split}
        made = own["id"].str.contains("#")  # synthetic ones, beside the one kind that was brought
        assert set(own[~made]["kind"]) == {"normal", "bad"}
        assert set(own[made]["kind"]) == (set(KINDS) if split == "val" else set())
    assert len(index.query("split in ('train', 'gate') and label == 0")) == 11
    rejected = pd.read_csv(project / "data/processed/rejected.csv")
    assert list(rejected["reason"]) == ["same pixels labelled 0 and 1"] * 2


def test_unclear_layout_is_one_line_of_the_command(tmp_path: Path) -> None:
    project = make_project(tmp_path, {"source": "folder", "path": "own"})
    save_tree(project / "own", {"good": 2, "dent": 1})
    line = refused(project, "ingest", RAW)
    assert "set data.normal: good; if the folders are people or other groups" in line
