"""The live mirror: complete when MLflow is there, harmless when it is not."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tracking_world import EPOCHS, ROOT, write_world

from clarity.layout import Training
from clarity.store import experiment_id, open_store
from clarity.tracking import keys

#: A training as `clarity train` runs it, but with sleep for work. argv: model, seconds an epoch,
#: epochs told, how it ends.
TRAINING = """
import json, sys, time
from pathlib import Path
from clarity.layout import Training
from clarity.tracking.live import LiveMirror
model, pause, told, end = sys.argv[1], float(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
training = Training(model, 0)
provenance = json.loads(training.provenance.read_text())
import csv
rows = [{k: float(v) for k, v in row.items()} for row in csv.DictReader(training.curves.open())]
with LiveMirror.of_training(model, 0) as mirror:
    mirror.started(provenance)
    time.sleep(pause)
    for row in rows[:told]:
        mirror.epoch(row, 100.0)
        path = training.progress / f"epoch-{int(row['epoch']):04d}.png"
        if path.exists():
            mirror.picture(int(row["epoch"]), path)
    if end == "raise":
        raise SystemError("diverged")
    mirror.finished(training)
print("trained")
"""


#: Tells an epoch a second for a while, of a training of its own. argv: model, seconds.
TELLING = """
import json, sys, time
from clarity.layout import Training
from clarity.tracking.live import LiveMirror
model, seconds = sys.argv[1], float(sys.argv[2])
training = Training(model, 0)
epoch, end = 0, time.monotonic() + seconds
with LiveMirror.of_training(model, 0) as mirror:
    mirror.started(json.loads(training.provenance.read_text()))
    while time.monotonic() < end:
        mirror.epoch({"epoch": epoch, "step": epoch, "val_mse": 1 / (1 + epoch)}, 10.0 + epoch)
        epoch += 1
        time.sleep(1)
    mirror.finished(training)
print(epoch)
"""


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    monkeypatch.chdir(tmp_path)
    write_world(tmp_path, {"conv-small": {"family": "conv", "widths": [2]}})
    return tmp_path


def train(
    pause: float = 2.0, told: int = EPOCHS, end: str = "well", **environment: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", TRAINING, "conv-small", str(pause), str(told), end],
        env={**os.environ, "PYTHONPATH": str(ROOT / "src"), **environment},
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )


def test_a_training_is_mirrored_then_resumed_into_the_same_run(world: Path) -> None:
    client = open_store()
    failed = train(told=3, end="raise")
    assert "SystemError: diverged" in failed.stderr
    runs = client.search_runs([experiment_id(client)])
    assert [(run.info.run_name, run.info.status) for run in runs] == [("conv-small-0", "FAILED")]

    done = train(CLARITY_FLOW_RUN_ID="flow-1")
    assert (done.returncode, done.stdout, done.stderr) == (0, "trained\n", "")
    again = client.search_runs([experiment_id(client)])
    assert [run.info.run_id for run in again] == [runs[0].info.run_id]
    run = again[0]
    assert run.info.status == "FINISHED"
    assert run.data.tags["clarity.flow_run"] == "flow-1"
    for key in ("curves/val_mse", "curves/learning_rate", keys.IMAGES_PER_SECOND):
        points = client.get_metric_history(run.info.run_id, key)
        assert [point.step for point in points] == list(range(EPOCHS))
    files = client.list_artifacts(run.info.run_id, "images")
    steps = sorted(int(Path(file.path).name.split("+")[2]) for file in files)
    assert steps == [0, 0, 2, 2, 4, 4]  # each with its preview
    assert run.data.params["train.epochs"]


def test_a_training_goes_on_without_mlflow(world: Path) -> None:
    (world / "mlruns").mkdir()
    (world / "mlruns" / "mlflow.db").write_text("not a database")
    done = train()
    assert (done.returncode, done.stdout) == (0, "trained\n")
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 1
    assert "training goes on" in lines[0]


def test_a_training_goes_on_when_the_server_is_away(world: Path) -> None:
    done = train(
        MLFLOW_TRACKING_URI="http://127.0.0.1:9",
        MLFLOW_HTTP_REQUEST_MAX_RETRIES="0",
    )
    assert (done.returncode, done.stdout) == (0, "trained\n")
    assert len(done.stderr.strip().splitlines()) == 1


def test_why_a_training_goes_on_alone_is_said_without_a_password(
    world: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from clarity.tracking.live import LiveMirror

    address = f"https://ada:SECRET1@{'h' * 180}/api/2.0/mlflow"
    problem = ConnectionError(f"API request to {address} failed with exception")
    LiveMirror.of_training("conv-small", 0)._give_up(problem)
    said = capsys.readouterr().err
    assert "training goes on (ConnectionError('API request to https://***@hhh" in said
    assert "SECRET1" not in said


def test_a_very_short_training_is_left_to_publish(world: Path) -> None:
    done = train(pause=0.0)
    assert (done.returncode, done.stdout, done.stderr) == (0, "trained\n", "")
    assert not (world / "mlruns" / "mlflow.db").exists()


def test_telling_costs_a_training_next_to_nothing(world: Path) -> None:
    """The thread that tells never waits for MLflow, whatever that does."""
    from clarity.tracking.live import LiveMirror

    mirror = LiveMirror.of_training("conv-small", 0)
    mirror._open = lambda provenance: time.sleep(30)  # type: ignore[method-assign]
    training = Training("conv-small", 0)
    mirror.started(json.loads(training.provenance.read_text()))
    picture = next(training.progress.glob("*.png"))
    for epoch in range(1000):
        mirror.epoch({"epoch": epoch, "step": epoch, "val_mse": 0.1}, 10.0)
    mirror.picture(0, picture)
    assert mirror._jobs.qsize() > 1000
    mirror.finished(training)
    mirror.__exit__(None, None, None)


@pytest.mark.slow
def test_two_dozen_trainings_write_for_minutes_and_nothing_is_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.chdir(tmp_path)
    models: dict[str, dict[str, object]] = {
        f"conv-{number}": {"family": "conv", "widths": [2]} for number in range(24)
    }
    write_world(tmp_path, models)
    writers = {
        model: subprocess.Popen(
            [sys.executable, "-c", TELLING, model, "300"],
            env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for model in models
    }
    told = {}
    for model, writer in writers.items():
        said, wrong = writer.communicate(timeout=700)
        assert (writer.returncode, wrong) == (0, "")
        told[model] = int(said)
    client = open_store()
    runs = {run.info.run_name: run for run in client.search_runs([experiment_id(client)])}
    assert sorted(runs) == sorted(f"{model}-0" for model in models)
    for model, epochs in told.items():
        run = runs[f"{model}-0"]
        assert run.info.status == "FINISHED"
        assert epochs > 100
        points = client.get_metric_history(run.info.run_id, keys.IMAGES_PER_SECOND)
        written = [(point.step, point.value) for point in points]
        assert written == [(epoch, 10.0 + epoch) for epoch in range(epochs)]
