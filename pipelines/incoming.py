"""Files that arrive: taken, handled and put aside so that a kill at any point loses nothing.

A file is in one of three places, and each step between them is one rename on one file system:
``INCOMING`` (whoever delivers writes here), ``INCOMING/.taken/BATCH`` (being handled; found again
after a crash), ``HANDLED/BATCH``.
"""

from __future__ import annotations

import hashlib
import time
from datetime import UTC, datetime
from pathlib import Path

from clarity.errors import ClarityError
from clarity.files import sync_directory

_TAKEN = ".taken"


def take(incoming: Path, settle: float) -> list[Path]:
    """Take what has arrived into a new batch; the folders of all batches not yet handled.

    Args:
        incoming: The watched folder; made where it is missing. Hidden files are left alone.
        settle: Seconds a file must have lain unchanged, so that none is taken half copied.
    """
    taken = incoming / _TAKEN
    taken.mkdir(parents=True, exist_ok=True)
    for half in sorted(taken.glob("*.filling")):
        _seal(half)
    now = time.time()
    ready = [
        path
        for path in sorted(incoming.rglob("*"))
        if path.is_file()
        and not any(part.startswith(".") for part in path.relative_to(incoming).parts)
        and now - path.stat().st_mtime >= settle
    ]
    if ready:
        names = "\n".join(f"{path}\0{path.stat().st_size}" for path in ready)
        digest = hashlib.sha256(names.encode()).hexdigest()[:8]
        batch = taken / f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{digest}.filling"
        for path in ready:
            target = batch / path.relative_to(incoming)
            target.parent.mkdir(parents=True, exist_ok=True)
            path.rename(target)
        _seal(batch)
    for folder in sorted(incoming.rglob("*"), reverse=True):
        if folder.is_dir() and _TAKEN not in folder.parts and not any(folder.iterdir()):
            folder.rmdir()
    return sorted(path for path in taken.iterdir() if path.is_dir())


def _seal(half: Path) -> None:
    """A batch gets its name when every file is in it."""
    half.rename(half.with_suffix(""))
    sync_directory(half.parent)


def put_aside(batch: Path, handled: Path) -> Path:
    """Move a handled batch to ``handled``, in one rename."""
    handled.mkdir(parents=True, exist_ok=True)
    target = handled / batch.name
    try:
        batch.rename(target)
    except OSError as error:
        raise ClarityError(
            f"{target}: {error.strerror}; it must lie on the file system of the incoming folder"
        ) from None
    sync_directory(handled)
    return target
