"""Arrays of other sides than N×height×width×3, and archives of several."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from data_helpers import make_project, random_images, refused, run_stages

RAW = ("data/raw/items.parquet", "data/raw/source.json")
IMAGES = random_images(12, (20, 24))
GREY = IMAGES[..., 0]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    project = make_project(tmp_path, {"source": "npy", "path": "own"})
    (project / "own").mkdir()
    return project


def packed(project: Path) -> dict[str, bytes]:
    """What preprocess makes of the pixels, ids left out."""
    run_stages(project, "preprocess")
    arrays = ("train", "val", "gate", "test", "test_anomalies")
    return {name: (project / f"data/processed/{name}.npy").read_bytes() for name in arrays}


SIDES: dict[str, tuple[np.ndarray, np.ndarray, str]] = {
    "grey": (
        GREY,
        np.repeat(GREY[..., None], 3, 3),
        "read as grey images, because its",
    ),
    "one channel": (GREY[..., None], np.repeat(GREY[..., None], 3, 3), "read as grey images"),
    "channels first": (IMAGES.transpose(0, 3, 1, 2), IMAGES, "read as channels first, because its"),
    "one channel first": (GREY[:, None], np.repeat(GREY[..., None], 3, 3), "channels first"),
}


@pytest.mark.parametrize("case", SIDES)
def test_other_sides_give_the_same_pixels(case: str, project: Path) -> None:
    stored, same, says = SIDES[case]
    np.save(project / "own/trainingset.npy", stored)
    assert says in run_stages(project, "ingest")
    found = packed(project)
    np.save(project / "own/trainingset.npy", same)
    assert "read as" not in run_stages(project, "ingest")
    assert packed(project) == found


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_an_archive_holds_what_the_files_would(save: Callable, project: Path) -> None:
    own, testing = project / "own", random_images(6, (20, 24), seed=1)
    labels, groups = np.array([0, 1, 0, 1, 0, 0]), np.array([f"part {i // 2}" for i in range(12)])
    np.save(own / "trainingset.npy", IMAGES)
    np.save(own / "testingset.npy", testing)
    for name, column, values in (
        ("testingset_labels", "anomaly", labels),
        ("trainingset_groups", "group", groups),
    ):
        pd.Series(values, name=column).rename_axis("ID").to_csv(own / f"{name}.csv")
    run_stages(project, "ingest")
    items = (project / "data/raw/items.parquet").read_bytes()
    for path in own.iterdir():
        path.unlink()
    save(
        own / "set.npz",
        trainingset=np.asfortranarray(IMAGES) if save is np.savez else IMAGES,
        testingset=testing,
        testingset_labels=labels,
        trainingset_groups=groups,
        y_test=np.arange(6),
    )
    said = run_stages(project, "ingest")
    assert "read as trainingset (pool), testingset (test), because arrays of set.npz" in said
    assert "arrays that are not read: y_test" in said
    assert (project / "data/raw/items.parquet").read_bytes() == items


def save(**arrays: Any) -> Callable[[Path], None]:
    return lambda own: np.savez(own / "set.npz", **arrays)


def harmed(own: Path) -> None:
    np.savez(own / "set.npz", images=IMAGES)
    content = bytearray((own / "set.npz").read_bytes())
    content[3000] ^= 255
    (own / "set.npz").write_bytes(content)


def several(own: Path) -> None:
    for name in "ab":
        np.savez(own / f"{name}.npz", IMAGES)


MALFORMED: dict[str, tuple[Callable[[Path], object], str]] = {
    "no archive": (lambda own: (own / "set.npz").write_text("x"), "set.npz: not an .npz file"),
    "several": (several, "a.npz, b.npz; say in data.name which has the images"),
    "no images": (save(a=IMAGES, b=IMAGES), "no array trainingset or train or x_train"),
    "objects": (save(images=np.array([None])), "set.npz: images: an array of objects"),
    "labels of classes": (save(train=IMAGES, train_labels=np.arange(12)), "holds 2; 0 is normal"),
    "other labels": (save(train=IMAGES, train_labels=np.zeros(3)), "has the shape 3 for 12 images"),
    "groups of floats": (save(train=IMAGES, train_groups=np.zeros(12)), "is of float64"),
    "harmed": (harmed, "set.npz: images: broken ("),
}


@pytest.mark.parametrize("case", MALFORMED)
def test_malformed_archives_are_one_line(case: str, project: Path) -> None:
    write, says = MALFORMED[case]
    write(project / "own")
    assert says in refused(project, "ingest", RAW)


def test_of_several_archives_one_is_named(project: Path) -> None:
    several(project / "own")
    named = make_project(
        project / "other", {"source": "npy", "path": str(project / "own"), "name": "b.npz"}
    )
    assert "read as arr_0 (pool), because arrays of b.npz" in run_stages(named, "ingest")
