"""Malformed data through the real command line: one line, exit code 2, nothing touched."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from data_helpers import (
    clarity,
    huge_png,
    make_project,
    random_images,
    refused,
    run_stages,
    save_pictures,
)
from PIL import Image

PROCESSED = tuple(f"data/processed/{name}" for name in ("train.npy", "index.csv", "rejected.csv"))


def jpeg() -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(random_images(1, (90, 90))[0]).save(buffer, "JPEG")
    return buffer.getvalue()


BROKEN: dict[str, tuple[str, Callable[[Path], object], str]] = {
    "text": ("p.png", lambda path: path.write_text("no picture"), "not a picture of a known kind"),
    "40,000×40,000": ("p.png", lambda path: huge_png(path, 40_000), "pixels"),
    "nothing": ("p.jpg", lambda path: path.write_bytes(b""), "empty file"),
    "truncated": ("p.jpg", lambda path: path.write_bytes(jpeg()[:2000]), "broken picture: "),
    "another program's": (
        "p.png",
        lambda path: path.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n"),
        "not a picture of a known kind",
    ),
}


@pytest.mark.parametrize("case", BROKEN)
def test_too_many_broken_pictures_stop_the_run(case: str, tmp_path: Path) -> None:
    name, write, reason = BROKEN[case]
    project = make_project(tmp_path, {"source": "folder", "path": "own"})
    save_pictures(project / "own", 5, 2)
    write(project / "own/person-0" / name)
    run_stages(project, "ingest")
    line = refused(project, "preprocess", PROCESSED, run=clarity)
    assert "1 of 11 images cannot be used, more than preprocess.max_rejected (0.05)" in line
    assert f"the first is person-0/{name}: " in line
    assert reason in line


def npy_project(folder: Path, training: np.ndarray, **preprocess: object) -> Path:
    project = make_project(folder, {"source": "npy", "path": "own"}, preprocess)
    (project / "own").mkdir()
    np.save(project / "own/trainingset.npy", training)
    return project


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_images_that_are_not_finite_stop_the_run(value: float, tmp_path: Path) -> None:
    images = (random_images(12, (8, 8)) / 255).astype(np.float32)
    images[3, 2, 1, 0] = value
    project = npy_project(tmp_path, images)
    run_stages(project, "ingest")
    assert "trainingset/3: NaN or infinite pixels" in refused(project, "preprocess", PROCESSED)


def test_duplicates_can_be_refused(tmp_path: Path) -> None:
    images = random_images(12)
    images[7] = images[2]
    project = npy_project(tmp_path, images, duplicates="refuse")
    run_stages(project, "ingest")
    assert "trainingset/7 has the same pixels as trainingset/2" in refused(
        project, "preprocess", PROCESSED
    )


def test_too_few_groups_cannot_be_split(tmp_path: Path) -> None:
    project = npy_project(tmp_path, random_images(12))
    rows = "".join(f"{i},{'abc'[i % 3]}\n" for i in range(12))
    (project / "own/trainingset_groups.csv").write_text("ID,group\n" + rows)
    run_stages(project, "ingest")
    assert "3 groups" in refused(project, "preprocess", PROCESSED)


def test_test_set_of_anomalies_alone_is_refused(tmp_path: Path) -> None:
    project = npy_project(tmp_path, random_images(12))
    np.save(project / "own/testingset.npy", random_images(2, seed=1))
    (project / "own/testingset_labels.csv").write_text("ID,anomaly\n0,1\n1,1\n")
    run_stages(project, "ingest")
    assert "no normal image" in refused(project, "preprocess", PROCESSED)


ITEMS: dict[str, tuple[Callable[[Path], object], str]] = {
    "missing": (lambda path: None, "run `clarity ingest` first"),
    "text": (lambda path: path.write_text("no table"), "not a readable Parquet file"),
    "another table": (lambda path: pq.write_table(pa.table({"a": [1]}), path), "column id is"),
}


@pytest.mark.parametrize("case", ITEMS)
def test_broken_items_are_refused(case: str, tmp_path: Path) -> None:
    write, says = ITEMS[case]
    project = make_project(tmp_path, {"source": "faces"})
    (project / "data/raw").mkdir(parents=True)
    write(project / "data/raw/items.parquet")
    line = refused(project, "preprocess", PROCESSED)
    assert line.startswith("clarity: data/raw/items.parquet: ")
    assert says in line
