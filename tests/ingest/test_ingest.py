"""What ingest hands over, from each source."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from data_helpers import (
    clarity,
    clarity_here,
    make_project,
    random_images,
    refused,
    run_stages,
    save_pictures,
)

from clarity.ingest.items import ROWS_IN_GROUP, SCHEMA, Item, write_items
from clarity.ingest.npy import open_source


def items_of(project: Path) -> list[dict]:
    return pq.read_table(project / "data/raw/items.parquet").to_pylist()


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing answers at the proxy."""
    for name in ("http_proxy", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")


def test_faces_are_forty_people_with_ten_photographs(tmp_path: Path) -> None:
    project = make_project(tmp_path, {"source": "faces"})
    run_stages(project, "ingest")
    items = items_of(project)
    assert [row["id"] for row in items[:11]] == [f"s1/{i}.pgm" for i in range(1, 11)] + ["s2/1.pgm"]
    assert len({row["group"] for row in items}) == 40
    assert len(items) == 400
    assert {row["encoding"] for row in items} == {"file"}
    source = json.loads((project / "data/raw/source.json").read_text())
    assert source["rows"] == 400
    assert "AT&T Laboratories Cambridge" in source["credit"]
    assert set(source["inputs"]) == {row["id"] for row in items}


def test_same_source_gives_the_same_bytes(tmp_path: Path) -> None:
    written = []
    for name, run in (("a", clarity), ("b", clarity_here)):
        project = make_project(tmp_path / name, {"source": "folder", "path": "own"})
        save_pictures(project / "own", 3, 2)
        run_stages(project, "ingest", run=run)
        written.append(
            [(project / "data/raw" / n).read_bytes() for n in ("items.parquet", "source.json")]
        )
    assert written[0] == written[1]


def test_row_groups_stay_small(tmp_path: Path) -> None:
    rows = (Item(id=str(i), data=bytes(100)) for i in range(2500))
    assert write_items(tmp_path / "many.parquet", rows) == 2500
    file = pq.ParquetFile(tmp_path / "many.parquet")
    assert [file.metadata.row_group(i).num_rows for i in range(3)] == [1000, 1000, 500]
    assert ROWS_IN_GROUP == 1000
    assert file.schema_arrow.equals(SCHEMA)
    rows = (Item(id=str(i), data=bytes(20 * 2**20)) for i in range(4))
    write_items(tmp_path / "large.parquet", rows)
    assert pq.ParquetFile(tmp_path / "large.parquet").metadata.num_row_groups == 2


def test_npy_set_with_all_companions(tmp_path: Path) -> None:
    training, testing = random_images(5, (9, 8)), random_images(2, (9, 8), seed=1)
    np.save(tmp_path / "trainingset.npy", training)
    np.save(tmp_path / "testingset.npy", np.asfortranarray(testing))
    (tmp_path / "testingset_labels.csv").write_text("\ufeffID,anomaly\n1,1\n0,0\n")
    (tmp_path / "trainingset_groups.csv").write_text("ID,group\n0,anna\n1,NA\n2,anna\n3,\n4,bert\n")
    source = open_source(str(tmp_path))
    items = list(source.items)
    assert [item.id for item in items[:2]] == ["trainingset/0", "trainingset/1"]
    assert [item.group for item in items] == ["anna", "NA", "anna", "", "bert", "", ""]
    assert [item.label for item in items] == [None] * 5 + [0, 1]
    assert [item.role for item in items] == ["pool"] * 5 + ["test"] * 2
    assert [item.data for item in items] == [image.tobytes() for image in [*training, *testing]]
    assert items[0].shape == "9x8x3"
    assert len(source.inputs) == 4


@pytest.mark.parametrize("dtype", ["<f4", ">f4", "<f8", "<f2"])
def test_floats_arrive_in_little_endian(dtype: str, tmp_path: Path) -> None:
    images = (random_images(3, (4, 4)) / 255).astype(dtype)
    np.save(tmp_path / "trainingset.npy", images)
    item = next(open_source(str(tmp_path)).items)
    native = np.frombuffer(item.data, np.dtype(item.dtype).newbyteorder("<")).reshape(4, 4, 3)
    np.testing.assert_array_equal(native, images[0])


def test_folder_gives_groups_and_skips_what_is_no_picture(tmp_path: Path) -> None:
    project = make_project(tmp_path, {"source": "folder", "path": "own"})
    save_pictures(project / "own", 2, 2)
    (project / "own/README.md").write_text("about")
    (project / "own/person-0/.DS_Store").write_text("junk")
    (project / "own/person-0/notes.txt").write_text("junk")
    (project / "own/flat.PNG").write_bytes((project / "own/person-0/0.png").read_bytes())
    assert "1 files skipped that are no pictures (.txt)" in run_stages(project, "ingest")
    assert [(row["id"], row["group"]) for row in items_of(project)] == [
        ("flat.PNG", ""),
        ("person-0/0.png", "person-0"),
        ("person-0/1.png", "person-0"),
        ("person-1/0.png", "person-1"),
        ("person-1/1.png", "person-1"),
    ]


def write_idx(path: Path, array: np.ndarray) -> None:
    """The file format of MNIST."""
    sizes = b"".join(side.to_bytes(4, "big") for side in array.shape)
    path.write_bytes(bytes([0, 0, 8, array.ndim]) + sizes + array.tobytes())


@pytest.mark.usefixtures("no_network")
def test_torchvision_set_that_is_there_needs_no_network(tmp_path: Path) -> None:
    raw = tmp_path / "own/MNIST/raw"
    raw.mkdir(parents=True)
    for part, count in (("train", 7), ("t10k", 3)):
        images = random_images(count, (28, 28))[..., 0]
        write_idx(raw / f"{part}-images-idx3-ubyte", images)
        write_idx(raw / f"{part}-labels-idx1-ubyte", np.arange(count, dtype=np.uint8))
    project = make_project(tmp_path, {"source": "torchvision", "path": "own", "name": "MNIST"})
    run_stages(project, "ingest")
    items = items_of(project)
    assert [row["role"] for row in items] == ["pool"] * 7 + ["test"] * 3
    assert [row["id"] for row in items[6:8]] == ["train/6", "test/0"]
    assert {row["shape"] for row in items} == {"28x28"}
    assert items[-1]["data"] == images[-1].tobytes()


@pytest.mark.usefixtures("no_network")
def test_torchvision_fake_data(tmp_path: Path) -> None:
    project = make_project(tmp_path, {"source": "torchvision", "path": "own", "name": "FakeData"})
    run_stages(project, "ingest")
    file = pq.ParquetFile(project / "data/raw/items.parquet")
    assert file.metadata.num_rows == 1000
    source = json.loads((project / "data/raw/source.json").read_text())
    assert list(source["inputs"]) == ["FakeData/all"]


@pytest.mark.usefixtures("no_network")
@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("Cifar100", "near: CIFAR100, CIFAR10"),
        ("VisionDataset", "torchvision has no such data set"),
        ("CocoDetection", "needs annFile"),
        ("FashionMNIST", "the download failed"),
        ("CelebA", "the download failed"),
        ("FER2013", "torchvision does not download it"),
        ("EMNIST", "no split named train"),
    ],
)
def test_torchvision_mistakes_are_one_line(name: str, says: str, tmp_path: Path) -> None:
    project = make_project(tmp_path, {"source": "torchvision", "path": "own", "name": name})
    # torchvision makes the folder before it asks the network.
    (project / "own").mkdir()
    line = refused(project, "ingest", ("data/raw/items.parquet", "data/raw/source.json"))
    assert line.startswith(f"clarity: data.name {name}: ")
    assert says in line


def test_gzip_is_no_npy(tmp_path: Path) -> None:
    from clarity.errors import ClarityError

    np.save(tmp_path / "plain.npy", random_images(2))
    packed = gzip.compress((tmp_path / "plain.npy").read_bytes())
    (tmp_path / "trainingset.npy").write_bytes(packed)
    with pytest.raises(ClarityError, match=r"not a \.npy file"):
        open_source(str(tmp_path))
