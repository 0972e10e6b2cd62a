"""Git and DVC as a user types them, for what only they know."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from clarity.errors import ClarityError


def git(root: Path, *arguments: str, check: bool = True) -> str:
    """What git prints; with ``check`` its refusal is a :class:`ClarityError` in one line."""
    try:
        done = subprocess.run(
            ["git", *arguments], cwd=root, capture_output=True, text=True, check=False
        )
    except FileNotFoundError:
        raise ClarityError("git: no such program; install it") from None
    if check and done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise ClarityError(f"git {arguments[0]}: {last}")
    return done.stdout


def succeeds(root: Path, *arguments: str) -> bool:
    """Whether a git command ends well."""
    done = subprocess.run(["git", *arguments], cwd=root, capture_output=True, check=False)
    return done.returncode == 0


def dvc(root: Path, code: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run DVC in ``root``; stages there use the package in ``code``, not the one installed."""
    beside = str(Path(sys.executable).parent)
    paths = [str(code / "src"), str(code)]
    environment = {
        **os.environ,
        "PATH": os.pathsep.join([beside, os.environ.get("PATH", "")]),
        "PYTHONPATH": os.pathsep.join(paths),
    }
    environment.pop("DVC_ROOT", None)
    program = shutil.which("dvc", path=environment["PATH"])
    if program is None:
        raise ClarityError("dvc: no such program; `make setup` installs it")
    return subprocess.run(
        [program, *arguments],
        cwd=root,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
