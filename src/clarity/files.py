"""Writing that never leaves half a file in a good one's place, and digests of what was written."""

from __future__ import annotations

import fcntl
import glob
import hashlib
import json
import math
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

from clarity.machine import disk_error


def sync_directory(path: Path) -> None:
    """Flush a directory's entries to disk, so that a rename in it survives a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside ``path``; on success fsync it and rename it into place.

    On an exception the temporary file is removed and ``path`` stays as it was. What a killed
    process left beside it is removed by the next one that writes there.

    Raises:
        OSError: the disk refuses; with ``path`` as its file name, whatever library wrote.
    """
    try:
        with _beside(path) as temporary:
            yield temporary
    except Exception as error:
        number = disk_error(error)
        about = os.path.basename(getattr(error, "filename", None) or f".{path.name}.")
        if number is None or not about.startswith(f".{path.name}."):
            raise  # nothing of the disk's, or about another file
        raise OSError(number, os.strerror(number), str(path)) from error


@contextmanager
def _beside(path: Path) -> Iterator[Path]:
    path.parent.mkdir(parents=True, exist_ok=True)
    _sweep(path)
    descriptor, name = tempfile.mkstemp(
        prefix=f".{path.name}.{os.getpid()}.", suffix=f".tmp{path.suffix}", dir=path.parent
    )
    os.close(descriptor)
    temporary = Path(name)
    try:
        yield temporary
        # mkstemp makes the file private; outputs carry the usual permissions instead.
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)
        with temporary.open("rb+") as handle:
            os.fsync(handle.fileno())
        temporary.replace(path)
        sync_directory(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def _sweep(path: Path) -> None:
    """Remove temporary files for ``path`` whose process is no more."""
    prefix = f".{path.name}."
    for leftover in path.parent.glob(f"{glob.escape(prefix)}*.tmp{glob.escape(path.suffix)}"):
        owner = leftover.name.removeprefix(prefix).split(".")[0]
        if owner.isdigit() and running(int(owner)) is None:
            leftover.unlink(missing_ok=True)


def running(pid: int) -> psutil.Process | None:
    """The process of this number, if it is at work.

    One that has ended, and whose parent has not asked after it yet, is not.
    """
    try:
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else process
    except psutil.NoSuchProcess:
        return None


@contextmanager
def only_one(folder: Path) -> Iterator[bool]:
    """Yield whether this process alone works in ``folder``, until it leaves the block or dies.

    The lock is on the folder itself (``flock``): it leaves no file and ends with its process.
    """
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            alone = True
        except BlockingIOError:
            alone = False
        except OSError:  # a network file system without locks
            alone = True
        yield alone
    finally:
        os.close(descriptor)


def write_bytes(path: Path, content: bytes) -> None:
    """Write ``content`` to ``path`` atomically."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)


def write_text(path: Path, content: str) -> None:
    """Write ``content`` to ``path`` atomically, as UTF-8."""
    write_bytes(path, content.encode())


def write_json(path: Path, content: Any) -> None:
    """Write ``content`` to ``path`` atomically as JSON: sorted keys, no NaN, final newline."""
    write_text(path, json.dumps(content, indent=2, sort_keys=True, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:
    """Read JSON from ``path``."""
    return json.loads(path.read_text())


def finite(value: Any) -> Any:
    """The same structure with None in place of NaN and infinities, which JSON has no words for."""
    if isinstance(value, Mapping):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def note_json(path: Path, values: Mapping[str, Any]) -> None:
    """Add to a side file that nothing depends on; where that cannot be, say so and go on."""
    try:
        before = read_json(path)
    except (OSError, ValueError):
        before = {}
    try:
        write_json(path, {**(before if isinstance(before, dict) else {}), **values})
    except OSError as error:
        print(f"clarity: {path}: not written ({error.strerror}); nothing needs it", file=sys.stderr)


def fresh_directory(path: Path) -> Path:
    """Empty ``path`` (or make it) and return it; for undeclared scratch, never for outputs."""
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir(parents=True)
    return path


def sha256_bytes(content: bytes) -> str:
    """SHA-256 of ``content`` as 64 hexadecimal digits."""
    return hashlib.sha256(content).hexdigest()


def sha256_file(path: Path) -> str:
    """SHA-256 of a file's bytes as 64 hexadecimal digits, in constant memory."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def md5_file(path: Path) -> str:
    """MD5 of a file's bytes: DVC's name for content, not a safeguard."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def sha256_tree(path: Path) -> str:
    """SHA-256 over a file, or over a directory's relative paths and contents in sorted order.

    Byte-code caches are left out: they come and go without a change of the source.
    """
    if path.is_file():
        return sha256_file(path)
    digest = hashlib.sha256()
    for file in sorted(p for p in path.rglob("*") if p.is_file() and "__pycache__" not in p.parts):
        digest.update(f"{file.relative_to(path).as_posix()}\0{sha256_file(file)}\n".encode())
    return digest.hexdigest()
