"""The flow `score` on arrivals of every kind: a real model, a real store, a real server."""

from __future__ import annotations

import csv
import json
import os
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from test_reproduce import post
from tools import Run, prefect_home

from clarity.params import load_params
from pipelines.arrivals.adopt import gather
from pipelines.processes.server import free_port

sys.path.append(str(Path(__file__).parents[1] / "registry"))
import registry_world as world

# test_ui_offline.py takes these from here, where the path to `world` is known.
__all__ = ["SCORE", "project", "world"]

SCORE = (sys.executable, "-m", "pipelines.score", "--settle", "0")


@pytest.fixture
def project(tmp_path: Path, template: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with a champion; scoring asks nothing of DVC."""
    from clarity.registry.backfill import publish
    from clarity.registry.promote import promote

    root = tmp_path / "project"
    (root / ".dvc").mkdir(parents=True)
    monkeypatch.chdir(root)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    world.write_world(["pca-8"])
    publish()
    promote(say=lambda _: None)
    # MLflow has set it for its process, to this project's store.
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    prefect_home(root, template)
    return root


def rows(folder: Path) -> dict[str, str]:
    """Every id of a batch's tables, with the table it stands in."""
    found: dict[str, str] = {}
    for name in ("scores.csv", "rejected.csv"):
        with (folder / name).open(newline="") as handle:
            for row in csv.DictReader(handle):
                assert row["id"] not in found
                found[row["id"]] = name
    return found


def test_whatever_arrives_has_one_row_and_one_bad_batch_stops_no_other(
    project: Path, run: Run, server: str
) -> None:
    incoming, images = project / "data" / "incoming", world.faces("test", 0)[0]
    for camera in (1, 2):
        (incoming / f"cam{camera}").mkdir(parents=True)
        order = np.asfortranarray if camera == 2 else np.ascontiguousarray
        np.save(incoming / f"cam{camera}" / "today.npy", order(images[camera : camera + 2]))
    for name in (b"a.png", b"caf\xe9.png", b"=1+1.png"):
        Image.fromarray(images[5]).save(incoming / os.fsdecode(name))
    (incoming / "broken.jpg").write_bytes(b"\xff\xd8 no more")
    os.mkfifo(incoming / "pipe")
    # A batch that cannot be scored waits for its mending; the one behind it does not.
    stuck = incoming / ".taken" / "20260101T000000-0123abcd"
    stuck.mkdir(parents=True)
    Image.fromarray(images[6]).save(stuck / "b.png")
    (project / "scores").mkdir()
    (project / "scores" / stuck.name).touch()
    done = run(*SCORE, PREFECT_API_URL=server)
    assert done.returncode == 1
    said = done.stderr.splitlines()[-1]
    assert f"{stuck.name}: scores/{stuck.name}: a file; --output" in said
    assert "7 scored with version 1" in said
    assert "2 rejected" in said
    (table,) = (path for path in (project / "scores").iterdir() if path.is_dir())
    found = rows(table)
    assert {name for name, where in found.items() if where == "rejected.csv"} == {
        "broken.jpg",
        "pipe",
    }
    assert set(found) - {"broken.jpg", "pipe"} == {
        *("a.png", "caf\\xe9.png", "\\x3d1+1.png"),
        *(f"cam{camera}/today.npy/{row}" for camera in (1, 2) for row in (0, 1)),
    }
    assert (table / "drift.json").exists()
    handled = [project / "data" / "handled"]
    kept = gather(handled, project / "scores", load_params(), include_flagged=True)
    assert len(kept.pictures) == 1, "the others are its copies"
    assert (kept.known, kept.rejected, kept.unscored) == (2, [], [])

    (project / "scores" / stuck.name).unlink()
    mended = run(*SCORE, PREFECT_API_URL=server)
    assert mended.returncode == 0, mended.stderr
    assert mended.stdout.startswith(f"{stuck.name}: 1 scored")
    assert rows(project / "scores" / stuck.name) == {"b.png": "scores.csv"}


@pytest.mark.slow
def test_lasting_drift_is_told_until_a_server_has_it(project: Path, run: Run, server: str) -> None:
    row = {"tests": [{}], "drifted": True, "version": "1", "sentence": "darker"}
    for batch in ("1", "2"):
        (project / "scores" / batch).mkdir(parents=True)
        (project / "scores" / batch / "drift.json").write_text(json.dumps(row))
    told = "from pathlib import Path; from pipelines.flows.score import raise_event"
    told += "; print(raise_event(Path('scores'), 2, print))"

    def raised(api: str) -> list[str]:
        result = run(
            sys.executable, "-c", told, PREFECT_API_URL=api, PREFECT_CLIENT_MAX_RETRIES="0"
        )
        assert result.returncode == 0, result.stderr
        return result.stdout.splitlines()

    away = raised(f"http://127.0.0.1:{free_port()}/api")
    assert away[-1] == "False"
    assert "did not take it; the next run raises it again" in away[0]
    assert raised(server)[-1] == "True"
    assert raised(server) == ["False"], "once in each row of such batches"
    found = post(server, "/events/filter", filter={"event": {"name": ["clarity.drift.lasting"]}})
    assert [one["payload"]["batches"] for one in found["events"]] == [2]
