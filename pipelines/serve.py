"""Server, UI, schedules and a worker on this machine: ``make serve-flows``.

Everything listens on 127.0.0.1 and ends with this process. Runs that an earlier one left
unfinished (a reboot, a kill) are marked Crashed first; their stages are stale and run again.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import typer

from clarity.errors import ClarityError
from clarity.files import write_json
from pipelines import groups
from pipelines.deploy import deploy
from pipelines.home import migrate_database, prepare
from pipelines.reproduce import run
from pipelines.server import API, address_file, answers, launch, running, wait_until_up
from pipelines.worker import POOL
from pipelines.worker import launch as launch_worker


@contextmanager
def serving(port: int) -> Iterator[str]:
    """A lasting server on ``port``, announced to the project; its address."""
    own = f"http://127.0.0.1:{port}/api"
    other = running()
    if other is not None or answers(own):
        raise ClarityError(f"a Prefect server already runs at {other or own}; use or stop that one")
    migrate_database()
    server = launch(port, lasting=True)
    os.environ[API] = own
    try:
        yield wait_until_up(server, port)
    finally:
        address_file().unlink(missing_ok=True)
        server.stop()
        server.wait()


def main(
    port: Annotated[int, typer.Option(help="Port of server and UI, on 127.0.0.1.")] = 4200,
    limit: Annotated[int, typer.Option(help="Flow runs at once.")] = 2,
) -> None:
    """Run Prefect's server, its UI, the schedules and a worker, until stopped."""
    root = prepare()
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    with serving(port) as api:
        from pipelines.runs import crash_all, recover

        for line in recover():
            print(line)
        for name in crash_all("the server was restarted and nothing carries it"):
            print(f"marked flow run {name} Crashed")
        deploy(root, {})
        write_json(address_file(), {"api": api, **groups.identity()})
        worker = launch_worker(root, POOL, limit)
        print(f"Prefect's UI is at {api.removesuffix('/api')} (stop with Ctrl-C)", flush=True)
        try:
            while not ended.wait(1) and worker.process.poll() is None:
                pass
        finally:
            worker.stop()
            worker.wait()
    if not ended.is_set():
        raise ClarityError("the worker ended by itself; its output above says why")


if __name__ == "__main__":
    run(main)
