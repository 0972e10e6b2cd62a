"""What the tests of the flows share."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

Run = Callable[..., subprocess.CompletedProcess[str]]
PROJECT = Path(__file__).parents[2]
ENV = {
    "PYTHONPATH": os.pathsep.join([str(PROJECT / "src"), str(PROJECT)]),
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_LOGGING_LEVEL": "INFO",
    "DO_NOT_TRACK": "1",
}


def environment(**extra: str) -> dict[str, str]:
    """This process's environment without any Prefect of the user's."""
    mine = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    return {**mine, **ENV, **extra}


def prefect_home(project: Path, template: Path) -> Path:
    """Give a project a home of its own with the template's database."""
    home = project / ".prefect"
    home.mkdir(exist_ok=True)
    shutil.copy(template / "prefect.db", home / "prefect.db")
    (home / ".migrated").touch()
    return home


def alive_with(text: str) -> list[psutil.Process]:
    """Live processes whose command line contains ``text``."""
    found = []
    for process in psutil.process_iter():
        try:
            if text in " ".join(process.cmdline()) and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except psutil.Error:
            continue
    return found


def until(condition: Callable[[], object], seconds: float = 30, what: str = "") -> None:
    """Wait until ``condition()`` holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"still not so after {seconds} s: {what}"
        time.sleep(0.05)


#: What a client shows to a project's server.
AUTH = "PREFECT_API_AUTH_STRING"


@contextmanager
def serving(root: Path, log: Path, env: dict[str, str]) -> Iterator[str]:
    """Server, schedules and a worker as ``make serve-flows`` starts them; the server's address.

    What this process and those with ``env`` ask it, they ask with the project's secret.
    """
    from pipelines.processes.server import answers, free_port

    port = free_port()
    api = f"http://127.0.0.1:{port}/api"
    command = [sys.executable, "-m", "pipelines.serve", "--port", str(port)]
    with log.open("wb") as out:
        serve = subprocess.Popen(command, cwd=root, env=env, stdout=out, stderr=out)
        try:
            until((root / ".prefect" / "server.json").exists, 180, "flows are served")
            assert answers(api)
            env[AUTH] = os.environ[AUTH] = (root / ".prefect" / "server.key").read_text()
            yield api
        finally:
            os.environ.pop(AUTH, None)
            serve.terminate()
            serve.wait(60)
