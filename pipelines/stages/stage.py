"""One stage as ``dvc repro -s STAGE``, in a process group of its own that can really be killed."""

from __future__ import annotations

import re
import sys
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path

from pipelines.processes import groups
from pipelines.processes.supervise import TIMED_OUT
from pipelines.stages.graph import BUSY, mend_rwlock

#: Seconds before a stage that met somebody else's lock is tried again: in all three quarters of an
#: hour, for a `dvc repro` beside this one (Prefect allows 50 delays).
DELAYS = [2.0, 4.0, 8.0, 16.0, *[60.0] * 46]
#: What a training says of each of its epochs, where somebody follows it: number, of how many, more.
EPOCH = re.compile(r"(?:train: [^:]+: )?epoch (\d+)(?:/| of )(\d+)(?:, (.*))?")
_TORN = re.compile(r"RWLock-file .*JSON structure is corrupted", re.I)
_RAN_AND_FAILED = re.compile(r"failed to run: .*exited with (-?\d+)")
#: DVC's advice after every stage, which says nothing about the run.
_ADVICE = re.compile(
    r"^(To track the changes with git|\s+git add |To enable auto staging|\s+dvc config core\."
    r"autostage|Use `dvc push` to send)"
)
_DVC_NOISE = re.compile(r"^(ERROR: |WARNING: |Running stage |Stage '|> |Updating lock file|Verif)")


class StageFailed(Exception):
    """A stage did not finish; the message is one line with the cause. Trying again won't help."""


class StageBusy(StageFailed):
    """DVC's lock or a file was held by somebody else: what may pass."""


def run_stage(
    name: str,
    log: Callable[[str], None],
    *,
    timeout: float | None = None,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    options: tuple[str, ...] = (),
) -> bool:
    """Reproduce one stage and nothing above it.

    Args:
        name: The stage as DVC names it, ``train@conv-small-0``.
        log: Called with each line of output as it comes.
        timeout: Seconds after which the stage and all it started are killed.
        env: Added to the stage's environment.
        cwd: The project's root, where it is not the working directory.
        options: Further options of ``dvc repro``.

    Returns:
        Whether the stage ran, or came from the cache; False where nothing had changed.

    Raises:
        StageBusy: A lock was held; trying again may help.
        StageFailed: It failed, timed out or was stopped.
    """
    group = groups.start(
        [sys.executable, "-m", "dvc", "--wait-for-lock", "repro", "-s", *options, name],
        name,
        timeout=timeout,
        env=env,
        cwd=cwd,
    )
    tail: deque[str] = deque(maxlen=200)
    try:
        for line in group.lines():
            if line.strip() and not _ADVICE.match(line):
                tail.append(line)
                log(line)
    except BaseException:
        group.stop()
        raise
    finally:
        code = group.wait()
    if code == 0:
        return any("Updating lock file" in line or line.startswith("Running") for line in tail)
    if code == TIMED_OUT:
        raise StageFailed(f"{name} was killed: it took longer than {timeout:g} s")
    text = "\n".join(tail)
    if _TORN.search(text):
        # Another stage's DVC was killed as it wrote.
        mend_rwlock((cwd or Path()) / ".dvc" / "tmp")
        raise StageBusy(f"{name}: {_last(tail, code)}")
    if not _RAN_AND_FAILED.search(text) and BUSY.search(text):
        raise StageBusy(f"{name}: {_last(tail, code)}")
    raise StageFailed(f"{name} failed: {_last(tail, code)}")


def _last(tail: deque[str], code: int) -> str:
    """The cause in one line: what the command said last, else what DVC says."""
    ran = _RAN_AND_FAILED.search("\n".join(tail))
    said = [line.strip() for line in tail if line.strip() and not _DVC_NOISE.match(line)]
    if ran:
        own = next((line for line in reversed(said) if line.startswith("clarity: ")), None)
        cause = own.removeprefix("clarity: ") if own else (said[-1] if said else "no output")
        return f"{cause} (exit code {ran.group(1)})"
    errors = [line for line in tail if line.startswith("ERROR: ")]
    if errors:
        return errors[-1].removeprefix("ERROR: ").strip()
    return f"{said[-1] if said else 'no output'} (exit code {code})"
