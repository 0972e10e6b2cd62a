"""Fifty kills: whatever dies, nothing is left running and the next start ends as if undisturbed."""

from __future__ import annotations

import itertools
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
import uuid
from collections import Counter
from contextlib import closing, suppress
from functools import partial
from pathlib import Path

import psutil
import pytest
import toy
from test_reproduce import DVC, FLOW, outputs, started
from tools import AUTH, environment, prefect_home, until

KILLS = int(os.environ.get("CLARITY_KILLS", "50"))
TARGETS = ("flow", "task", "supervisor", "server", "worker", "service")
#: Those that live in what ``make serve-flows`` starts; a service is its server.
SERVED = ("worker", "service")
SIGNALS = (signal.SIGTERM, signal.SIGKILL)
MARK = "CLARITY_KILL_TEST"


def marked(mark: str) -> list[psutil.Process]:
    """Live processes that were started for this test, by their environment."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get(MARK) == mark and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except (psutil.Error, OSError):
            continue
    return found


def gone(mark: str) -> bool:
    """Whether none of them is left."""
    return not marked(mark)


def pick(mark: str, *needles: str) -> psutil.Process | None:
    """A marked process whose command line holds all ``needles``.

    A supervisor's holds that of what it supervises: it is meant only where it is named.
    """
    for process in marked(mark):
        try:
            line = " ".join(process.cmdline())
        except psutil.Error:
            continue
        supervises = "supervise.py" in line and "supervise.py" not in needles
        if not supervises and all(needle in line for needle in needles):
            return process
    return None


def victim(target: str, mark: str) -> psutil.Process | None:
    """The process to kill."""
    if target == "flow":
        return pick(mark, "-m pipelines.reproduce")
    if target == "task":
        found = pick(mark, "toy.py")
        # A shell stands between DVC and the stage; the stage itself is meant.
        return found if found and "toy.py" in " ".join(found.cmdline()[:2]) else None
    if target == "supervisor":
        return pick(mark, "supervise.py", "repro")
    if target == "server":
        return pick(mark, "uvicorn", "create_app")
    return pick(mark, f"prefect {'worker' if target == 'worker' else 'server'} start")


def files(root: Path) -> dict[str, bytes]:
    """Every output; not the lock file, in which the twin's shorter sleep shows."""
    return {name: content for name, content in outputs(root).items() if name != "dvc.lock"}


def unfinished(home: Path) -> int:
    """Flow and task runs that the database calls Running or Cancelling."""
    query = "SELECT count(*) FROM {} WHERE state_type IN ('RUNNING', 'CANCELLING')"
    with closing(sqlite3.connect(home / "prefect.db", timeout=30)) as database:
        return sum(
            database.execute(query.format(table)).fetchone()[0]
            for table in ("flow_run", "task_run")
        )


class Arena:
    """A toy project, its undisturbed twin, and the means to start flows in it."""

    def __init__(self, base: Path, template: Path) -> None:
        self.root = toy.make(base / "project", seconds=0.3)
        self.twin = toy.make(base / "twin", seconds=0)
        self.home = prefect_home(self.root, template)
        self.log = base / "log"
        toy.with_flows(self.root)
        self.output = (base / "output").open("ab")

    def start(self, mark: str, *command: str) -> subprocess.Popen[bytes]:
        env = environment(TOY_LOG=str(self.log), PREFECT_HOME=str(self.home), **{MARK: mark})
        return subprocess.Popen(
            command, cwd=self.root, env=env, stdout=self.output, stderr=self.output
        )

    def change(self, text: str) -> dict[str, bytes]:
        """Give both projects new data; the outputs that the twin comes to."""
        for root in (self.root, self.twin):
            (root / "source.txt").write_text(text)
        subprocess.run([*DVC, "repro", "-q"], cwd=self.twin, env=environment(), check=True)
        self.log.unlink(missing_ok=True)
        return {
            name: content for name, content in outputs(self.twin).items() if ".lock" not in name
        }


def kill_one(arena: Arena, target: str, number: int, delay: float, mark: str) -> bool:
    """Start a run, kill ``target`` in the midst of it, and wait until nothing is left.

    Returns whether there was still something to kill.
    """
    if target in SERVED:
        from pipelines.processes.server import free_port

        port = free_port()
        starter = arena.start(mark, sys.executable, "-m", "pipelines.serve", "--port", str(port))
        until((arena.home / "server.json").exists, 120, "flows are served")
        secret = {AUTH: (arena.home / "server.key").read_text()}
        env = environment(PREFECT_API_URL=f"http://127.0.0.1:{port}/api", **secret)
        command = [sys.executable, "-m", "prefect", "deployment", "run", "reproduce/nightly"]
        subprocess.run(command, env=env, check=True, capture_output=True)
    else:
        starter = arena.start(mark, *FLOW, "--max-parallel", "2")
    until(lambda: started(arena.log), 90, "a stage starts")
    time.sleep(delay)
    deadline = time.monotonic() + 30
    while (process := victim(target, mark)) is None:
        if starter.poll() is not None or time.monotonic() > deadline:
            break  # the run was over before: nothing to kill, and the rest must hold all the same
        time.sleep(0.01)
    if process is not None:
        with suppress(psutil.NoSuchProcess):
            process.send_signal(number)
    # SIGTERM lets a worker finish the run it carries; then serving ends with it.
    starter.wait(300 if target == "worker" else 60)
    until(partial(gone, mark), 20, f"{target} {number}: {marked(mark)}")
    return process is not None


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_kills(tmp_path: Path, template: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arena = Arena(tmp_path, template)
    chance = random.Random(0)
    plan = list(itertools.islice(itertools.cycle(itertools.product(TARGETS, SIGNALS)), KILLS))
    hits: Counter[str] = Counter()
    for count, (target, number) in enumerate(plan):
        expected = arena.change(f"faces {count}\n")
        mark = uuid.uuid4().hex
        hits[target] += kill_one(arena, target, number, chance.uniform(0, 1.5), mark)

        finish = arena.start(mark, *FLOW, "--max-parallel", "2")
        assert finish.wait(180) == 0, f"kill {count}: {target} {number}"
        until(partial(gone, mark), 20, f"after the finish of kill {count}")
        # Nothing to do starts no server; runs are mended when one is started.
        mended = arena.start(mark, sys.executable, "-m", "pipelines.recover")
        assert mended.wait(120) == 0
        until(partial(gone, mark), 20, "after the recovery")
        assert unfinished(arena.home) == 0, f"kill {count}: {target} {number}"
        assert files(arena.root) == expected, f"kill {count}: {target} {number}"
        assert not list((arena.home / "groups").iterdir())
    # A kill that comes too late proves nothing: most have to hit.
    asked = Counter(target for target, _ in plan)
    assert all(2 * hits[target] > asked[target] for target in asked), hits
    with capsys.disabled():
        print(f"\n{len(plan)} kills, in time: {dict(hits)}")
