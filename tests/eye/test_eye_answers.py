"""Answers: what they say is read back, what cannot be read is one line."""

from __future__ import annotations

import csv
import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

SWAP = {"left": "right", "right": "left", "cannot tell": "cannot tell"}
Eye = Callable[..., tuple[int, str]]


def filled(blank: Path, target: Path, choose: Callable[[dict], str], looker: str = "Ada") -> Path:
    """A copy of a CSV with the choices of an observer."""
    rows = list(csv.DictReader(blank.open()))
    for row in rows:
        row.update(looker=looker, choice=choose(row))
    with target.open("w", newline="") as handle:
        writer = csv.DictWriter(handle, rows[0].keys())
        writer.writeheader()
        writer.writerows(rows)
    return target


@pytest.fixture(scope="module")
def sheets(world: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sheets of 24 pairs and 6 repeats, drawn once."""
    from clarity.eye.command import deck, make

    folder = tmp_path_factory.mktemp("sheets") / "new"
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(world)
        make(deck("reconstructions", "test", 24, 0, None, 6), [], Path("unused"), folder)
    return folder


def resolved(eye: Eye, answers: Path, target: Path) -> pd.DataFrame:
    code, said = eye(answers, "--resolved", target)
    assert code == 0, said
    return pd.read_csv(target)


def follower(table: pd.DataFrame, key: str, *, lower: bool) -> Callable[[dict], str]:
    """An observer who sees what the measure sees."""
    better = (table[f"{key}_left"] < table[f"{key}_right"]) == lower
    by_trial = dict(zip(table["trial"], better, strict=True))
    return lambda row: "left" if by_trial[int(row["trial"])] else "right"


def agreement(eye: Eye, tmp_path: Path, *answers: Path) -> tuple[dict, dict]:
    code, said = eye(*answers, "--table", tmp_path / "table.json")
    assert code == 0, said
    content = json.loads((tmp_path / "table.json").read_text())
    return content["looks"], {(r["measure"], r["part"]): r for r in content["agreement"]}


@pytest.mark.parametrize(("key", "lower"), [("mse", True), ("ssim", False), ("lsd", True)])
def test_an_observer_who_follows_a_measure_agrees_with_it_entirely(
    eye: Eye, sheets: Path, tmp_path: Path, key: str, lower: bool
) -> None:
    blank = sheets / "answers.csv"
    table = resolved(eye, filled(blank, tmp_path / "a.csv", lambda row: "l"), tmp_path / "r.csv")
    answers = filled(blank, tmp_path / "b.csv", follower(table, key, lower=lower))
    looks, found = agreement(eye, tmp_path, answers)
    assert found[key, "all"]["estimate"] == 1
    assert found[key, "all"]["looks"] == 24
    assert found[key, "within"]["looks"] == found[key, "between"]["looks"] == 12
    assert 0.5 < found[key, "all"]["low"] < 1
    assert (looks["repeated"], looks["same"], looks["opposite"]) == (6, 6, 0)

    contrary = filled(answers, tmp_path / "c.csv", lambda row: SWAP[row["choice"]])
    assert agreement(eye, tmp_path, contrary)[1][key, "all"]["estimate"] == 0


def test_a_side_bias_undecided_pairs_and_two_lookers_are_told(
    eye: Eye, sheets: Path, tmp_path: Path
) -> None:
    blank = sheets / "answers.csv"
    leaning = filled(blank, tmp_path / "a.csv", lambda row: "Left")
    unsure = filled(
        blank, tmp_path / "b.csv", lambda row: "r" if int(row["trial"]) % 2 else "?", "Bea"
    )
    looks, found = agreement(eye, tmp_path, leaning, unsure, leaning)
    assert looks["looks"] == 48
    assert 0 < looks["undecided"] < 24
    assert looks["opposite"] >= 6
    assert (looks["left"], looks["decided"]) == (30, 45)
    assert looks["alike"] == 0 < looks["together"]
    assert found["mse", "all"]["lookers"] == 2
    code, said = eye(leaning)
    assert code == 0
    assert "Left side preferred in 30 of 30" in said
    assert "One looker" in said


def test_a_resolved_look_stands_alone(eye: Eye, sheets: Path, tmp_path: Path, world: Path) -> None:
    answers = filled(sheets / "answers.csv", tmp_path / "a.csv", lambda row: "left")
    table = resolved(eye, answers, tmp_path / "r.csv")
    row = table.iloc[3]
    images = pd.read_parquet(
        world / f"evaluations/{row['left_model']}-{row['left_seed']}/per_image.parquet"
    ).query("split == 'test' and label == 0")
    of_face = images[images["id"] == row["id"]].iloc[0]
    assert row["person"] == of_face["group"]
    for key in ("mse", "ssim", "lsd"):
        assert row[f"{key}_left"] == pytest.approx(of_face[key], rel=1e-6)
    within = table["left_family"] == table["right_family"]
    assert (within == (table["sort"] == "within")).all()


def test_sheets_show_the_pixels_and_no_names(eye: Eye, sheets: Path, world: Path) -> None:
    assert len(list(sheets.glob("sheet-*.png"))) == 5
    content = (sheets / "answers.csv").read_text()
    assert not any(word in content for word in ("conv", "fcn", "pca", "vae", "small", "large"))
    sheet = np.asarray(Image.open(sheets / "sheet-01.png"))
    block = sheet[44 : 44 + 192, 72 + 208 : 72 + 208 + 192]
    assert (block == np.repeat(np.repeat(block[::3, ::3], 3, 0), 3, 1)).all()
    originals = np.load(world / "data/processed/test.npy")
    assert (originals == block[::3, ::3]).all(axis=(1, 2, 3)).any()


def test_the_same_seed_gives_the_same_bytes(eye: Eye, tmp_path: Path) -> None:
    digests = []
    for number, seed in enumerate((1, 1, 2)):
        page = tmp_path / f"{number}.html"
        assert eye("--pairs", "8", "--seed", seed, "--out", page)[0] == 0
        digests.append(hashlib.sha256(page.read_bytes()).hexdigest())
    assert digests[0] == digests[1] != digests[2]


@pytest.mark.parametrize(
    ("what", "key", "lower"),
    [
        ("samples", "frechet", True),
        ("sharpness", "sharpness", False),
        ("interpolations", "path_length", True),
    ],
)
def test_samples_and_walks_are_looked_at_in_the_same_way(
    eye: Eye, tmp_path: Path, what: str, key: str, lower: bool
) -> None:
    folder = tmp_path / what
    code, said = eye("--what", what, "--pairs", "8", "--repeats", "0", "--sheets", folder,
                     "--models", "ae-small,vae-small")  # fmt: skip
    assert code == 0, said
    blank = folder / "answers.csv"
    table = resolved(eye, filled(blank, tmp_path / "a.csv", lambda row: "l"), tmp_path / "r.csv")
    assert table[f"{key}_left"].notna().all()
    answers = filled(blank, tmp_path / "b.csv", follower(table, key, lower=lower))
    assert agreement(eye, tmp_path, answers)[1][key, "all"]["estimate"] == 1


def test_the_samples_shown_are_those_that_were_measured(world: Path, monkeypatch) -> None:
    import torch

    from clarity.evaluate.samples import sharpness
    from clarity.eye.command import deck
    from clarity.eye.pictures import pictures
    from clarity.eye.project import drawn
    from clarity.eye.values import read

    monkeypatch.chdir(world)
    made = drawn(deck("sharpness", "test", 6, 0, None, 0), ["ae-small", "vae-small"])
    _, values = read(made.deck, made.trials)
    for trial, shown in zip(made.trials, pictures(made), strict=True):
        unit = torch.from_numpy(shown.left).permute(2, 0, 1)[None] / 255
        measured = values[trial.left]["sharpness"][trial.item.place]
        # Rounding to 8 bits adds a little.
        assert float(sharpness(unit)[0]) == pytest.approx(measured, rel=0.1, abs=3)


def test_answers_about_other_models_are_refused(
    eye: Eye, sheets: Path, tmp_path: Path, world: Path, monkeypatch
) -> None:
    answers = filled(sheets / "answers.csv", tmp_path / "a.csv", lambda row: "left")
    other = tmp_path / "other"
    shutil.copytree(world, other, ignore=shutil.ignore_patterns(".git", ".dvc"))
    monkeypatch.chdir(other)
    for name in ("conv-small-0", "conv-large-0", "fcn-small-0", "pca-3-0"):
        path = other / "models" / name / "weights.safetensors"
        content = path.read_bytes()
        path.unlink()
        path.write_bytes(content[:-4] + b"\0\0\0\0")
    code, said = eye(answers)
    assert code == 2
    assert "is not what this project shows" in said


def _line(text: str, number: int, old: str, new: str) -> str:
    lines = text.splitlines()
    lines[number] = lines[number].replace(old, new, 1)
    return "\n".join(lines)


@pytest.mark.parametrize(
    ("spoil", "complaint"),
    [
        (lambda text: text.replace("choice", "chosen"), "no column 'choice'"),
        (lambda text: _line(text, 2, "left", "leftish"), ":3: choice 'leftish'"),
        (lambda text: text.replace(",left", ",leftish", 3), "[and 2 more such rows: 3, 4]"),
        (lambda text: _line(text, 4, "Ada,4", "Ada,four"), ":5: trial 'four' is no number"),
        (lambda text: _line(text, 4, "Ada,4", "Ada,5"), "is not what this project shows"),
        (lambda text: _line(text, 4, "Ada,4", "Ada,99999"), "is not what this project shows"),
        (lambda text: _line(text, 3, "reconstructions:", "reconstruction:"), "is none of clarity"),
        (lambda text: _line(text, 3, ":24:0:", ":24:-1:"), "is none of clarity eye's"),
        (lambda text: text.replace("left", ""), "no answers in it"),
        (lambda text: text + _line(text, 1, "left", "right"), "a.csv:32"),
        (lambda text: "", "no column 'looker'"),
        (lambda text: text + 'Ada,1,"open', ":32: not a readable CSV"),
    ],
)
def test_a_spoilt_file_is_one_line(
    eye: Eye, sheets: Path, tmp_path: Path, spoil: Callable[[str], str], complaint: str
) -> None:
    answers = filled(sheets / "answers.csv", tmp_path / "a.csv", lambda row: "left")
    answers.write_text(spoil(answers.read_text()))
    code, said = eye(answers, "--table", tmp_path / "t.csv")
    assert code == 2
    assert complaint in said
    assert "\n" not in said
    assert not (tmp_path / "t.csv").exists()


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--what", "faces"], "--what faces: expected reconstructions"),
        (["--split", "tset"], "--split tset"),
        (["--within", "1.5"], "--within 1.5"),
        (["--pairs", "2000"], "there are only"),
        (["--pairs", "10", "--repeats", "6"], "--repeats"),
        (["--models", "conv-tiny"], "models.conv-tiny does not exist"),
        (["--models", "conv-small"], "at least two"),
        (["--what", "samples", "--models", "conv-small,ae-small"], "too wide"),
        (["--resolved", "x.csv"], "are for answers"),
        (["none.csv"], "none.csv: no such file"),
        (["src"], "src: a folder"),
    ],
)
def test_what_makes_no_sense_is_refused(eye: Eye, arguments: list[str], complaint: str) -> None:
    code, said = eye(*arguments)
    assert code == 2
    assert complaint in said
    assert "\n" not in said


def test_filled_sheets_are_never_written_over(eye: Eye, sheets: Path) -> None:
    before = (sheets / "answers.csv").read_bytes()
    code, said = eye("--pairs", "4", "--sheets", sheets)
    assert code == 2
    assert "may hold answers" in said
    assert (sheets / "answers.csv").read_bytes() == before
