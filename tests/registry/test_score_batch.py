"""`clarity score`: folders, arrays and pictures; resumable, and never half-finished results."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from clarity.errors import ClarityError
from clarity.layout import Training, anomalies, normals
from clarity.registry.promote import run as promote
from clarity.score import batch
from clarity.score.detector import Detector, Files

FILES = {"scores.csv", "scores.parquet", "rejected.csv", "most_anomalous.png", "summary.json"}


@pytest.fixture
def champion(here: Path) -> Detector:
    """Version 3 is champion."""
    promote(say=lambda _: None)
    return Detector.load(Files.of_training(Training("pca-8", 0)))


def test_an_array_by_the_champion(champion: Detector, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch, "PIECE", 50)
    images = np.concatenate([np.load(normals("test")), np.load(anomalies("test"))] * 2)
    np.save("new.npy", images)
    batch.run(Path("new.npy"), Path("out"), "champion")
    assert {path.name for path in Path("out").iterdir()} == FILES
    table = pd.read_csv("out/scores.csv")
    assert list(table.columns) == ["id", "score", "threshold", "anomaly"]
    np.testing.assert_allclose(table["score"], champion.judge(images).score, rtol=1e-6)
    assert list(table["id"][[0, 1, 127]]) == ["new/0", "new/1", "new/127"]
    pd.testing.assert_frame_equal(pd.read_parquet("out/scores.parquet"), table, check_dtype=False)
    summary = json.loads(Path("out/summary.json").read_text())
    assert (summary["version"], summary["images"], summary["rejected"]) == (3, 128, 0)
    assert summary["anomalous"] == int(table["anomaly"].sum())
    with Image.open("out/most_anomalous.png") as sheet:
        assert min(sheet.size) > 300


def test_a_folder_with_things_that_are_no_pictures(champion: Detector) -> None:
    folder = Path("incoming/deep")
    folder.mkdir(parents=True)
    images = np.load(normals("test"))
    Image.fromarray(images[0]).save(folder / "a.png")
    Image.fromarray(images[1]).resize((90, 120)).save(folder / "b.jpg")
    (folder / "c, d.png").write_text("not a picture")
    (folder / "empty.png").touch()
    (folder / ".hidden.png").write_text("ignored")
    batch.run(Path("incoming"), Path("out"), "3")
    table = pd.read_csv("out/scores.csv")
    assert list(table["id"]) == ["deep/a.png", "deep/b.jpg"]
    assert table["score"][0] == pytest.approx(champion.judge(images[:1]).score[0])
    rejected = pd.read_csv("out/rejected.csv")
    assert list(rejected["id"]) == ["deep/c, d.png", "deep/empty.png"]
    assert rejected["reason"].str.len().min() > 5
    batch.run(folder / "a.png", Path("one"), "champion")
    assert list(pd.read_csv("one/scores.csv")["id"]) == ["a.png"]


@pytest.mark.usefixtures("champion")
def test_a_cut_off_run_goes_on_and_never_looks_complete(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch, "PIECE", 10)
    images = np.load(normals("train"))
    np.save("new.npy", images)
    batch.run(Path("new.npy"), Path("whole"), "champion")

    judged: list[int] = []
    real = Detector.judge

    def cut_off(self: Detector, some: np.ndarray, **how: bool) -> object:
        if len(judged) == 5:
            raise KeyboardInterrupt
        judged.append(len(some))
        return real(self, some, **how)

    out = Path("out")
    out.mkdir()
    (out / "scores.csv").write_text("of another run")
    monkeypatch.setattr(Detector, "judge", cut_off)
    with pytest.raises(KeyboardInterrupt):
        batch.run(Path("new.npy"), out, "champion")
    assert {path.name for path in out.iterdir()} == {batch.PARTS}

    counted: list[int] = []

    def count(self: Detector, some: np.ndarray, **how: bool) -> object:
        counted.append(len(some))
        return real(self, some, **how)

    monkeypatch.setattr(Detector, "judge", count)
    batch.run(Path("new.npy"), out, "champion")
    # What was scored before is not scored again (the last call draws the sheet).
    assert sum(counted[:-1]) == len(images) - 50
    for name in FILES - {"summary.json"}:
        assert (out / name).read_bytes() == (Path("whole") / name).read_bytes()
    counted.clear()
    batch.run(Path("new.npy"), out, "champion")
    assert not counted
    # Another model is another run.
    batch.run(Path("new.npy"), out, "1")
    assert sum(counted[:-1]) == len(images)


@pytest.mark.usefixtures("champion")
def test_mistakes_are_one_line(tmp_path: Path) -> None:
    Path("nothing").mkdir()
    np.save("objects.npy", np.array([{}, []], dtype=object), allow_pickle=True)
    np.save("flat.npy", np.zeros((5, 64), np.uint8))
    Path("short.npy").write_bytes(normals("test").read_bytes()[:-7])
    Path("words.png").write_text("words")
    for path, problem in (
        ("nothing", "empty folder"),
        ("missing", "no such file"),
        ("objects.npy", "pickle"),
        ("flat.npy", "N×height×width×3"),
        ("short.npy", "truncated"),
        ("words.png", "not one usable image"),
    ):
        with pytest.raises(ClarityError, match=problem) as error:
            batch.run(Path(path), Path("out"), "champion")
        assert "\n" not in str(error.value)
    with pytest.raises(ClarityError, match="a file; --output"):
        batch.run(normals("test"), Path("words.png"), "champion")
    with pytest.raises(ClarityError, match="no such version or alias"):
        batch.run(normals("test"), Path("out"), "winner")
