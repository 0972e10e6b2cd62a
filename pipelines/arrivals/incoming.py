"""Files that arrive: taken, handled and put aside so that a kill at any point loses nothing.

A file is in one of three places, and each step between them is one rename on one file system:
``INCOMING`` (whoever delivers writes here), ``INCOMING/.taken/BATCH`` (being handled; found again
after a crash), ``HANDLED/BATCH``.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from clarity.errors import ClarityError
from clarity.files import only_one, sync_directory
from clarity.layout import (
    CHECKPOINTS,
    ENSEMBLES,
    EVALUATIONS,
    HISTORY,
    MLRUNS,
    MODELS,
    NETWORKS,
    PROCESSED,
    RAW,
    REPORTS,
)
from clarity.params import Data
from clarity.score.listing import Entry, listing

_TAKEN = ".taken"
#: Folders of the project whose files are nothing that arrives.
_OWN = (
    *(RAW, PROCESSED, MODELS, EVALUATIONS, ENSEMBLES, REPORTS, CHECKPOINTS, MLRUNS, NETWORKS),
    *(HISTORY.parent, Path("src"), Path("pipelines"), Path("presets"), Path(".git"), Path(".dvc")),
)


def check_watched(incoming: Path, handled: Path, output: Path, data: Data) -> None:
    """Refuse to watch a folder that holds something else: whatever lies in it is moved away.

    Args:
        incoming: the folder to watch, from the project's root, the working directory.
        handled, output: where files go afterwards, and where the tables are.
        data: the section ``data``: where training images lie.

    Raises:
        ClarityError: it is, holds or lies in a folder of another purpose.
    """
    real = Path(os.path.realpath(incoming))
    why = "and whatever lies in the watched folder is moved away; name another, data/incoming"
    if Path.cwd().is_relative_to(real):
        raise ClarityError(f"{incoming}: holds the project, {why}")
    others = dict.fromkeys(_OWN, "a folder of the project")
    others |= {handled: "where scored files go", output: "where the tables are"}
    if data.source != "faces":  # which come with a library: `path` is not read
        others[Path(data.path)] = "data.path, the training images"
    for folder, what in others.items():
        other = Path(os.path.realpath(folder))
        if real.is_relative_to(other) or other.is_relative_to(real):
            how = "is" if real == other else "holds" if other.is_relative_to(real) else "lies in"
            named = "" if real == other else f"{folder}, "
            raise ClarityError(f"{incoming}: {how} {named}{what}, {why}")


@contextmanager
def watched(incoming: Path) -> Iterator[bool]:
    """Yield whether this process alone handles what arrives in ``incoming``; made where missing.

    Raises:
        ClarityError: it cannot be a folder that files are moved out of.
    """
    taken = incoming / _TAKEN
    try:
        taken.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ClarityError(f"{incoming}: {error.strerror}; name a folder to watch") from None
    with only_one(taken) as alone:
        yield alone


def take(incoming: Path, settle: float, say: Callable[[str], None] = print) -> list[Path]:
    """Take what has arrived into a new batch; the folders of all batches not yet handled.

    Args:
        incoming: The watched folder; made where it is missing. Hidden files are left alone.
        settle: Seconds a file must have lain unchanged, so that none is taken half copied.
        say: Is given a line for each file that cannot be moved and stays where it is.
    """
    taken = incoming / _TAKEN
    taken.mkdir(parents=True, exist_ok=True)
    for half in sorted(taken.glob("*.filling")):
        _seal(half, incoming)
    ready = [one for one in listing(incoming) if _settled(one.path, settle)]
    if ready:
        _fill(taken / f"{_name(ready)}.filling", ready, incoming, say)
    _sweep(incoming, {one.path.parent for one in ready}, settle)
    batches = sorted(path for path in taken.iterdir() if path.is_dir())
    for batch in batches:
        if not listing(batch):  # nothing could be moved, or a kill came first
            shutil.rmtree(batch, ignore_errors=True)
    return [batch for batch in batches if batch.exists()]


def _settled(path: Path, settle: float) -> bool:
    """Whether a file has not been written to for that long.

    A time of change in the future (a camera's clock) says nothing: then the time of the last change
    by this machine's clock counts.
    """
    now = time.time()
    try:
        state = path.stat() if path.exists() else path.lstat()
    except OSError:
        return False
    changed = state.st_mtime if state.st_mtime <= now else state.st_ctime
    return now - changed >= settle


def _name(ready: list[Entry]) -> str:
    """A batch's name: when it was taken, and a digest of what is in it."""
    digest = hashlib.sha256()
    for one in ready:
        with suppress(OSError):
            state = one.path.lstat()
            mark = f"{one.name}\0{state.st_size}\0{state.st_ino}\0{state.st_ctime_ns}\n"
            digest.update(os.fsencode(mark))
    return f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{digest.hexdigest()[:8]}"


def _fill(batch: Path, ready: list[Entry], incoming: Path, say: Callable[[str], None]) -> None:
    for one in ready:
        target = batch / one.name
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            one.path.rename(target)
        except FileNotFoundError:
            continue  # gone since it was seen
        except OSError as error:
            say(f"{one.path}: cannot be moved ({error.strerror}); mend or remove it")
    if batch.exists():
        _seal(batch, incoming)


def _seal(half: Path, incoming: Path) -> None:
    """A batch gets its name when every file is in it and every link leads where it led."""
    for one in listing(half):
        if one.path.is_symlink() and not os.path.isabs(os.readlink(one.path)):
            aim = (incoming / one.name).parent / os.readlink(one.path)
            moved = one.path.with_name(".link")
            moved.unlink(missing_ok=True)
            moved.symlink_to(os.path.realpath(aim))
            moved.replace(one.path)
    half.rename(half.with_suffix(""))
    sync_directory(half.parent)


def _sweep(incoming: Path, emptied: set[Path], settle: float) -> None:
    """Remove folders that are empty now; one just made, for what is about to come, stays."""
    found: list[Path] = []
    for folder, folders, _ in os.walk(incoming):
        folders[:] = [name for name in folders if not name.startswith(".")]
        found += [Path(folder, name) for name in folders]
    for path in reversed(found):
        if path in emptied or _settled(path, settle):
            with suppress(OSError):  # where it is not empty nothing happens
                path.rmdir()
                emptied.add(path.parent)


def put_aside(batch: Path, handled: Path) -> Path:
    """Move a handled batch to ``handled``, in one rename.

    Raises:
        ClarityError: ``handled`` lies on another file system, or cannot be written to.
    """
    target = handled / batch.name
    try:
        handled.mkdir(parents=True, exist_ok=True)
        batch.rename(target)
    except OSError as error:
        raise ClarityError(
            f"{target}: {error.strerror}; it must lie on the file system of the incoming folder"
        ) from None
    sync_directory(handled)
    return target
