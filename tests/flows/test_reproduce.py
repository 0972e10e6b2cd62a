"""``python -m pipelines.reproduce`` against a real server, beside plain ``dvc repro``."""

from __future__ import annotations

import base64
import json
import os
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any

import pytest
import toy
from PIL import Image
from tools import Run, alive_with, environment, until

FLOW = (sys.executable, "-m", "pipelines.reproduce")
DVC = (sys.executable, "-m", "dvc")


def post(api: str, path: str, **body: Any) -> Any:
    """Ask the server's API."""
    headers = {"Content-Type": "application/json"}
    if key := os.environ.get("PREFECT_API_AUTH_STRING"):
        headers["Authorization"] = f"Basic {base64.b64encode(key.encode()).decode()}"
    request = urllib.request.Request(f"{api}{path}", json.dumps(body).encode(), headers)
    with urllib.request.urlopen(request, timeout=30) as response:
        return json.load(response)


def outputs(root: Path) -> dict[str, bytes]:
    """Every output and the lock file."""
    files = [root / "dvc.lock"]
    for folder in ("data", "models", "evaluations", "reports", "mlruns"):
        files += (root / folder).rglob("*.txt")
    return {str(path.relative_to(root)): path.read_bytes() for path in files}


def started(log: Path) -> list[str]:
    """Stages in the order in which their commands started."""
    if not log.exists():
        return []
    return [line.split()[1] for line in log.read_text().splitlines() if line.startswith("start ")]


def test_runs_what_is_stale_and_ends_as_dvc_repro_does(
    project: Path, run: Run, server: str, tmp_path: Path
) -> None:
    twin = toy.make(tmp_path / "twin")
    subprocess.run([*DVC, "repro", "-q"], cwd=twin, env=environment(), check=True)
    log = tmp_path / "log"

    first = run(*FLOW, "--max-parallel", "2", TOY_LOG=str(log), PREFECT_API_URL=server)
    assert first.returncode == 0, first.stderr
    assert outputs(project) == outputs(twin)
    assert sorted(started(log)) == sorted(set(started(log)))
    assert "epoch 3/4" in first.stderr + first.stdout

    again = run(*FLOW, PREFECT_API_URL=server)
    assert again.stdout.strip() == "nothing to do: every stage is up to date"
    assert run(*DVC, "repro").stdout.count("didn't change, skipping") == 7

    log.unlink()
    text = (project / "params.yaml").read_text()
    (project / "params.yaml").write_text(text.replace("[512, 128", "[500, 128"))
    assert run(*FLOW, TOY_LOG=str(log), PREFECT_API_URL=server).returncode == 0
    # The toy's weights do not depend on the widths, so nothing behind them changes.
    assert started(log) == ["train@fcn-small-0"]

    names = [one["name"] for one in post(server, "/task_runs/filter", limit=200)]
    assert {"ingest", "train@fcn-small-0", "compare"} <= set(names)
    kinds = {one["key"] for one in post(server, "/artifacts/filter", limit=200)}
    assert {"stages", "comparison", "progress-train-fcn-small-0"} <= kinds


@pytest.mark.slow
def test_new_pictures_hold_up_no_training_that_they_cannot_join(
    project: Path, run: Run, server: str
) -> None:
    retrain = (sys.executable, "-m", "pipelines.retrain", "--no-promote")
    params = project / "params.yaml"
    params.write_text(params.read_text().replace("source: faces", "source: npy"))
    picture = project / "data/new/1.png"
    picture.parent.mkdir(parents=True)
    Image.new("RGB", (64, 64)).save(picture)
    done = run(*retrain, PREFECT_API_URL=server)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "DVC calls ingest and what follows changed"
    assert "data.source is npy: new pictures in data/new and data/handled are left" in done.stderr
    assert (project / "reports/table.md").is_file()
    # Where they are all there is to train for, that is said.
    alone = run(*retrain, PREFECT_API_URL=server)
    assert alone.returncode == 1
    said = "clarity: data.source is npy: new pictures cannot join it; set data.source: folder"
    assert alone.stderr.splitlines()[-1].startswith(said)
    assert picture.is_file()


@pytest.mark.slow
def test_dvcs_table_torn_by_a_kill_is_mended(project: Path, run: Run, server: str) -> None:
    torn = project / ".dvc" / "tmp" / "rwlock"
    torn.parent.mkdir(exist_ok=True)
    torn.write_text('{"write": {"/da')
    assert run(*DVC, "repro").returncode != 0, "plain DVC mends it now: so much code less here"
    assert run(*FLOW, PREFECT_API_URL=server).returncode == 0
    # While stages run, too: the stage that meets it may be tried again.
    from pipelines.stages.stage import StageBusy, run_stage

    torn.write_text("")
    with pytest.raises(StageBusy):
        run_stage("ingest", print, cwd=project)
    assert not torn.exists()
    assert not run_stage("ingest", print, cwd=project)


@pytest.mark.slow
def test_a_failed_stage_holds_back_its_own_branch_only(
    project: Path, run: Run, server: str, tmp_path: Path
) -> None:
    (project / "fail").write_text("train@fcn-medium-0")
    log = tmp_path / "log"
    result = run(*FLOW, "--max-parallel", "2", TOY_LOG=str(log), PREFECT_API_URL=server)
    assert result.returncode == 1
    assert result.stderr.strip().splitlines()[-1] == (
        "clarity: train@fcn-medium-0 failed: images.npy: row 7 is not an image; remove it "
        "(exit code 1) (3 stages behind it were not run)"
    )
    ran = started(log)
    assert ran.count("train@fcn-medium-0") == 1, "what won't pass is not tried again"
    assert "evaluate@fcn-small-0" in ran
    assert not {"evaluate@fcn-medium-0", "compare", "publish"} & set(ran)


@pytest.mark.parametrize(
    ("change", "options", "message"),
    [
        (("threads: 1", "threads: 64"), ("--max-parallel", "2"), "is more than the"),
        (("threads: 1", "treads: 1"), (), "params.yaml: "),
        (("threads: 1", "threads: 1"), ("--stage", "trian"), "trian: no such stage"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(
    project: Path,
    run: Run,
    change: tuple[str, str],
    options: tuple[str, ...],
    message: str,
) -> None:
    text = (project / "params.yaml").read_text()
    (project / "params.yaml").write_text(text.replace(*change))
    result = run(*FLOW, *options)
    assert result.returncode == 2
    assert len(result.stderr.strip().splitlines()) == 1
    assert result.stderr.startswith("clarity: ")
    assert message in result.stderr


@pytest.mark.parametrize(
    "number", [signal.SIGKILL, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)]
)
def test_a_killed_flow_leaves_no_process_and_is_marked_at_the_next_start(
    project: Path, run: Run, server: str, tmp_path: Path, number: int
) -> None:
    graph = (project / "dvc.yaml").read_text()
    (project / "dvc.yaml").write_text(graph.replace("seconds: 0.1", "seconds: 60"))
    log = tmp_path / "log"
    env = environment(TOY_LOG=str(log), PREFECT_API_URL=server)
    # Its output goes to nobody: a pipe without a reader would be one more way to end it.
    with open(os.devnull, "wb") as nobody:
        flow = subprocess.Popen(FLOW, cwd=project, env=env, stdout=nobody, stderr=nobody)
    until(lambda: started(log), 60, "the first stage starts")
    running = {"flow_runs": {"state": {"type": {"any_": ["RUNNING"]}}}}
    mine = {one["id"] for one in post(server, "/flow_runs/filter", **running)}
    flow.send_signal(number)
    flow.wait(30)
    mark = f"{project}/"
    until(lambda: not alive_with("toy.py ingest"), 10, f"no stage of {mark} is left")

    (project / "dvc.yaml").write_text(graph)
    finished = run(*FLOW, "--stage", "train@fcn-small-0", PREFECT_API_URL=server)
    assert finished.returncode == 0, finished.stderr
    states = {
        one["id"]: one["state"]["type"] for one in post(server, "/flow_runs/filter", limit=200)
    }
    assert {states[one] for one in mine} == {"CRASHED"}
    tasks = post(server, "/task_runs/filter", task_runs=running["flow_runs"])
    assert not tasks
    assert run(*DVC, "status", "-q", "train@fcn-small-0").returncode == 0
