"""Processes of one machine: which still run, one at a time at one thing, and none without its
starter."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
from filelock import FileLock, Timeout

from clarity.files import running
from clarity.layout import CHECKPOINTS, Training

#: Set by DVC for every command of a stage, and for no other process.
STAGE = "DVC_STAGE"
#: Set for a process whose output is followed line by line: a training says every epoch.
FOLLOWED = "CLARITY_FOLLOWED"
#: What `torchrun` sets for each process of a training, and a training for those it starts itself:
#: which it is, how many there are, and which of its machine's it is.
RANK, SIZE, LOCAL = "RANK", "WORLD_SIZE", "LOCAL_RANK"
#: Locks that this process holds until its end.
_HELD: list[FileLock] = []
#: Seconds between two looks at a starter, and from SIGTERM until a process that goes on is ended.
EVERY, GRACE = 0.5, 30.0


def identity(process: psutil.Process | None = None) -> dict[str, int | float | str]:
    """What tells a process (by default this one) from a later one with the same number."""
    process = process or psutil.Process()
    return {
        "pid": process.pid,
        "started": process.create_time(),
        "since_boot": since_boot(process.pid),
        "host": os.uname().nodename,
    }


def since_boot(pid: int) -> str:
    """Which boot a process started in and after how many ticks of it; empty where nobody says.

    Unlike psutil's ``create_time``, which moves with the wall clock: the kernel reckons the time of
    its boot from what the clock says now, and after a step every process would be another one.
    """
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        # The name, in parentheses, may hold anything; field 22 of all, the twentieth behind it.
        ticks = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[19]
    except (OSError, IndexError):
        return ""
    return f"{boot}/{int(ticks)}"


def alive(owner: Mapping[str, int | float | str]) -> bool:
    """Whether the process that ``identity`` described still runs, as far as this host can tell."""
    if owner.get("host") != os.uname().nodename:
        return True
    process = running(int(owner["pid"]))
    if process is None:
        return False
    said, now = owner.get("since_boot"), since_boot(process.pid)
    if said and now:
        return said == now
    try:
        return abs(process.create_time() - float(owner["started"])) < 2
    except psutil.NoSuchProcess:
        return False


def when_gone(owner: Mapping[str, int | float | str], then: Callable[[], None]) -> None:
    """Call ``then`` from a thread of its own once a process is no more."""

    def watch() -> None:
        while alive(owner):
            time.sleep(EVERY)
        then()

    threading.Thread(target=watch, name="watch-starter", daemon=True).start()


def follows() -> bool:
    """Whether this process was started to help another one, which leads, with its training."""
    return os.environ.get(RANK, "0") != "0" and SIZE in os.environ


def end_with_starter() -> None:
    """Where DVC started this process as a stage: end when that DVC is gone, killed by SIGKILL too.

    A stage that went on would write beside the one that the next ``dvc repro`` starts. SIGTERM is
    what it ends by, so that a training saves its checkpoint first. Until then the next one waits:
    the machine may be busy, and what is left half-written in an output folder becomes part of it.
    """
    stage = os.environ.get(STAGE)
    if not stage:
        return
    starter = _starter()
    if starter is None:
        _end()
    else:
        when_gone(identity(starter), _end)
    with suppress(OSError):  # where nothing may be written, the stage itself says so
        name = "".join(letter if letter.isalnum() or letter in "@-_." else "-" for letter in stage)
        _HELD.append(_acquired(f"stage-{name}", f"{stage} is still run"))


def _starter() -> psutil.Process | None:
    """The DVC that runs this stage; None where it is gone already.

    It is the nearest ancestor without the variable that it sets; between it and us may stand the
    shell that it starts a command with, which outlives it.
    """
    for process in psutil.Process().parents():
        try:
            if process.environ().get(STAGE) == os.environ[STAGE]:
                continue
        except psutil.Error:  # another user's
            pass
        try:  # an orphan is handed to a process of another group
            return process if os.getpgid(process.pid) == os.getpgrp() else None
        except ProcessLookupError:
            return None
    return None


def _end() -> None:
    print("clarity: the DVC that started this stage is gone: ending", file=sys.stderr, flush=True)
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(GRACE)
    os._exit(128 + signal.SIGTERM)


@contextmanager
def one_at_a_time(training: Training) -> Iterator[None]:
    """Train alone in this workspace; where another process is at it, say so and wait for it.

    Two would share the checkpoint's folder and the outputs: the first to end would take the
    other's pictures away.
    """
    lock = _acquired(training.name, f"{training.name} is being trained")
    try:
        yield
    finally:
        lock.release()


def _acquired(name: str, said: str) -> FileLock:
    """The lock of this name in this workspace; who has to wait for it says for whom."""
    path = CHECKPOINTS / f"{name}.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    note = json.dumps({**identity(), "since": time.strftime("%Y-%m-%d %H:%M:%S")}).encode()

    def sign(descriptor: int) -> None:
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, note, 0)

    lock = FileLock(path, on_acquired=sign)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        waiting = f"clarity: {said} {_holder(path)}: waiting until that ends"
        print(waiting, file=sys.stderr, flush=True)
        lock.acquire()
    return lock


def busy(lock: Path) -> bool:
    """Whether a process holds the lock of `one_at_a_time` at this path."""
    try:
        with FileLock(lock, timeout=0):
            return False
    except Timeout:
        return True


def _holder(path: Path) -> str:
    try:
        found = json.loads(path.read_text())
        return f"by process {int(found['pid'])} since {found['since']}"
    except (OSError, ValueError, KeyError, TypeError):
        return "by another process"
