"""What lies in a folder that others fill: every entry once, usable or not, and bytes read safely.

A name ends up in a folder in many ways: links, pipes, folders named ``x.png``, files that vanish
between two looks. None of them may stop or hide the others, so each is listed with what is wrong.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from pathlib import Path

from clarity.ingest.folder import LARGEST
from clarity.preprocess.images import ImageProblem

KINDS = (
    (stat.S_ISFIFO, "a named pipe, not a file"),
    (stat.S_ISSOCK, "a socket, not a file"),
    (stat.S_ISCHR, "a device, not a file"),
    (stat.S_ISBLK, "a device, not a file"),
    (stat.S_ISDIR, "a folder, not a file"),
)


@dataclass(frozen=True)
class Entry:
    """A file below a folder, or something in a file's place.

    Attributes:
        path: where it lies.
        name: below the folder, with ``/``; bytes that are no UTF-8 as surrogate escapes.
        problem: why it cannot be read as a file; empty for a file or a link to one.
    """

    path: Path
    name: str
    problem: str = ""


def listing(root: Path) -> list[Entry]:
    """Everything below ``root`` that is no folder, in the order of the paths, part by part.

    Names that begin with a dot are left out: whoever delivers writes under such a name first. Links
    to files count as files; links to folders are not followed, so that no circle has an end. A
    folder that cannot be read is an entry with its problem.
    """
    found: list[Entry] = []

    def unreadable(error: OSError) -> None:
        path = Path(error.filename)
        found.append(Entry(path, _below(path, root), f"a folder that is not {_reason(error)}"))

    for folder, folders, names in os.walk(root, onerror=unreadable):
        folders[:] = [name for name in folders if not name.startswith(".")]
        links = [name for name in folders if os.path.islink(os.path.join(folder, name))]
        for name in [*links, *(name for name in names if not name.startswith("."))]:
            path = Path(folder, name)
            problem = problem_of(path)
            if problem is not None:
                found.append(Entry(path, _below(path, root), problem))
    return sorted(found, key=lambda entry: entry.name.split("/"))


def problem_of(path: Path) -> str | None:
    """Why ``path`` cannot be read as a file: empty if it can, None if nothing is there."""
    try:
        link = stat.S_ISLNK(os.lstat(path).st_mode)
    except FileNotFoundError:
        return None
    except OSError as error:
        return f"not {_reason(error)}"
    except ValueError:  # half of a character, or a zero byte
        return "a name that no file can have"
    try:
        mode = os.stat(path).st_mode
    except OSError as error:
        return "a link that leads nowhere" if link else f"not {_reason(error)}"
    if link and stat.S_ISDIR(mode):
        return "a link to a folder; such links are not followed"
    return next((what for is_kind, what in KINDS if is_kind(mode)), "")


def read_bytes(path: Path) -> bytes:
    """The bytes of a picture's file, once its size and kind are known to be harmless.

    Raises:
        ImageProblem: it is gone, no file, unreadable, or larger than a picture may be.
    """
    try:
        # Without O_NONBLOCK a pipe that took the file's place would hold this for ever.
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb") as handle:
            state = os.fstat(handle.fileno())
            for is_kind, what in KINDS:
                if is_kind(state.st_mode):
                    raise ImageProblem(what)
            if state.st_size > LARGEST:
                size = f"{state.st_size / 2**20:,.0f} MB"
                raise ImageProblem(f"{size} is too much for one picture; make it smaller")
            return handle.read(LARGEST)
    except OSError as error:
        raise ImageProblem(f"not {_reason(error)}") from None


def _reason(error: OSError) -> str:
    return f"readable ({error.strerror or type(error).__name__})"


def _below(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix()
