"""Runs one command and leaves nothing of it behind, however it or its starter ends.

    python -I -S supervise.py [--timeout SECONDS] [--grace SECONDS] [--record FILE] -- COMMAND...

Standard input must be a pipe held open by whoever started this: when that process dies, by SIGKILL
too, the pipe closes and the command's processes are killed at once. They are killed as well on
SIGTERM, after ``--timeout``, and where the command has ended but left children running.

Exit code: the command's own (128 + n where signal n ended it), 124 after a time-out. Standard
library only: starting this costs some 20 ms.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import os
import select
import signal
import subprocess
import sys
import time

TIMED_OUT = 124
_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36


def _prctl(option: int, value: int) -> None:
    """Linux's ``prctl``; where it does not exist the process group alone has to do."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0)


def _die_with_parent() -> None:
    """In the child: should this supervisor itself be killed, the command goes with it."""
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def descendants(root: int) -> list[int]:
    """Live processes below ``root``, read from /proc; empty where there is no /proc."""
    children: dict[int, list[int]] = {}
    with contextlib.suppress(FileNotFoundError):
        for entry in os.listdir("/proc"):
            if not entry.isdigit():
                continue
            with contextlib.suppress(OSError), open(f"/proc/{entry}/stat") as handle:
                # The name in parentheses may hold spaces; what follows it does not.
                state, parent = handle.read().rpartition(")")[2].split()[:2]
                if state != "Z":
                    children.setdefault(int(parent), []).append(int(entry))
    found: list[int] = []
    pending = [root]
    while pending:
        below = children.get(pending.pop(), [])
        found += below
        pending += below
    return found


def _signal_all(group: int, number: int) -> bool:
    """Send a signal to the group and to every descendant; whether anyone was there."""
    others = descendants(os.getpid())
    alive = bool(others)
    try:
        os.killpg(group, number)
        alive = True
    except ProcessLookupError:
        pass
    for pid in others:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
    return alive


def _reap() -> None:
    """Collect children that were handed to this process when their parents died."""
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def end(child: subprocess.Popen[bytes], grace: float) -> None:
    """SIGTERM, then after ``grace`` seconds SIGKILL, until no process is left."""
    deadline = time.monotonic() + grace
    if _signal_all(child.pid, signal.SIGTERM):
        while time.monotonic() < deadline:
            child.poll()
            if child.returncode is not None:
                _reap()
                if not descendants(os.getpid()):
                    return
            time.sleep(0.02)
    while _signal_all(child.pid, signal.SIGKILL):
        child.poll()
        if child.returncode is not None:
            _reap()
        time.sleep(0.02)


def supervise(command: list[str], timeout: float | None, grace: float) -> int:
    """Run ``command`` until it ends, the pipe closes, SIGTERM comes or the time is up."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)
    wake_read, wake_write = os.pipe()
    for descriptor in (wake_read, wake_write):
        os.set_blocking(descriptor, False)
    signal.set_wakeup_fd(wake_write)
    stop = []
    signal.signal(signal.SIGCHLD, lambda *_: None)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda received, _: stop.append(received))
    child = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, start_new_session=True, preexec_fn=_die_with_parent
    )
    deadline = None if timeout is None else time.monotonic() + timeout
    while child.poll() is None and not stop:
        remaining = None if deadline is None else deadline - time.monotonic()
        if remaining is not None and remaining <= 0:
            end(child, grace)
            return TIMED_OUT
        ready, _, _ = select.select([0, wake_read], [], [], remaining)
        if wake_read in ready:
            os.read(wake_read, 4096)
        if 0 in ready and not os.read(0, 4096):
            break
    ended = child.returncode
    end(child, grace)
    code = child.returncode if ended is None else ended
    return 128 - code if code < 0 else code


def main() -> int:
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--timeout", type=float, help="seconds after which the command is killed")
    parser.add_argument(
        "--grace", type=float, default=5.0, help="seconds between SIGTERM and SIGKILL"
    )
    parser.add_argument("--record", help="file to remove when nothing of the command is left")
    parser.add_argument("command", nargs="+")
    arguments = parser.parse_args()
    code = supervise(arguments.command, arguments.timeout, arguments.grace)
    if arguments.record:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(arguments.record)
    return code


if __name__ == "__main__":
    sys.exit(main())
