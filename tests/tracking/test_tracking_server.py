"""`clarity ui`: MLflow's server on this machine only, which leaves nothing behind."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import psutil
import pytest
from tracking_world import ROOT

from pipelines.processes.server import free_port


def start(root: Path, port: int) -> subprocess.Popen[str]:
    environment = {k: v for k, v in os.environ.items() if k not in {"DVC_ROOT"}}
    environment.pop("MLFLOW_TRACKING_URI", None)
    return subprocess.Popen(
        [sys.executable, "-m", "clarity", "ui", "--port", str(port)],
        cwd=root,
        env={**environment, "PYTHONPATH": str(ROOT / "src")},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize(
    "how",
    [
        pytest.param(signal.SIGINT, marks=pytest.mark.slow),
        signal.SIGTERM,
        pytest.param(signal.SIGHUP, marks=pytest.mark.slow),  # its terminal is closed
    ],
)
def test_the_server_answers_here_only_and_ends_without_orphans(
    tmp_path: Path, how: signal.Signals
) -> None:
    (tmp_path / "dvc.yaml").touch()
    port = free_port()
    server = start(tmp_path, port)
    try:
        assert server.stdout is not None
        said = server.stdout.readline()
        address = re.search(r"http://127\.0\.0\.1:\d+/#\S+", said)
        assert address, said or server.communicate()[1]
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=60) as answer:
            assert answer.status == 200
        family = [server.pid, *(p.pid for p in psutil.Process(server.pid).children(True))]
        listening = {
            connection.laddr.ip
            for pid in family
            for connection in psutil.Process(pid).net_connections("inet")
            if connection.status == psutil.CONN_LISTEN
        }
        assert listening == {"127.0.0.1"}
        second = start(tmp_path, port)
        assert second.communicate(timeout=240)[1].strip() == (
            f"clarity: port {port} on 127.0.0.1: address already in use; choose another with --port"
        )
        assert second.returncode == 2
    finally:
        server.send_signal(how)
        err = server.communicate(timeout=60)[1]
    assert server.returncode == 0, err
    assert "Traceback" not in err
    assert not [pid for pid in family if psutil.pid_exists(pid)]
