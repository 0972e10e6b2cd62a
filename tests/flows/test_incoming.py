"""Files that arrive are taken once, whole, and found again after a kill."""

from __future__ import annotations

import csv
import os
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from clarity.errors import ClarityError
from clarity.params import Params, load_params
from pipelines.adopt import adopt, gather
from pipelines.incoming import put_aside, take

ROOT = Path(__file__).parents[2]


def picture(path: Path, seed: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(noise).save(path)
    return path


def names(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_what_lies_still_is_taken_with_its_groups_and_the_rest_is_left(tmp_path: Path) -> None:
    incoming, handled = tmp_path / "incoming", tmp_path / "handled"
    for number, name in enumerate(["anna/1.png", "anna/2.png", "ben/1.png", ".hidden.png"]):
        picture(incoming / name, number)
        os.utime(incoming / name, (time.time() - 60,) * 2)
    picture(incoming / "half.png", 9)
    (batch,) = take(incoming, settle=10)
    assert names(batch) == ["anna/1.png", "anna/2.png", "ben/1.png"]
    assert (incoming / "half.png").exists()
    assert (incoming / ".hidden.png").exists()
    assert not (incoming / "anna").exists()
    assert take(incoming, settle=10) == [batch], "not handled yet: given out again"
    put_aside(batch, handled)
    assert take(incoming, settle=10) == []
    assert names(handled / batch.name) == ["anna/1.png", "anna/2.png", "ben/1.png"]


def test_a_batch_cut_off_while_it_was_filled_is_found_again(tmp_path: Path) -> None:
    picture(tmp_path / ".taken" / "20260101T000000-0123abcd.filling" / "1.png", 1)
    (batch,) = take(tmp_path, settle=0)
    assert batch.name == "20260101T000000-0123abcd"
    assert names(batch) == ["1.png"]


@pytest.fixture
def params(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Params:
    monkeypatch.chdir(tmp_path)
    text = (ROOT / "params.yaml").read_text()
    text = text.replace("source: faces", "source: folder")
    (tmp_path / "params.yaml").write_text(text)
    return load_params()


def test_pictures_are_taken_in_once_under_their_content(params: Params) -> None:
    new = Path("data/new")
    picture(new / "anna" / "1.png", 1)
    picture(new / "anna" / "copy.png", 1)
    picture(new / "2.png", 2)
    arrivals = gather([new, Path("data/nowhere")], None, params)
    assert arrivals.images.shape == (2, 64, 64, 3)
    assert arrivals.known == 1, "the copy"
    assert adopt(arrivals, params) == 2
    inside = names(Path(params.data.path))
    assert len(inside) == 2
    assert sum(name.startswith("anna/") for name in inside) == 1
    again = gather([new], None, params)
    assert again.pictures == []
    assert again.known == 3


def test_what_was_flagged_is_left_out(params: Params) -> None:
    batch = "20260101T000000-0123abcd"
    picture(Path("data/handled") / batch / "anna" / "1.png", 1)
    picture(Path("data/handled") / batch / "anna" / "2.png", 2)
    table = Path("scores") / batch / "scores.csv"
    table.parent.mkdir(parents=True)
    with table.open("w", newline="") as handle:
        rows = [["id", "anomaly"], ["anna/1.png", "true"], ["anna/2.png", "false"]]
        csv.writer(handle).writerows(rows)
    handled = [Path("data/handled")]
    kept = gather(handled, Path("scores"), params)
    assert [(path.name, group) for path, group, _ in kept.pictures] == [("2.png", "anna")]
    assert len(gather(handled, None, params).pictures) == 2


def test_too_many_broken_pictures_stop_it_with_the_first_named(params: Params) -> None:
    picture(Path("data/new/1.png"), 1)
    Path("data/new/2.png").write_text("no picture")
    with pytest.raises(ClarityError, match=r"data/new/2\.png: .*; 1 of 2 new pictures"):
        gather([Path("data/new")], None, params)


def test_pictures_cannot_join_the_embedded_faces(params: Params) -> None:
    picture(Path("data/new/1.png"), 1)
    arrivals = gather([Path("data/new")], None, params)
    faces = params.model_copy(update={"data": params.data.model_copy(update={"source": "faces"})})
    with pytest.raises(ClarityError, match=r"data\.source is faces: .* set data\.source: folder"):
        adopt(arrivals, faces)
