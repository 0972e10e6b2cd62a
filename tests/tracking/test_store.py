"""Where MLflow's store lies, how it is made, and what happens when it was moved or broken."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from clarity.address import database, project_root, tracking_uri
from clarity.errors import ClarityError
from clarity.store import experiment_id, open_store

ODD = "an odd place #1 50% é"
OPEN = "from clarity.store import open_store, experiment_id; print(experiment_id(open_store()))"


@pytest.fixture(autouse=True)
def plain(monkeypatch: pytest.MonkeyPatch) -> None:
    """None of the user's own settings."""
    for name in ("MLFLOW_TRACKING_URI", "DVC_ROOT"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project whose store two processes made at once."""
    root = tmp_path_factory.mktemp("made") / ODD
    root.mkdir()
    (root / "dvc.yaml").touch()
    environment = {k: v for k, v in os.environ.items() if k not in {"DVC_ROOT"}}
    environment.pop("MLFLOW_TRACKING_URI", None)
    racers = [
        subprocess.Popen(
            [sys.executable, "-c", OPEN],
            cwd=root,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    for racer in racers:
        out, err = racer.communicate(timeout=240)
        assert racer.returncode == 0, err
        assert out.strip() == "1"
    return root


def copy(made: Path, target: Path) -> Path:
    shutil.copytree(made, target)
    return target


def test_two_processes_make_one_store(made: Path) -> None:
    names = {path.name for path in (made / "mlruns").iterdir()}
    assert names - {".mlflow.db.lock", "artifacts"} == {"mlflow.db"}
    with sqlite3.connect(database(made)) as base:
        rows = base.execute("SELECT name, lifecycle_stage FROM experiments").fetchall()
    assert sorted(rows) == [("Default", "deleted"), ("clarity", "active")]


def test_artifacts_follow_a_checkout_that_moved(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = copy(made, tmp_path / "first ü%41")
    monkeypatch.chdir(first)
    client = open_store()
    run = client.create_run(experiment_id(client)).info.run_id
    client.log_text(run, "here", "note.txt")
    assert list(first.rglob("note.txt"))
    second = tmp_path / "second"
    first.rename(second)
    monkeypatch.chdir(second)
    script = (
        "from clarity.store import open_store; import sys; c = open_store();"
        "print([f.path for f in c.list_artifacts(sys.argv[1])]);"
        "c.log_text(sys.argv[1], 'there', 'new.txt')"
    )
    command = [sys.executable, "-c", script, run]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout.strip() == "['note.txt']"
    assert list(second.rglob("new.txt"))
    assert not first.exists()


def test_the_root_is_dvcs_else_the_nearest_with_a_graph(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "dvc.yaml").touch()
    deep = tmp_path / "a" / "b"
    deep.mkdir(parents=True)
    monkeypatch.chdir(deep)
    assert project_root() == tmp_path
    assert tracking_uri() == f"sqlite:///{tmp_path}/mlruns/mlflow.db"
    monkeypatch.setenv("DVC_ROOT", str(deep))
    assert project_root() == deep


def test_a_users_own_store_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    assert tracking_uri(tmp_path) == "http://127.0.0.1:9"
    with pytest.raises(ClarityError, match="start the server, or unset MLFLOW_TRACKING_URI"):
        open_store(tmp_path)
    assert not (tmp_path / "mlruns").exists()


def test_a_password_is_not_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://ann:secret@127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(ClarityError) as caught:
        open_store(tmp_path)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("content", [b"junk" * 300, b""], ids=["junk", "empty"])
def test_a_broken_database_is_one_line(tmp_path: Path, content: bytes) -> None:
    database(tmp_path).parent.mkdir()
    database(tmp_path).write_bytes(content)
    with pytest.raises(ClarityError, match=r"not a readable MLflow database.*clarity backfill"):
        open_store(tmp_path)
    assert database(tmp_path).read_bytes() == content


@pytest.mark.parametrize("what", ["renamed", "deleted and collected"])
def test_an_experiment_that_is_gone_is_made_anew_and_the_mend_named(
    what: str, made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = copy(made, tmp_path / "gone")
    with sqlite3.connect(database(root)) as base:
        if what == "renamed":
            base.execute("UPDATE experiments SET name = 'mine' WHERE name = 'clarity'")
        else:
            base.execute("DELETE FROM experiment_tags")
            base.execute("DELETE FROM experiments WHERE name = 'clarity'")
    client = open_store(root)
    assert client.get_experiment_by_name("clarity") is not None
    assert (client.get_experiment_by_name("mine") is not None) == (what == "renamed")
    assert "clarity backfill" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("address", "outcome"),
    [
        ("sqlite:///mlflow.db", "works"),
        ("sqlite:///a folder/my.db", "works"),
        ("sqlite://mlflow.db", "three slashes"),
        ("sqlite:///:memory:", "in memory"),
        ("mlruns", "a folder"),
        ("file:///tmp/mlruns", "a folder"),
        ("http://", "names no host"),
        ("postgres://u:p@h/db", "write postgresql"),
        ("postgresql://user:se/cr@et@nowhere.invalid/db", "driver|does not answer"),
    ],
)
def test_every_form_of_address_works_or_says_what_would(
    address: str, outcome: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "dvc.yaml").write_text("stages: {}")
    (tmp_path / "a folder").mkdir()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    if outcome == "works":
        assert open_store().get_experiment_by_name("clarity") is not None
        assert (tmp_path / address.removeprefix("sqlite:///")).is_file()
        return
    with pytest.raises(ClarityError, match=outcome) as raised:
        open_store()
    assert "\n" not in str(raised.value)
    assert "se/cr" not in str(raised.value)


def test_a_database_of_another_mlflow_is_one_line(made: Path, tmp_path: Path) -> None:
    root = copy(made, tmp_path / "old")
    with sqlite3.connect(database(root)) as base:
        base.execute("UPDATE alembic_version SET version_num = '39d1c3be5f05'")
    with pytest.raises(ClarityError, match="another version of MLflow"):
        open_store(root)


def test_a_deleted_experiment_comes_back(made: Path, tmp_path: Path) -> None:
    root = copy(made, tmp_path / "deleted")
    client = open_store(root)
    client.delete_experiment(experiment_id(client))
    again = open_store(root)
    assert again.get_experiment(experiment_id(again)).lifecycle_stage == "active"


def test_a_store_whose_writer_was_killed_within_a_transaction_opens_again(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it left is undone, though the first look at a store is read-only."""
    root = copy(made, tmp_path / "killed")
    monkeypatch.chdir(root)
    open_store()  # mends the places first
    kill = (
        "import os, signal, sqlite3, sys; base = sqlite3.connect(sys.argv[1]);"
        "base.execute('PRAGMA cache_size = 1');"
        "base.execute('BEGIN');"
        "base.executemany('INSERT INTO experiment_tags VALUES (?, ?, 1)',"
        " [(f'k{i}', 'x' * 900) for i in range(2000)]);"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    subprocess.run([sys.executable, "-c", kill, str(database(root))], check=False)
    journal = Path(f"{database(root)}-journal")
    assert journal.stat().st_size
    client = open_store()
    tags = client.get_experiment(experiment_id(client)).tags
    assert not any(key.startswith("k0") for key in tags)
    assert not journal.exists()
