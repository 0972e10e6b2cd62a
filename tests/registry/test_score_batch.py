"""`clarity score`: folders, arrays and pictures; resumable, and never half-finished results."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from data_helpers import SHAPE, clarity_here
from PIL import Image

from clarity.errors import ClarityError
from clarity.files import only_one
from clarity.layout import Training, anomalies, normals
from clarity.registry.promote import promote
from clarity.score import batch
from clarity.score.detector import Detector, Files
from clarity.score.sources import Reading, open_source
from clarity.store import open_store

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
    batch.score_images(Path("new.npy"), Path("out"), "champion")
    assert {path.name for path in Path("out").iterdir()} == FILES
    table = pd.read_csv("out/scores.csv").fillna({"signal_2": ""})
    assert list(table.columns) == [
        "id", "score", "threshold", "anomaly", "p_value", "signal_1", "signal_2"
    ]  # fmt: skip
    assert ((table["p_value"] <= champion.stated_rate + 1e-9) == table["anomaly"]).all()
    assert (table["signal_1"] == "mse").all()
    np.testing.assert_allclose(table["score"], champion.judge(images).score, rtol=1e-6)
    assert list(table["id"][[0, 1, 127]]) == ["new/0", "new/1", "new/127"]
    pd.testing.assert_frame_equal(pd.read_parquet("out/scores.parquet"), table, check_dtype=False)
    summary = json.loads(Path("out/summary.json").read_text())
    assert (summary["version"], summary["images"], summary["rejected"]) == (3, 128, 0)
    assert summary["anomalous"] == int(table["anomaly"].sum())
    with Image.open("out/most_anomalous.png") as sheet:
        assert min(sheet.size) > 300


def test_a_machine_that_only_scores_names_the_store_and_needs_no_project(
    champion: Detector, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Path("mlruns/mlflow.db").resolve()
    Image.fromarray(np.load(normals("test"))[0]).save(tmp_path / "one.png")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{store}")
    result = clarity_here(Path.cwd(), "score", "../one.png")
    assert result.code == 0, result.complained
    table = pd.read_csv("scores/scores.csv")
    expected = champion.judge(np.load(store.parent.parent / normals("test"))[:1]).score[0]
    assert table["score"].tolist() == [pytest.approx(expected)]
    result = clarity_here(Path.cwd(), "lineage", "champion")
    assert result.code == 0, result.complained
    assert "version 3 (pca-8-0, champion)" in result.said
    # Two models, and nothing says which is meant.
    open_store().create_registered_model("another")
    result = clarity_here(Path.cwd(), "score", "../one.png")
    assert result.code == 2
    assert "the store registers another, clarity; go to the project" in result.complained
    assert result.complained.count("\n") == 1


def test_a_folder_with_things_that_are_no_pictures(champion: Detector) -> None:
    folder = Path("incoming/deep")
    folder.mkdir(parents=True)
    images = np.load(normals("test"))
    Image.fromarray(images[0]).save(folder / "a.png")
    Image.fromarray(images[1]).resize((90, 120)).save(folder / "b.jpg")
    (folder / "c, d.png").write_text("not a picture")
    (folder / "empty.png").touch()
    (folder / ".hidden.png").write_text("ignored")
    batch.score_images(Path("incoming"), Path("out"), "3")
    table = pd.read_csv("out/scores.csv")
    assert list(table["id"]) == ["deep/a.png", "deep/b.jpg"]
    assert table["score"][0] == pytest.approx(champion.judge(images[:1]).score[0])
    rejected = pd.read_csv("out/rejected.csv")
    assert list(rejected["id"]) == ["deep/c, d.png", "deep/empty.png"]
    assert rejected["reason"].str.len().min() > 5
    odd = Path(os.fsdecode(b"s3:/on\xe9"))  # for Arrow a URI, and no UTF-8
    batch.score_images(folder / "a.png", odd, "champion")
    assert list(pd.read_csv((odd / "scores.csv").open())["id"]) == ["a.png"]


@pytest.mark.usefixtures("champion")
def test_a_cut_off_run_goes_on_and_never_looks_complete(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch, "PIECE", 10)
    images = np.load(normals("train"))
    np.save("new.npy", images)
    batch.score_images(Path("new.npy"), Path("whole"), "champion")

    judged: list[int] = []
    real = Detector.judge

    def cut_off(self: Detector, some: np.ndarray, **how: Any) -> object:
        if len(judged) == 5:
            raise KeyboardInterrupt
        judged.append(len(some))
        return real(self, some, **how)

    out = Path("out")
    out.mkdir()
    (out / "scores.csv").write_text("of another run")
    (out / "summary.json").write_text('{"key": "of another run"}')
    monkeypatch.setattr(Detector, "judge", cut_off)
    with pytest.raises(KeyboardInterrupt):
        batch.score_images(Path("new.npy"), out, "champion")
    assert {path.name for path in out.iterdir()} == {batch.PARTS}

    counted: list[int] = []

    def count(self: Detector, some: np.ndarray, **how: Any) -> object:
        counted.append(len(some))
        return real(self, some, **how)

    monkeypatch.setattr(Detector, "judge", count)
    batch.score_images(Path("new.npy"), out, "champion")
    # What was scored before is not scored again (the last call draws the sheet).
    assert sum(counted[:-1]) == len(images) - 50
    for name in FILES - {"summary.json"}:
        assert (out / name).read_bytes() == (Path("whole") / name).read_bytes()
    counted.clear()
    batch.score_images(Path("new.npy"), out, "champion")
    assert not counted
    # Another model is another run.
    batch.score_images(Path("new.npy"), out, "1")
    assert sum(counted[:-1]) == len(images)


def test_every_item_of_a_folder_has_exactly_one_row(
    champion: Detector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batch, "PIECE", 7)
    images = np.load(normals("test"))
    root = Path("in")
    for name in (b"A.png", b"a.png", b"caf\xe9.png", b"two\nlines.png", b"-rf.png", b"=1+1.png"):
        path = root / os.fsdecode(name)
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(images[0]).save(path)
    for camera, rows in (("cam1", images[:3]), ("cam2", images[3:5])):
        (root / camera).mkdir()
        np.save(root / camera / "today.npy", rows)
    (root / "x.png").mkdir()
    Image.fromarray(images[7]).save(root / "x.png" / "inside.bmp")
    np.save(root / "fortran.npy", np.asfortranarray(images[5:7]))
    (root / "fortran.npy").rename(root / "FORTRAN.NPY")
    np.save(root / "floats.npy", np.stack([images[0] / 255, np.full((64, 64, 3), np.nan)]))
    np.save(root / "flat.npy", images[0].reshape(-1))
    (root / "half.npy").write_bytes((root / "cam1" / "today.npy").read_bytes()[:-9])
    (root / "none.npy").touch()
    with (root / "sparse.png").open("wb") as sparse:
        sparse.truncate(40 * 2**30)
    os.mkfifo(root / "pipe.npy")
    (root / "nowhere.png").symlink_to("gone.png")
    (root / "to_a.png").symlink_to("a.png")
    (root / "circle").symlink_to(".")
    (root / "later.png").write_bytes((root / "a.png").read_bytes())
    source = open_source(root)
    source.reading = Reading(SHAPE)
    (root / "later.png").unlink()
    np.save(root / "cam2" / "today.npy", images[3:4])
    vanished = source.read(0, len(source)).rejected
    assert [(name, reason[:13]) for _, name, reason in vanished if "today" in name] == [
        ("cam2/today.npy/1", "no longer rea")
    ]
    assert "later.png" in [name for _, name, _ in vanished]

    batch.score_images(root, Path("out"), "3")
    table, rejected = pd.read_csv("out/scores.csv"), pd.read_csv("out/rejected.csv")
    assert list(table["id"]) == [
        "\\x2drf.png",
        "\\x3d1+1.png",
        "A.png",
        "FORTRAN.NPY/0",
        "FORTRAN.NPY/1",
        "a.png",
        "caf\\xe9.png",
        "cam1/today.npy/0",
        "cam1/today.npy/1",
        "cam1/today.npy/2",
        "cam2/today.npy/0",
        "floats.npy/0",
        "to_a.png",
        "two\\x0alines.png",
        "x.png/inside.bmp",
    ]
    reasons = dict(zip(rejected["id"], rejected["reason"], strict=True))
    expected = {
        "circle": "a link to a folder",
        "flat.npy": "shape",
        "floats.npy/1": "NaN",
        "half.npy": "truncated",
        "none.npy": "not a .npy file",
        "nowhere.png": "a link that leads nowhere",
        "pipe.npy": "a named pipe",
        "sparse.png": "40,960 MB is too much",
    }
    assert set(reasons) == set(expected)
    assert all(reasons[name].startswith(how) for name, how in expected.items()), reasons
    scores = table.set_index("id")["score"]
    assert scores["FORTRAN.NPY/1"] == pytest.approx(champion.judge(images[6:7]).score[0])
    summary = json.loads(Path("out/summary.json").read_text())
    assert (summary["images"], summary["scored"], summary["rejected"]) == (23, 15, 8)


def test_results_are_never_scored_and_never_two_runs_write_them(
    champion: Detector, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    Path("in").mkdir()
    Image.fromarray(np.load(normals("test"))[0]).save("in/a.png")
    for output in ("in/results", "in"):
        for _ in range(2):
            batch.score_images(Path("in"), Path(output), "3")
            assert list(pd.read_csv(f"{output}/scores.csv")["id"]) == ["a.png"]
        assert "complete already" in capfd.readouterr().err
    # A further output beside an earlier one: its contact sheet is told from pictures.
    batch.score_images(Path("in"), Path("in/again"), "3")
    assert list(pd.read_csv("in/again/scores.csv")["id"]) == ["a.png"]
    refused = pd.read_csv("in/again/rejected.csv").set_index("id")["reason"]
    assert "contact sheet" in refused["results/most_anomalous.png"]
    with pytest.raises(ClarityError, match="would be overwritten"):
        batch.score_images(Path("in/most_anomalous.png"), Path("in"), "3")

    table = Path("in/scores.csv").read_bytes()
    with only_one(Path("in")), pytest.raises(ClarityError, match="another `clarity score` writes"):
        batch.score_images(Path("in"), Path("in"), "1")
    assert Path("in/scores.csv").read_bytes() == table


@pytest.mark.usefixtures("champion")
def test_files_that_only_bear_the_names_of_results_are_kept() -> None:
    Path("in").mkdir()
    Image.fromarray(np.load(normals("test"))[0]).save("in/a.png")
    Path("theirs").mkdir()
    for name, content in (("scores.csv", "id,mark\n"), ("summary.json", '{"mean": 1}')):
        Path("theirs", name).write_text(content)
        with pytest.raises(ClarityError, match="not written by `clarity score`; move it away"):
            batch.score_images(Path("in"), Path("theirs"), "3")
        assert Path("theirs", name).read_text() == content
        assert os.listdir("theirs") == [name]
        Path("theirs", name).unlink()
    # Its own it replaces: of a finished run, and of one that was cut off before its summary.
    batch.score_images(Path("in"), Path("ours"), "3")
    Path("ours/summary.json").unlink()
    Path("ours/.unfinished").mkdir()
    Path("ours/.unfinished/key").write_text("of another model")
    for version in ("1", "3"):
        batch.score_images(Path("in"), Path("ours"), version)
        assert str(batch.read_summary(Path("ours"))["version"]) == version


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
            batch.score_images(Path(path), Path("out"), "champion")
        assert "\n" not in str(error.value)
    with pytest.raises(ClarityError, match="a file; --output"):
        batch.score_images(normals("test"), Path("words.png"), "champion")
    with pytest.raises(ClarityError, match="no such version or alias"):
        batch.score_images(normals("test"), Path("out"), "winner")
