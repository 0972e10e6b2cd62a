"""Who gets the anomalies that a source brings: stated shares for val and gate, never train."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from data_helpers import make_project, random_images, run_stages, save_tree

SHARING = {"val": 0.2, "gate": 0.3, "minimum": 5, "synthetic": False}
SYNTHETIC = {"inverted"}


def anomalies_with(labelled: dict | None) -> dict:
    return {"anomalies": {"kinds": ["inverted"], "per_kind": 2, "labelled": labelled}}


def index_of(project: Path) -> pd.DataFrame:
    return pd.read_csv(
        project / "data/processed/index.csv", dtype={"id": str, "group": str}, keep_default_na=False
    )


def counted(project: Path) -> dict[str, dict[str, int]]:
    """Anomalies by split and kind."""
    made = index_of(project).query("label == 1")
    table = made.groupby("split")["kind"].value_counts()
    return {split: table[split].to_dict() for split in made["split"].unique()}


def own_test_set(project: Path, anomalies: int, groups: list[str] | None = None) -> None:
    """Twenty images to divide; ten normals and so many anomalies to test."""
    own = project / "own"
    own.mkdir()
    np.save(own / "trainingset.npy", random_images(20, (8, 8)))
    np.save(own / "testingset.npy", random_images(10 + anomalies, (8, 8), seed=1))
    for name, column, values in (
        ("labels", "anomaly", [0] * 10 + [1] * anomalies),
        ("groups", "group", groups or [""] * (10 + anomalies)),
    ):
        table = pd.Series(values, name=column).rename_axis("ID")
        table.to_csv(own / f"testingset_{name}.csv")


def test_shares_of_a_test_sets_anomalies_judge_in_val_and_gate(tmp_path: Path) -> None:
    project = make_project(tmp_path, {"source": "npy", "path": "own"}, anomalies_with(SHARING))
    # The first two anomalies are of somebody whose normals are tested.
    own_test_set(project, 32, ["anna", *[""] * 9, "anna", "anna", *[""] * 30])
    said = run_stages(project, "ingest", "preprocess")
    assert "15 of 30 labelled anomalies of the source's test set judge in val and gate" in said
    assert "labelled anomalies: 6 in val, 9 in gate, 17 in test" in said
    assert counted(project) == {
        "val": {"labelled": 6},
        "gate": {"labelled": 9},
        "test": {"labelled": 17},
    }
    index = index_of(project)
    assert set(index[index["group"] == "anna"]["split"]) == {"test"}
    assert len(index.query("split == 'test' and label == 0")) == 10
    assert index["id"].is_unique
    whole = make_project(
        tmp_path / "whole", {"source": "npy", "path": "../own"}, anomalies_with(None)
    )
    run_stages(whole, "ingest", "preprocess")
    assert counted(whole)["test"] == {"labelled": 32}
    assert set(counted(whole)["gate"]) == SYNTHETIC


def test_too_few_are_not_shared_and_that_is_said(tmp_path: Path) -> None:
    project = make_project(tmp_path, {"source": "npy", "path": "own"}, anomalies_with(SHARING))
    own_test_set(project, 20)
    said = run_stages(project, "ingest", "preprocess")
    assert "20 labelled anomalies are too few for val, gate, test to get 5 each by" in said
    assert counted(project)["test"] == {"labelled": 20}
    assert set(counted(project)["val"]) == SYNTHETIC


@pytest.mark.parametrize(
    ("synthetic", "beside"),
    [("val", {"val"}), ("all", {"val", "gate", "test"}), (True, {"val", "gate", "test"})],
)
def test_synthetic_ones_stand_beside_them_where_asked(
    synthetic: str | bool, beside: set[str], tmp_path: Path
) -> None:
    sharing = anomalies_with(SHARING | {"synthetic": synthetic})
    project = make_project(tmp_path, {"source": "npy", "path": "own"}, sharing)
    own_test_set(project, 30)
    run_stages(project, "ingest", "preprocess")
    labelled = {"val": 6, "gate": 9, "test": 15}
    assert counted(project) == {
        split: {"labelled": count} | ({"inverted": 2} if split in beside else {})
        for split, count in labelled.items()
    }


def test_every_kind_is_shared_alike(tmp_path: Path) -> None:
    project = make_project(tmp_path, {"source": "folder", "path": "own"}, anomalies_with(SHARING))
    save_tree(project / "own", {"ok": 20, "ng/dent": 20, "ng/rust": 10}, (8, 8))
    run_stages(project, "ingest", "preprocess")
    assert counted(project) == {
        "val": {"dent": 4, "rust": 2},
        "gate": {"dent": 6, "rust": 3},
        "test": {"dent": 10, "rust": 5},
    }


def test_anomalies_beside_the_training_images_leave_the_test_set_whole(tmp_path: Path) -> None:
    project = make_project(tmp_path, {"source": "folder", "path": "own"}, anomalies_with(SHARING))
    tree = {"train/good": 20, "train/bad": 12, "test/good": 5, "test/bad": 8}
    save_tree(project / "own", tree, (8, 8))
    run_stages(project, "ingest", "preprocess")
    assert {split: kinds["bad"] for split, kinds in counted(project).items()} == {
        "val": 5, "gate": 7, "test": 8,
    }  # fmt: skip


def test_an_anomaly_goes_where_its_groups_normals_are(tmp_path: Path) -> None:
    project = make_project(tmp_path, {"source": "folder", "path": "own"}, anomalies_with(SHARING))
    tree = {f"ok/part-{i}": 2 for i in range(10)} | {f"ng/part-{i}": 1 for i in range(10)}
    save_tree(project / "own", tree, (8, 8))
    run_stages(project, "ingest", "preprocess")
    index = index_of(project)
    splits = index.groupby("group")["split"].nunique()
    assert (splits == 1).all()
    found = index[index["kind"] == "ng"]
    assert 0 < len(found) < 10
    rejected = pd.read_csv(project / "data/processed/rejected.csv")
    assert len(rejected) == 10 - len(found)
    assert rejected["reason"].str.contains("an anomaly of group part-., which is in train").all()
    # A split with few of them has synthetic ones too.
    assert {"inverted", "ng"} <= set(counted(project)["gate"])


@pytest.mark.parametrize(("key", "value"), [("gate", 0.8), ("minimum", 0), ("share", 0.1)])
def test_impossible_shares_are_refused(key: str, value: float, tmp_path: Path) -> None:
    from clarity.errors import ClarityError
    from clarity.params import load_params

    project = make_project(tmp_path, {}, anomalies_with(SHARING | {key: value}))
    with pytest.raises(ClarityError, match=r"preprocess\.anomalies\.labelled"):
        load_params(project / "params.yaml")
