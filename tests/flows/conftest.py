"""Toy projects, and one Prefect server for the session, its database copied from a template."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import toy
from filelock import FileLock
from tools import Run, environment, prefect_home


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Prefect home with a migrated database: made once a session, whatever its workers."""
    shared = tmp_path_factory.getbasetemp()
    if os.environ.get("PYTEST_XDIST_WORKER"):
        shared = shared.parent
    home = shared / "prefect-template"
    with FileLock(f"{home}.lock"):
        if not (home / ".migrated").exists():
            home.mkdir(exist_ok=True)
            subprocess.run(
                [sys.executable, "-m", "prefect", "server", "database", "upgrade", "-y"],
                env=environment(PREFECT_HOME=str(home)),
                check=True,
                capture_output=True,
            )
            (home / ".migrated").touch()
    return home


@pytest.fixture
def project(tmp_path: Path, template: Path) -> Path:
    """A toy project with nothing run yet."""
    root = toy.make(tmp_path / "project")
    prefect_home(root, template)
    return root


@pytest.fixture
def run(project: Path) -> Run:
    """Run a command in the toy project."""

    def call(*command: str, **extra: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command, cwd=project, env=environment(**extra), capture_output=True, text=True
        )

    return call


@pytest.fixture(scope="session")
def server(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of a Prefect server that lives as long as the session."""
    from pipelines.processes.server import answers, free_port

    home = tmp_path_factory.mktemp("server")
    shutil.copy(template / "prefect.db", home / "prefect.db")
    port = free_port()
    command = [sys.executable, "-m", "prefect", "server", "start"]
    command += ["--host", "127.0.0.1", "--port", str(port)]
    # Ephemeral services leave out scheduling; the tests want the whole server.
    env = environment(PREFECT_HOME=str(home), PREFECT_SERVER_SERVICES_SCHEDULER_LOOP_SECONDS="5")
    with (home / "log").open("wb") as log:
        process = subprocess.Popen(command, env=env, stdout=log, stderr=log, start_new_session=True)
    api = f"http://127.0.0.1:{port}/api"
    deadline = time.monotonic() + 120
    while not answers(api):
        assert process.poll() is None, (home / "log").read_text()
        assert time.monotonic() < deadline, (home / "log").read_text()
        time.sleep(0.2)
    yield api
    for child in psutil.Process(process.pid).children(recursive=True):
        child.kill()
    process.kill()
    process.wait()
