"""Where the project and Prefect's state are: settled before Prefect is imported.

Imports nothing heavy: the entry points call this first.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

from clarity.errors import ClarityError


def project_root(start: Path | None = None) -> Path:
    """The folder that holds ``.dvc`` at or above ``start`` (the working directory by default)."""
    here = (start or Path.cwd()).resolve()
    for folder in (here, *here.parents):
        if (folder / ".dvc").is_dir() and (folder / "dvc.yaml").is_file():
            return folder
    raise ClarityError(f"{here}: no dvc.yaml beside a .dvc folder here or above; run it there")


def prepare(root: Path | None = None) -> Path:
    """Go to the project's root and name Prefect's home there, unless the user named another.

    Returns the root. Must come before the first ``import prefect``.
    """
    root = project_root(root)
    os.chdir(root)
    os.environ.setdefault("PREFECT_HOME", str(root / ".prefect"))
    os.environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
    os.environ.setdefault("DO_NOT_TRACK", "1")
    # Half a minute: what a lost machine's run is noticed by (prefect.toml has it for this folder).
    os.environ.setdefault("PREFECT_FLOWS_HEARTBEAT_FREQUENCY", "30")
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    home().mkdir(parents=True, exist_ok=True)
    return root


def home() -> Path:
    """Prefect's home: database, server's log, records of what runs."""
    return Path(os.environ.get("PREFECT_HOME") or project_root() / ".prefect")


def migrate_database() -> None:
    """Make Prefect's database if there is none: once, under a lock (some 10 s).

    On a fresh home the first server would otherwise be given up before it had migrated.
    """
    if os.environ.get("PREFECT_API_DATABASE_CONNECTION_URL"):
        return
    from filelock import FileLock

    marker = home() / ".migrated"
    with FileLock(home() / ".migrated.lock"):
        if marker.exists() and (home() / "prefect.db").exists():
            return
        print("preparing Prefect's database (once)", file=sys.stderr)
        finished = subprocess.run(
            [sys.executable, "-m", "prefect", "server", "database", "upgrade", "-y"],
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
        )
        if finished.returncode:
            last = (finished.stderr.strip() or finished.stdout.strip() or "no output").splitlines()
            raise ClarityError(
                f"{home() / 'prefect.db'}: Prefect could not prepare its database: {last[-1]}"
            )
        marker.touch()


def cores() -> int:
    """Processor cores this process may use, a container's share where it runs in one."""
    from joblib import cpu_count  # type: ignore[import-untyped]

    return int(cpu_count())


def gpu_memory() -> int | None:
    """Free bytes of the fullest GPU, as its driver says; None where there is none."""
    if (program := shutil.which("nvidia-smi")) is None:
        return None
    question = ["--query-gpu=memory.free", "--format=csv,noheader,nounits"]
    with suppress(OSError, subprocess.SubprocessError):
        said = subprocess.run([program, *question], capture_output=True, text=True, timeout=30)
        if free := [int(word) for word in said.stdout.split() if word.isdigit()]:
            return min(free) << 20
    return None


def memory() -> int:
    """Bytes of memory that can be had, in a container at most its limit."""
    import psutil

    free = int(psutil.virtual_memory().available)
    with suppress(OSError, ValueError):  # another kind of group; "max": no limit
        free = min(free, int(Path("/sys/fs/cgroup/memory.max").read_text()))
    return free
