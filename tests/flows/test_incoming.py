"""Files that arrive are taken once, whole, and found again after a kill."""

from __future__ import annotations

import csv
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tools import environment

from clarity.errors import ClarityError
from clarity.ingest.stage import open_source
from clarity.params import Params, load_params
from clarity.score import watch
from clarity.score.listing import listing
from pipelines.arrivals.adopt import Arrivals, adopt, gather
from pipelines.arrivals.incoming import check_watched, put_aside, take, watched

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


def test_whatever_arrives_is_taken_and_nothing_is_in_the_way_of_others(tmp_path: Path) -> None:
    incoming = tmp_path / "incoming"
    picture(incoming / "cam1" / "a.png", 1)
    picture(incoming / "cam2" / "a.png", 2)
    picture(incoming / "A.PNG", 3)
    for name in (b"caf\xe9.png", b"two\nlines.png", b"-rf.png", b"=1+1.png", b"n" * 251 + b".png"):
        picture(incoming / os.fsdecode(name), 4)
    (incoming / "x.png").mkdir()
    picture(incoming / "x.png" / "inside.png", 5)
    (incoming / "empty.png").touch()
    os.mkfifo(incoming / "pipe.png")
    (incoming / "nowhere.png").symlink_to("gone.png")
    (tmp_path / "elsewhere").mkdir()
    (incoming / "folder").symlink_to(tmp_path / "elsewhere")
    picture(tmp_path / "store" / "linked.png", 6)
    (incoming / "cam1" / "link.png").symlink_to("../../store/linked.png")
    arrived = sorted(os.fsencode(one.name) for one in listing(incoming))
    assert len(arrived) == 14
    (batch,) = take(incoming, settle=0)
    assert sorted(os.fsencode(one.name) for one in listing(batch)) == arrived
    assert listing(incoming) == []
    assert (batch / "cam1" / "link.png").read_bytes() == (
        tmp_path / "store" / "linked.png"
    ).read_bytes(), "a link leads where it led"
    assert take(incoming, settle=0) == [batch]


def test_the_same_delivery_twice_in_a_second_makes_two_batches(tmp_path: Path) -> None:
    for _ in range(2):
        picture(tmp_path / "1.png", 1)
        batches = take(tmp_path, settle=0)
    assert len(batches) == 2


def test_a_camera_whose_clock_is_ahead_is_taken_and_a_folder_just_made_stays(
    tmp_path: Path,
) -> None:
    os.utime(picture(tmp_path / "1.png", 1), (time.time() + 10**6,) * 2)
    (tmp_path / "coming").mkdir()
    assert take(tmp_path, settle=10) == [], "it may still be written"
    assert (tmp_path / "coming").exists(), "somebody is about to write into it"
    assert len(take(tmp_path, settle=0)) == 1


def test_what_cannot_be_moved_stays_is_named_and_stops_nothing(tmp_path: Path) -> None:
    # Below the batch's folder its path is too long for the system; where it lies it is not.
    deep = tmp_path / "incoming" / ("d" * (100 - len(str(tmp_path)) % 100))
    while len(str(deep)) < 4060:
        deep /= "d" * 9
    deep.mkdir(parents=True)
    (deep / "f").touch()
    picture(tmp_path / "incoming" / "1.png", 1)
    said: list[str] = []
    (batch,) = take(tmp_path / "incoming", 0, said.append)
    assert (batch / "1.png").exists()
    assert len(said) == 1
    assert "cannot be moved (File name too long)" in said[0]
    assert (deep / "f").exists()


def test_two_runs_never_handle_the_same_arrivals(tmp_path: Path) -> None:
    with watched(tmp_path / "incoming") as first, watched(tmp_path / "incoming") as second:
        assert (first, second) == (True, False)
    with watched(tmp_path / "incoming") as third:
        assert third
    (tmp_path / "file").touch()
    with (
        pytest.raises(ClarityError, match="file: Not a directory; name a folder"),
        watched(tmp_path / "file"),
    ):
        pass


@pytest.fixture
def params(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Params:
    monkeypatch.chdir(tmp_path)
    text = (ROOT / "tests/params.yaml").read_text()
    text = text.replace("source: faces", "source: folder")
    (tmp_path / "params.yaml").write_text(text)
    return load_params()


def test_a_folder_that_holds_something_else_is_not_watched(params: Params, tmp_path: Path) -> None:
    handled, output = Path("data/handled"), Path("scores")
    picture(Path("data/own/anna/1.png"), 1)
    Path("link").symlink_to("data/own")
    for name, said in (
        ("data/own", "is data.path"),
        ("data/own/anna", "lies in data/own, data.path"),
        ("link", "is data.path"),
        ("data", "holds data/raw, a folder of the project"),
        ("data/processed", "is a folder of the project"),
        ("src/clarity", "lies in src"),
        ("data/handled/new", "lies in data/handled, where scored files go"),
        ("scores", "is where the tables are"),
        (".", "holds the project"),
        ("..", "holds the project"),
        (str(tmp_path), "holds the project"),
    ):
        with pytest.raises(
            ClarityError, match=f"^{re.escape(name)}: {said}.*; name another, data/inc"
        ):
            check_watched(Path(name), handled, output, params.data)
    for name in ("data/incoming", "incoming", str(tmp_path.parent / "elsewhere")):
        check_watched(Path(name), handled, output, params.data)
    # The command itself: nothing is moved, and no server is started for it.
    Path(".dvc").mkdir()
    Path("dvc.yaml").touch()
    command = [sys.executable, "-m", "pipelines.score", "--settle", "0", "--incoming", "data/own"]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("clarity: data/own: is data.path")
    assert done.stderr.count("\n") == 1
    assert names(Path("data")) == ["own/anna/1.png"]


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


#: Pictures that are there, `data`, the group of one that arrives, and the folder it goes to.
PLACED: dict[str, tuple[list[str], dict, str, str]] = {
    "groups": (["anna/1", "2"], {}, "line7", "line7"),
    "no group": (["anna/1", "2"], {}, "", ""),
    "named normals": (["fine/1", "rust/1"], {"normal": ["fine"]}, "line7", "fine/line7"),
    "good and bad": (["good/1", "bad/1"], {}, "", "good"),
    "its own folder": (["ok/1", "normal/1", "bad/1"], {}, "ok", "ok"),
    "MVTec AD": (
        ["train/good/1", "test/good/2", "test/dent/3", "ground_truth/dent/3_mask"],
        {},
        "line7",
        "train/good/line7",
    ),
    "splits": (["Train/anna/1", "test/bert/2"], {}, "carl", "Train/carl"),
    "groups that are called so": (["good/1", "test/1"], {"normal": []}, "bad", "bad"),
    "nothing there yet": ([], {"normal": ["fine"]}, "line7", "fine/line7"),
}
#: The same, and why it is refused.
REFUSED: dict[str, tuple[list[str], dict, str, str]] = {
    "like anomalies": (["good/1", "bad/1"], {}, "bad", "named like anomalies"),
    "like a kind": (["train/ok/1", "test/dent/1", "test/ok/2"], {}, "dent", "like anomalies"),
    "no class yet": (["anna/1"], {}, "bad", "no folder with pictures like normals"),
    "like a split": (["anna/1"], {}, "train", "anna beside it is none"),
    "like masks": (["anna/1"], {}, "ground_truth", "ground_truth is named like masks"),
    "kinds become groups": (["good/1", "bad/dent/1", "bad/2"], {}, "dent", "named like anomalies"),
    "kinds by words": (
        ["fine/1", "rust/a/1"],
        {"normal": ["fine"], "anomalous": ["rust"]},
        "a",
        "named like anomalies",
    ),
    "refused as it is": (["good/1", "anna/1"], {}, "", "beside it like neither normals nor"),
}


def arrived(params: Params, there: list[str], data: dict, group: str) -> tuple[Arrivals, Params]:
    """One new picture, beside the pictures that are there."""
    for number, name in enumerate(there):
        picture(Path(params.data.path) / f"{name}.png", number + 1)
    changed = params.model_copy(update={"data": params.data.model_copy(update=data)})
    picture(Path("data/new") / group / "1.png", 100)
    return gather([Path("data/new")], None, changed), changed


@pytest.mark.parametrize("case", PLACED)
def test_new_pictures_join_the_normals_of_any_layout(case: str, params: Params) -> None:
    there, data, group, folder = PLACED[case]
    arrivals, changed = arrived(params, there, data, group)
    assert adopt(arrivals, changed) == 1
    (_, _, digest), root = arrivals.pictures[0], Path(changed.data.path)
    assert (root / folder / f"{digest[:16]}.png").is_file()
    assert len(names(root)) == len(there) + 1
    (read,) = (item for item in open_source(changed.data).items if digest[:16] in item.id)
    assert (read.role, read.label or 0) == ("pool", 0)


@pytest.mark.parametrize("case", REFUSED)
def test_pictures_that_have_no_place_in_a_layout_are_not_copied(case: str, params: Params) -> None:
    there, data, group, said = REFUSED[case]
    arrivals, changed = arrived(params, there, data, group)
    before = names(Path("data"))
    with pytest.raises(ClarityError, match=said):
        adopt(arrivals, changed)
    assert names(Path("data")) == before


def test_of_many_new_pictures_an_even_part_is_kept_in_memory(
    params: Params, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(11):
        picture(Path(f"data/new/{number:02}.png"), number)
    whole = gather([Path("data/new")], None, params)
    monkeypatch.setattr(watch, "LOOKED_AT", 4)
    found = gather([Path("data/new")], None, params)
    assert found.pictures == whole.pictures
    assert (found.images == whole.images[::4]).all()


def test_training_images_are_no_new_pictures(params: Params) -> None:
    picture(Path("data/own/anna/1.png"), 1)
    for folder in ("data/own", "data/own/anna", "data"):
        with pytest.raises(ClarityError, match=f"{folder}: holds training images"):
            gather([Path(folder)], None, params)


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
    all_scored = gather(handled, Path("scores"), params, include_flagged=True)
    assert len(all_scored.pictures) == 2


def test_only_what_was_scored_is_taken_and_what_was_refused_stops_nothing(params: Params) -> None:
    batch = "20260101T000000-0123abcd"
    group = os.fsdecode(b"caf\xe9")
    handled = Path("data/handled") / batch
    picture(handled / group / "=1.png", 1)
    picture(handled / "never.png", 2)
    picture(Path("data/handled/20260101T000001-0123abcd/a.png"), 3)
    (handled / "broken.jpg").write_bytes(b"\xff\xd8 no more")
    table = Path("scores") / batch
    table.mkdir(parents=True)
    (table / "scores.csv").write_text("id,anomaly\ncaf\\xe9/=1.png,false\n")
    (table / "rejected.csv").write_text("id,reason\nbroken.jpg,broken picture\n")
    for flagged in (False, True):
        found = gather([Path("data/handled")], Path("scores"), params, include_flagged=flagged)
        assert [path.name for path, *_ in found.pictures] == ["=1.png"]
        assert found.rejected == []
        assert [path.name for path in found.unscored] == ["never.png", "a.png"]
        assert "2 left out because they were never scored" in found.sentence
    assert adopt(found, params) == 1
    (adopted,) = names(Path(params.data.path))
    assert adopted.startswith("caf\\xe9/"), "ingest takes only clean names"


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
