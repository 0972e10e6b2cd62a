"""Server, UI, schedules and a worker on this machine: ``make serve-flows``.

Everything listens on 127.0.0.1 and ends with this process. Runs that an earlier one left
unfinished (a reboot, a kill) are marked Crashed first; their stages are stale and run again.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import typer

from clarity.errors import ClarityError
from clarity.files import write_json
from clarity.processes import identity
from pipelines.command import run_command
from pipelines.deploy import deploy
from pipelines.processes import groups
from pipelines.processes.home import home, migrate_database, prepare
from pipelines.processes.server import (
    API,
    CLIENT_AUTH,
    address_file,
    check_port,
    key_file,
    launch,
    running,
    wait_until_up,
)
from pipelines.worker import POOL
from pipelines.worker import launch as launch_worker


@contextmanager
def serving(port: int) -> Iterator[tuple[str, groups.Group]]:
    """A lasting server on ``port``, announced to the project: its address and its process."""
    own = f"http://127.0.0.1:{port}/api"
    # Whoever was told to export the address of this very server may start it again.
    if os.environ.get(API, own) != own:
        raise ClarityError(
            f"{API}={os.environ[API]} names a server already; `make deploy` deploys to it, or "
            f"unset {API} to start one here"
        )
    if (other := running()) is not None:
        raise ClarityError(f"this project's Prefect server already runs at {other}; stop that one")
    check_port(port)
    migrate_database()
    server = launch(port, lasting=True)
    os.environ[API] = own
    try:
        yield wait_until_up(server, port), server
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
    with serving(port) as (api, server):
        from pipelines.processes.runs import crash_all, recover

        for line in recover():
            print(line)
        for name in crash_all("the server was restarted and nothing carries it"):
            print(f"marked flow run {name} Crashed")
        # With a home of its own, this project's server knows no other's deployments.
        deploy(root, {}, take_over=home().is_relative_to(root))
        write_json(address_file(), {"api": api, **identity()})
        worker = launch_worker(root, POOL, limit)
        ui = api.removesuffix("/api")
        print(f"Prefect's UI is at {ui} (stop with Ctrl-C); it asks for the line in {key_file()}")
        print(f"`prefect …` in another shell: export {API}={api} {CLIENT_AUTH}=$(cat {key_file()})")
        sys.stdout.flush()
        parts = {
            f"Prefect's server ended by itself; {home() / 'server.log'} says why": server,
            "the worker ended by itself; its output above says why": worker,
        }
        gone: list[str] = []
        try:
            while not gone and not ended.wait(1):
                gone = [why for why, part in parts.items() if part.process.poll() is not None]
        finally:
            # Without a server a worker waits for minutes, and its runs with it.
            worker.stop()
            worker.wait()
    if gone:
        print(f"clarity: {gone[0]}", file=sys.stderr)
        raise typer.Exit(1)


if __name__ == "__main__":
    run_command(main)
