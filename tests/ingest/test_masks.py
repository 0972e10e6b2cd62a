"""Masks: paired by name, cut and resized as the pictures are, and judged as scikit-learn judges."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from data_helpers import make_project, refused, run_stages, save_tree
from PIL import Image
from sklearn.metrics import roc_auc_score

from clarity.evaluate import pixels
from clarity.evaluate.pixels import ExactRanking, pooled, ranking
from clarity.preprocess.items import RawItem
from clarity.preprocess.masks import CutAwayError, plane

RAW = ("data/raw/items.parquet", "data/raw/source.json")
PROCESSED = tuple(f"data/processed/{name}" for name in ("train.npy", "index.csv", "rejected.csv"))
TREE = {"train/good": 12, "test/good": 4, "test/dent": 3, "test/scratch": 2, "test/stain": 1}
#: Height and width: the square begins 8 pixels from the left.
SIZE = (64, 80)


def save_mask(path: Path, marked: tuple[slice, slice] | None, size: tuple[int, int] = SIZE) -> None:
    mask = np.zeros(size, np.uint8)
    if marked:
        mask[marked] = 255
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(mask).save(path)


@pytest.fixture
def mvtec(tmp_path: Path) -> Path:
    """A project with a set in MVTec AD's layout; `stain` has no masks."""
    project = make_project(tmp_path, {"source": "folder", "path": "own"})
    save_tree(project / "own", TREE, SIZE)
    masks = project / "own/ground_truth"
    for number in range(3):
        save_mask(masks / f"dent/{number}_mask.png", (slice(10, 20), slice(28, 48)))
    save_mask(masks / "scratch/0_mask.png", (slice(0, 64), slice(0, 5)))
    save_mask(masks / "scratch/1_mask.png", None)
    return project


def test_the_mvtec_layout_arrives_with_kinds_masks_and_its_own_test_set(mvtec: Path) -> None:
    said = run_stages(mvtec, "ingest", "preprocess")
    assert "read as 16 normals (good) and 6 anomalies (dent, scratch, stain) below" in said
    assert "5 masks in ground_truth, none for stain" in said
    index = pd.read_csv(mvtec / "data/processed/index.csv")
    test = index[index["split"] == "test"]
    assert list(test["kind"]) == ["normal"] * 4 + ["dent"] * 3 + ["scratch", "stain"]
    assert list(test.query("label == 1")["has_mask"]) == [1, 1, 1, 0, 0]
    planes = np.load(mvtec / "data/processed/test_masks.npy")
    expected = np.zeros((64, 64), np.uint8)
    expected[10:20, 20:40] = 1
    assert (planes[:3] == expected).all()
    assert not planes[3:].any()
    rejected = pd.read_csv(mvtec / "data/processed/rejected.csv")
    assert rejected.values.tolist() == [
        ["test/scratch/0.png", "what its mask marks lies outside the centred square"]
    ]


def test_masks_of_two_folders_have_the_pictures_names(tmp_path: Path) -> None:
    data = {"source": "folder", "path": "own", "masks": "where"}
    project = make_project(tmp_path, data)
    save_tree(project / "own", {"ok": 8, "ng": 2}, SIZE)
    for number in range(2):
        save_mask(project / f"own/where/ng/{number}.bmp", (slice(0, 9), slice(30, 40)))
    assert "2 masks in where" in run_stages(project, "ingest", "preprocess")


def unlink(name: str) -> Callable[[Path], object]:
    return lambda own: (own / name).unlink()


MALFORMED: dict[str, tuple[str, Callable[[Path], object], str]] = {
    "missing": (
        "ingest",
        unlink("ground_truth/dent/1_mask.png"),
        "test/dent/1.png has no mask (ground_truth/dent/1_mask.png, say)",
    ),
    "of no picture": (
        "ingest",
        unlink("test/scratch/1.png"),
        "the mask ground_truth/scratch/1_mask.png belongs to no anomaly",
    ),
    "twice": (
        "ingest",
        lambda own: save_mask(own / "ground_truth/dent/1.png", None),
        "test/dent/1.png has two masks",
    ),
    "of another size": (
        "preprocess",
        lambda own: save_mask(own / "ground_truth/dent/1_mask.png", None, (80, 64)),
        "test/dent/1.png: its mask is 64×80 pixels, the picture 80×64",
    ),
    "no picture": (
        "preprocess",
        lambda own: (own / "ground_truth/dent/1_mask.png").write_bytes(b""),
        "test/dent/1.png: its mask cannot be read (empty file)",
    ),
}


@pytest.mark.parametrize("case", MALFORMED)
def test_malformed_masks_are_one_line(case: str, mvtec: Path) -> None:
    stage, spoil, says = MALFORMED[case]
    spoil(mvtec / "own")
    if stage == "preprocess":
        run_stages(mvtec, "ingest")
    assert says in refused(mvtec, stage, RAW if stage == "ingest" else PROCESSED)


def item(mask: Image.Image, kind: str = "PNG") -> RawItem:
    buffer = io.BytesIO()
    mask.save(buffer, kind)
    shape = f"{mask.height}x{mask.width}x3"
    return RawItem("a", "", "test", 1, "array", "uint8", shape, b"", "dent", buffer.getvalue())


def test_a_mask_shrinks_as_its_picture_does_and_never_vanishes() -> None:
    marked = np.zeros((256, 256), np.uint8)
    marked[0:8, 0:10] = 1  # two pixels and a half of 4×4: the half counts
    expected = np.zeros((64, 64), np.uint8)
    expected[0:2, 0:3] = 1
    np.testing.assert_array_equal(plane(item(Image.fromarray(marked)), 64), expected)
    speck = np.zeros((256, 256), np.uint8)
    speck[100, 50] = 7
    found = plane(item(Image.fromarray(speck)), 64)
    assert found is not None
    assert np.argwhere(found).tolist() == [[25, 12]]
    outside = np.zeros((64, 100), np.uint8)
    outside[:, 99] = 1
    with pytest.raises(CutAwayError):
        plane(item(Image.fromarray(outside)), 64)


def test_what_counts_as_marked() -> None:
    clear = Image.new("RGBA", (64, 64), (255, 255, 255, 0))
    clear.paste((255, 0, 0, 255), (0, 0, 8, 8))
    small = Image.fromarray(np.asarray(clear)[..., 3] // 255)  # 1 on 0
    noisy = Image.fromarray(np.asarray(clear)[..., 3])
    for mask in (item(clear), item(small), item(noisy.convert("1")), item(noisy, "JPEG")):
        found = plane(mask, 64)
        assert found is not None
        assert found.sum() == 64
    assert plane(item(Image.new("L", (64, 64))), 64) is None


def test_pixel_auroc_of_brought_masks_is_that_of_scikit_learn(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rng = np.random.default_rng(0)
    errors = (rng.random((9, 8, 8)).round(2) ** 2).astype(np.float32).astype(np.float64)
    masks = (rng.random((9, 8, 8)) < 0.2).astype(np.uint8)

    def filled() -> dict[str, ExactRanking]:
        kinds: dict[str, ExactRanking] = {}
        for kind in ("dent", "scratch"):
            brought = ranking(kind)
            assert isinstance(brought, ExactRanking)
            kinds[kind] = brought
        for kind, part in (("dent", slice(4)), ("dent", slice(4, 6)), ("scratch", slice(6, 9))):
            kinds[kind].add(errors[part], masks[part])
        return kinds

    def truth(part: slice) -> float:
        return roc_auc_score(masks[part].ravel(), errors[part].ravel())

    kinds = filled()
    assert kinds["dent"].auroc() == pytest.approx(truth(slice(6)), abs=1e-12)
    assert pooled(kinds.values()) == pytest.approx(truth(slice(9)), abs=1e-12)
    synthetic = ranking("cutpaste")
    synthetic.add(errors[:2], masks[:2])
    assert pooled([*kinds.values(), synthetic]) is not None
    assert pooled([]) is None
    monkeypatch.setattr(pixels, "MOST", 300)  # more pixels than are kept
    kinds = filled()
    assert kinds["dent"].bins is not None
    assert kinds["dent"].auroc() == pytest.approx(truth(slice(6)), abs=1e-3)
    assert pooled(kinds.values()) == pytest.approx(truth(slice(9)), abs=1e-3)
