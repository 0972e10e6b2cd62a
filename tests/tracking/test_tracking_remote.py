"""A store behind a server: numbers kept, what a slow one missed delivered later, once."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import mlflow
import pytest
from test_tracking_live import train
from tracking_world import EPOCHS, write_world

from clarity.layout import Training
from clarity.params import load_params
from clarity.score.registered import find_version, identity_of, load_registered
from clarity.store import experiment_id, open_store
from clarity.tracking import publish
from pipelines.processes.server import free_port


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """MLflow's own server over SQLite; its address."""
    root, port = tmp_path_factory.mktemp("server"), free_port()
    address = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "mlflow", "server", "--workers", "1"]
    command += ["--host", "127.0.0.1", "--port", str(port)]
    command += ["--backend-store-uri", f"sqlite:///{root}/mlflow.db"]
    command += ["--artifacts-destination", (root / "artifacts").as_uri(), "--serve-artifacts"]
    environment = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    with (root / "log").open("wb") as log:
        process = subprocess.Popen(
            command, env=environment, stdout=log, stderr=log, start_new_session=True
        )
    try:
        while True:
            assert process.poll() is None, (root / "log").read_text()
            with suppress(OSError), urllib.request.urlopen(f"{address}/health", timeout=5):
                break
            time.sleep(0.2)
        yield address
    finally:
        os.killpg(process.pid, 9)
        process.wait()


@pytest.fixture
def world(server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A finished project whose store is the server."""
    monkeypatch.delenv("DVC_ROOT", raising=False)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server)
    monkeypatch.chdir(tmp_path)
    write_world(tmp_path)
    before = mlflow.get_tracking_uri()
    yield tmp_path
    mlflow.set_tracking_uri(before)


def slow(server: str, seconds: float) -> int:
    """The port of a proxy that hands everything on after so long."""
    listener = socket.create_server(("127.0.0.1", 0))
    host, port = server.removeprefix("http://").split(":")

    def pump(source: socket.socket, target: socket.socket, delay: float) -> None:
        with suppress(OSError), closing(target):
            while part := source.recv(65536):
                time.sleep(delay)
                target.sendall(part)

    def accept() -> None:
        while True:
            client, _ = listener.accept()
            upstream = socket.create_connection((host, int(port)))
            for ends in ((client, upstream, seconds), (upstream, client, 0.0)):
                threading.Thread(target=pump, args=ends, daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    return int(listener.getsockname()[1])


@pytest.mark.slow
def test_what_a_slow_server_missed_is_delivered_later_in_order_once(
    world: Path, server: str
) -> None:
    port = slow(server, 10.0)
    done = train(told=EPOCHS, MLFLOW_TRACKING_URI=f"http://127.0.0.1:{port}")
    assert (done.returncode, done.stdout) == (0, "trained\n")
    assert done.stderr.strip().splitlines() == [
        "clarity: not mirrored to MLflow, training goes on (MLflow's store did not take all within "
        "5 s); `publish` completes the run from the outputs"
    ]
    publish.publish()
    publish.publish()
    client = open_store()
    runs = client.search_runs([experiment_id(client)], "tags.`mlflow.runName` = 'conv-small-0'")
    assert [run.info.status for run in runs] == ["FINISHED"]
    for key in ("curves/train_mse", "curves/val_mse"):
        points = client.get_metric_history(runs[0].info.run_id, key)
        assert [point.step for point in points] == list(range(EPOCHS))


@pytest.mark.slow
def test_a_version_gets_its_old_number_behind_reserved_ones(world: Path) -> None:
    name = f"{load_params().gate.name}-numbered"
    text = Path("params.yaml").read_text()
    Path("params.yaml").write_text(text.replace("name: clarity\n", f"name: {name}\n", 1))
    assert load_params().gate.name == name
    identity = identity_of(Training("pca-3", 0))
    numbers = {1: "gone", 2: "gone too", 4: identity}
    publish.publish(numbers)
    client = open_store()
    before = len(client.search_logged_models([experiment_id(client)]))
    publish.publish(numbers)
    found = {int(one.version) for one in client.search_model_versions(f"name='{name}'")}
    assert found == {4, 5}
    assert find_version(client, name, "4")[1]["clarity.identity"] == identity
    assert load_registered("4").identity == identity
    # Nothing that is nobody's version is left, or piles up.
    assert len(client.search_logged_models([experiment_id(client)])) == before
