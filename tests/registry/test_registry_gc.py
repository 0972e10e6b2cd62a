"""`clarity gc`: deletes what nobody needs, and nothing that an alias, a reference or a job does."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
import registry_world as world

from clarity.address import database
from clarity.files import md5_file
from clarity.layout import Training
from clarity.registry import gc, lineage, promote
from clarity.registry.backfill import publish
from clarity.registry.reading import open_reader
from clarity.score import owner
from clarity.score.registered import TAG_REGISTERED, load_registered
from clarity.store import artifacts, experiment_id, open_store
from clarity.tracking import keys, runs, view


def git(*arguments: str) -> None:
    identity = ("-c", "user.name=A User", "-c", "user.email=user@example.org")
    subprocess.run(["git", *identity, *arguments], check=True, capture_output=True)


def lock(*names: str) -> None:
    """A dvc.lock that names the weights of these trainings."""
    outs = [
        f"    - path: {path}\n      hash: md5\n      md5: {md5_file(path)}\n"
        for path in (Training(name, 0).weights for name in names)
    ]
    Path("dvc.lock").write_text("stages:\n  train:\n    outs:\n" + "".join(outs))


def train_again(name: str, jitter: float) -> None:
    world.write_training(name, jitter=jitter)
    publish(say=lambda _: None)


def numbers() -> set[int]:
    return {int(str(one.number)) for one in open_reader("clarity").versions()}


def test_only_what_nobody_needs_is_deleted(here: Path) -> None:
    """Version 1 is champion, 3 is on a branch, 4 at a tag, 5 is nobody's, the last is here."""
    git("init", "--quiet")
    Path(".gitignore").write_text("mlruns\n")
    promote.promote("1", say=lambda _: None)
    first = max(numbers())
    for place in ("branch", "tag", "nowhere", "workspace"):
        train_again("pca-2", 0.01 * len(place))
        lock("pca-2")
        if place in ("branch", "tag"):
            git("add", "dvc.lock")
            git("commit", "--quiet", "-m", place)
            git(*(("branch", "kept") if place == "branch" else ("tag", "kept-too")))
    branch, tag, nowhere, workspace = range(first + 1, first + 5)
    assert numbers() == set(range(1, workspace + 1))
    checkpoint = Path(".checkpoints") / ("0" * 64) / "checkpoint.safetensors"
    checkpoint.parent.mkdir(parents=True)
    checkpoint.write_bytes(b"x" * 100)
    client = open_store()
    live = client.create_run(experiment_id(client), tags={keys.KIND: keys.COMPARISON})

    said: list[str] = []
    gc.collect(say=said.append)
    assert said[-1].startswith("nothing was deleted")
    told = {int(line.split()[1]) for line in said if line.startswith("version ")}
    assert told == {nowhere}
    assert {branch, tag, workspace} < numbers()
    assert numbers() == set(range(1, workspace + 1))
    assert checkpoint.exists()

    files = sum(1 for path in artifacts(here).rglob("weights.safetensors") if path.is_file())
    gc.collect(force=True, say=said.append)
    assert said[-1] == "deleted"
    assert numbers() == set(range(1, workspace + 1)) - told
    assert not checkpoint.exists()
    left = sum(1 for path in artifacts(here).rglob("weights.safetensors") if path.is_file())
    assert left == files - len(told)
    assert client.get_run(live.info.run_id).info.lifecycle_stage == "active"
    for number in numbers():  # each still loads, with the digests it was published with
        done = subprocess.run(
            [sys.executable, "-m", "clarity", "lineage", str(number)],
            env=world.environment(here),
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
    gc.collect(force=True, say=said.append)
    assert said[-2].startswith("0 versions, 0 runs and 0 checkpoints")


def test_a_project_touches_nothing_of_another_in_the_same_store(
    here: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both train the very same models; one of the other's runs is from before runs had owners."""
    promote.promote("1", say=lambda _: None)
    client = open_store()
    experiment = experiment_id(client)
    tags = {keys.KIND: keys.TRAINING, "mlflow.runName": "pca-2-0"}
    old = client.create_run(experiment, tags=tags)  # never finished, and says not whose it is
    client.create_run(experiment, tags={**tags, TAG_REGISTERED: "clarity"})
    before = {run.info.run_id: run for run in runs.all_runs(client, experiment)}
    named = next(run for run in before.values() if run.info.run_name == "pca-8-0")
    client.delete_tag(named.info.run_id, TAG_REGISTERED)
    before[named.info.run_id] = client.get_run(named.info.run_id)

    bolts = tmp_path / "bolts"
    shutil.copytree(here, bolts, ignore=shutil.ignore_patterns("mlruns", "registry"))
    monkeypatch.chdir(bolts)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{database(here)}")
    world.write_params(["pca-2", "pca-4", "pca-8"], name="bolts")
    git("init", "--quiet")
    git("commit", "--quiet", "--allow-empty", "-m", "bolts")
    publish(say=lambda _: None)
    train_again("pca-2", 0.01)  # supersedes, and leaves something to collect
    said: list[str] = []
    gc.collect(force=True, say=said.append)
    assert said[-2].startswith("1 versions, 1 runs"), said

    now = {run.info.run_id: run for run in runs.all_runs(client, experiment)}
    for run_id, run in before.items():
        assert now[run_id].to_dictionary() == run.to_dictionary()
    theirs = list(owner.own(client, "bolts", now.values()))
    assert {run.info.run_id for run in theirs} == now.keys() - before.keys()
    names = ["comparison", "pca-2-0", "pca-4-0", "pca-8-0"]
    assert sorted(str(run.info.run_name) for run in theirs) == names
    views = (view.present(client, name) for name in ("clarity", "bolts", "nuts"))
    assert list(views) == [True, True, False]

    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    monkeypatch.chdir(here)
    assert load_registered("champion").number == 1
    train_again("pca-8", 0.01)  # its old run is its own: superseded, and signed by it now
    again = client.get_run(named.info.run_id).data.tags
    assert (again[keys.CURRENT], again[TAG_REGISTERED]) == ("false", "clarity")
    assert client.get_run(old.info.run_id).data.tags == old.data.tags


def test_a_store_that_was_backed_up_as_documented_answers_the_same_elsewhere(
    here: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    promote.promote("3", say=lambda _: None)
    lineage.show("champion")
    before = capsys.readouterr().out
    dump, other = tmp_path / "dump.db", tmp_path / "another checkout"
    with closing(sqlite3.connect(database(here))) as store, closing(sqlite3.connect(dump)) as copy:
        store.backup(copy)
    shutil.copytree(here / "mlruns" / "artifacts", tmp_path / "artifacts")
    shutil.rmtree(here / "mlruns")

    shutil.move(here, other)
    monkeypatch.chdir(other)
    database(other).parent.mkdir()
    shutil.copy(dump, database(other))
    shutil.copytree(tmp_path / "artifacts", other / "mlruns" / "artifacts")
    open_store()
    lineage.show("champion")
    assert capsys.readouterr().out == before
    assert load_registered("champion").number == 3
