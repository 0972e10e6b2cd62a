"""Commands started under the supervisor, and the record of them that outlives a crash.

Each command carries a token in its environment and has a record under ``.prefect/groups`` while it
runs. Where both this process and the supervisor were killed at one blow, the next start finds the
record and ends whatever still carries the token.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, NoReturn

import psutil

from clarity.files import write_json
from clarity.processes import alive, identity
from pipelines.processes import supervise
from pipelines.processes.home import home

TOKEN = "CLARITY_GROUP"  # noqa: S105 - a variable's name

_running: set[Group] = set()
_guard = threading.Lock()
_stopping = threading.Event()


class Stopped(Exception):
    """This process was told to end; nothing new is started."""


@dataclass(eq=False)
class Group:
    """A supervised command: its pipe of output, and how to end it."""

    process: subprocess.Popen[bytes]
    record: Path

    def lines(self) -> Iterator[str]:
        """Output as it comes, standard error in between; a progress bar's returns end a line."""
        assert self.process.stdout is not None
        for raw in self.process.stdout:
            yield from raw.decode(errors="replace").rstrip("\n").split("\r")

    def stop(self) -> None:
        """Ask the supervisor to end everything, by closing its pipe."""
        with contextlib.suppress(OSError):
            assert self.process.stdin is not None
            self.process.stdin.close()

    def wait(self) -> int:
        """Wait for the end and return the exit code; see :mod:`pipelines.processes.supervise`."""
        try:
            code = self.process.wait()
        finally:
            with _guard:
                _running.discard(self)
        if code < 0:  # the supervisor itself was killed: end what it watched
            _end_token(self.record.stem)
            code = 128 - code
        self.record.unlink(missing_ok=True)
        return code


def start(
    command: Sequence[str],
    name: str,
    *,
    env: Mapping[str, str] | None = None,
    timeout: float | None = None,
    grace: float = 5.0,
    output: IO[bytes] | int = subprocess.PIPE,
    cwd: Path | None = None,
    service: bool = False,
) -> Group:
    """Start ``command`` in a session of its own, bound to the life of this process.

    Args:
        command: Program and arguments.
        name: What to call it in the record.
        env: Added to this process's environment.
        timeout: Seconds after which everything it started is killed.
        grace: Seconds between SIGTERM and SIGKILL.
        output: Where standard output and error go; a pipe by default.
        cwd: Working directory.
        service: Whether to spare it in :func:`stop_all` (a server, which is still told of the end).
    """
    token = uuid.uuid4().hex
    record = home() / "groups" / f"{token}.json"
    write_json(record, {"token": token, "name": name, **identity()})
    options = ["--record", str(record), "--grace", str(grace)]
    if timeout:
        options += ["--timeout", str(timeout)]
    with _guard:
        if _stopping.is_set() and not service:
            record.unlink(missing_ok=True)
            raise Stopped(name)
        group = Group(
            subprocess.Popen(
                [sys.executable, "-I", "-S", supervise.__file__, *options, "--", *command],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env={**os.environ, **(env or {}), TOKEN: token},
                cwd=cwd,
            ),
            record,
        )
        if not service:
            _running.add(group)
    return group


def stop_all() -> None:
    """End every running command and refuse new ones: this process is about to end."""
    _stopping.set()
    for group in list(_running):
        group.stop()


def pause(seconds: float) -> bool:
    """Wait so long, or until this process is told to end; whether it was not."""
    return not _stopping.wait(seconds)


def leave(why: str, grace: float = 10.0) -> NoReturn:
    """End this process from any of its threads, and first all that it runs; exit code 1.

    For a process whose main thread can't be reached: it waits for what will never come.
    """
    stop_all()
    deadline = time.monotonic() + grace
    for group in list(_running):
        with contextlib.suppress(subprocess.TimeoutExpired):
            group.process.wait(max(0.0, deadline - time.monotonic()))
    print(f"clarity: {why}", file=sys.stderr, flush=True)
    os._exit(1)


def _end_token(token: str) -> int:
    """SIGKILL every process that carries the token; how many there were."""
    ended = 0
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process.environ().get(TOKEN) == token and process.pid != os.getpid():
                process.send_signal(signal.SIGKILL)
                ended += 1
    return ended


def reap() -> list[str]:
    """End what a killed owner left running; the names of those commands."""
    names = []
    for record in sorted((home() / "groups").glob("*.json")):
        try:
            content = json.loads(record.read_text())
        except (OSError, ValueError):  # another process reaps at the same time
            continue
        if alive(content):
            continue
        if _end_token(content["token"]):
            names.append(str(content["name"]))
        record.unlink(missing_ok=True)
    return names
