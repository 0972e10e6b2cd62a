"""A Prefect worker for this machine that leaves nothing running when it is killed.

    python -m pipelines.worker --pool clarity

`prefect worker start`, in the project's own environment, under the supervisor. What an earlier
worker left behind is mended first.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from pipelines.command import run_command
from pipelines.processes import groups
from pipelines.processes.home import prepare
from pipelines.processes.server import API, reached, running

POOL = "clarity"


def launch(root: Path, pool: str, limit: int, name: str | None = None) -> groups.Group:
    """Start a process worker whose flow runs work in this checkout of the project."""
    command = [sys.executable, "-m", "prefect", "worker", "start", "--type", "process"]
    command += ["--pool", pool, "--limit", str(limit), *(["--name", name] if name else [])]
    inherited = [entry for entry in [os.environ.get("PYTHONPATH")] if entry]
    env = {
        "CLARITY_HOME": str(root),
        "PYTHONPATH": os.pathsep.join([str(root / "src"), str(root), *inherited]),
    }
    # A flow run gets this long to end its stages and to say that it was stopped.
    return groups.start(
        command, f"worker of {pool}", env=env, grace=10, output=sys.stdout.fileno(), service=True
    )


def main(
    pool: Annotated[str, typer.Option(help="The work pool to take flow runs from.")] = POOL,
    limit: Annotated[int, typer.Option(help="Flow runs at once.")] = 1,
    name: Annotated[str | None, typer.Option(help="The worker's name in the UI.")] = None,
) -> None:
    """Take flow runs from a work pool, until stopped. The server is named by PREFECT_API_URL."""
    root = prepare()
    os.environ[API] = reached(running(), "set it to your server's address")
    from pipelines.processes.runs import recover

    for line in recover():
        print(line)
    worker = launch(root, pool, limit, name)
    try:
        code = worker.wait()
    except KeyboardInterrupt:
        worker.stop()
        code = 0 if worker.wait() >= 128 else 1
    raise typer.Exit(code)


if __name__ == "__main__":
    run_command(main)
