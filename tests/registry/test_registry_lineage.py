"""`clarity lineage X` for every kind of X, and the history's pages."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest
import registry_world as world

from clarity.errors import ClarityError
from clarity.files import sha256_file
from clarity.layout import INDEX
from clarity.registry.history import show as show_history
from clarity.registry.lineage import find, show
from clarity.registry.promote import promote, rollback
from clarity.registry.reading import Client, Tables, open_reader
from clarity.score.registered import (
    TAG_COMMIT,
    TAG_FINGERPRINT,
    TAG_FLOW_RUN,
    TAG_IDENTITY,
    TAG_WEIGHTS,
)
from clarity.store import open_store

COMMIT = "0123456789abcdef0123456789abcdef01234567"
FLOW = "7b9e3c1d-8a55-4c0e-9f6e-3d2a1b0c9d8e"


@pytest.fixture
def chained(here: Path) -> Path:
    """Version 3 is champion, 1 challenger; version 2 carries a commit and a flow run."""
    promote("3", say=lambda _: None)
    promote("1", say=lambda _: None)
    client = open_store()
    client.set_model_version_tag("clarity", "2", TAG_COMMIT, COMMIT)
    client.set_model_version_tag("clarity", "2", TAG_FLOW_RUN, FLOW)
    return here


@pytest.mark.usefixtures("chained")
def test_every_end_of_the_chain_leads_to_its_version() -> None:
    tables = open_reader("clarity")
    assert isinstance(tables, Tables)
    records = {one.number: one for one in tables.versions()}
    two = records[2]
    ends = {
        "2": [2],
        "v2": [2],
        "champion": [3],
        "challenger": [1],
        two.run_id: [2],
        two.run_id[:8]: [2],
        two.tag(TAG_IDENTITY): [2],
        two.tag(TAG_WEIGHTS)[:10]: [2],
        two.tag(TAG_FINGERPRINT)[:12]: [2],
        COMMIT: [2],
        COMMIT[:7]: [2],
        FLOW: [2],
        FLOW[:8]: [2],
        "train@pca-4-0": [2],
        "evaluate@pca-4-0": [2],
        "pca-4-0": [2],
        "pca-4": [2],
        sha256_file(INDEX): [3, 2, 1],
        sha256_file(INDEX)[:9]: [3, 2, 1],
        "preprocess": [3, 2, 1],
    }
    # A server is asked through MLflow's client and gives the same.
    for reader in (tables, Client("clarity")):
        assert {end: [one.number for one in find(reader, end)] for end in ends} == ends
        for unknown in ("9", "abcdef0123", "winner", "train@conv-9-0", "12", "'; DROP TABLE runs"):
            with pytest.raises(ClarityError, match="no version, alias, run"):
                find(reader, unknown)


@pytest.mark.usefixtures("chained")
def test_a_run_that_became_no_version_is_found_too() -> None:
    client = open_store()
    experiment = client.get_experiment_by_name("clarity")
    assert experiment is not None
    made = client.create_run(experiment.experiment_id, tags={TAG_FINGERPRINT: "fe" * 32})
    for reader in (open_reader("clarity"), Client("clarity")):
        for end in (made.info.run_id, "fe" * 5):
            assert [(one.number, one.run_id) for one in find(reader, end)] == [
                (None, made.info.run_id)
            ]


@pytest.mark.usefixtures("chained")
def test_the_whole_chain_is_printed_with_commands(capsys: pytest.CaptureFixture[str]) -> None:
    show("2")
    told = capsys.readouterr().out
    for part in (
        "clarity version 2 (pca-4-0)",
        "train@pca-4-0, evaluate@pca-4-0",
        sha256_file(INDEX),
        f"git worktree add --detach ../project-{COMMIT[:8]} {COMMIT}",
        "dvc repro evaluate@pca-4-0",
        "clarity restore 2",
        FLOW,
    ):
        assert part in told
    show("champion")
    told = capsys.readouterr().out
    assert "version 3 (pca-8-0, champion)" in told
    assert "first champion" in told


@pytest.mark.usefixtures("chained")
def test_a_thousand_runs_change_little(capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing here scans runs: the time is that of 1,000 rows more in indexed tables."""
    start = time.perf_counter()
    show("champion")
    few = time.perf_counter() - start
    with sqlite3.connect("mlruns/mlflow.db") as base:
        columns = [row[1] for row in base.execute("PRAGMA table_info(runs)")]
        others = ", ".join(one for one in columns if one != "run_uuid")
        base.execute("CREATE TEMP TABLE one AS SELECT * FROM runs LIMIT 1")
        for number in range(1000):
            base.execute(
                f"INSERT INTO runs (run_uuid, {others}) SELECT ?, {others} FROM one",
                (f"{number:032x}",),
            )
            base.executemany(
                "INSERT INTO tags (key, value, run_uuid) VALUES (?, ?, ?)",
                [(f"t{tag}", "x", f"{number:032x}") for tag in range(20)],
            )
    start = time.perf_counter()
    show("champion")
    find(open_reader("clarity"), f"{7:032x}")
    assert time.perf_counter() - start < max(20 * few, 1)
    assert "MLflow run" in capsys.readouterr().out


@pytest.mark.usefixtures("chained")
def test_history_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    promote("3", say=lambda _: None)
    world.write_params(["pca-8"], margin=0.0)
    show_history()
    told = capsys.readouterr().out
    assert "promote champion" in told
    assert "champion is version 3" in told
    assert "register" not in told
    show_history(registrations=True)
    assert told.count("register") == 0
    assert capsys.readouterr().out.count("register") >= 3
    show_history(Path("nowhere.jsonl"))
    assert "No alias has moved yet" in capsys.readouterr().out
    with pytest.raises(ClarityError):
        rollback()


@pytest.mark.usefixtures("chained")
def test_on_the_command_line_without_mlflow() -> None:
    """MLflow's import alone would take the two seconds that an answer may take.

    Asked in a folder below the project's, which is where somebody may stand.
    """
    Path("below/it").mkdir(parents=True)
    code = (
        "import os, sys\n"
        "from clarity.cli import app\n"
        "here = os.getcwd()\n"
        "for command in (['lineage', 'champion'], ['history']):\n"
        "    os.chdir(here)\n"
        "    app(command, standalone_mode=False)\n"
        "assert not {'mlflow', 'torch', 'pandas'} & set(sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd="below/it",
        env=world.environment(Path.cwd()),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "version 3 (pca-8-0, champion)" in done.stdout
    assert done.stdout.count("first champion") == 2  # a move in the chain, and in the history
    assert "champion is version 3" in done.stdout


@pytest.mark.parametrize("what", ["junk", "empty", "another's"])
def test_a_store_that_is_none_is_one_line(what: str, tmp_path: Path) -> None:
    path = tmp_path / "mlflow.db"
    path.write_bytes(b"junk" * 300 if what == "junk" else b"")
    if what == "another's":
        with closing(sqlite3.connect(path)) as base, base:
            base.execute("CREATE TABLE runs (name TEXT)")
    for asked in (lambda: Tables(path, "clarity").versions(), lambda: Tables(path, "c").runs("ab")):
        with pytest.raises(ClarityError, match=r"not a readable MLflow database .*; move it away"):
            asked()
