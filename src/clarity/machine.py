"""What the machine refuses (disk, permission, memory), however a library words it."""

from __future__ import annotations

import errno
import os
import re
import resource
from collections.abc import Iterator
from contextlib import contextmanager

from clarity.errors import ClarityError

#: The disk's own refusals: no cause for a traceback.
DISK = {
    *(errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.EFBIG),
    errno.ENOMEM,
}
#: Rust's libraries (safetensors) give the number in words.
_NUMBER = re.compile(r"\(?os error (\d+)\)?|\[[Ee]rrno (\d+)\]")
#: SQLite's words, which SQLAlchemy and MLflow pass on.
_SQLITE = re.compile(
    r"database or disk is full|disk I/O error|attempt to write a readonly database"
)
#: An MLflow server with accounts, in its client's words.
_DENIED = re.compile(r"API request to endpoint \S+ failed with error code (40[13]) ")
#: An MLflow server that hands artifacts on to a store which does not answer it.
_ARTIFACTS = re.compile(r"mlflow-artifacts/.*too many (5\d\d) error responses", re.DOTALL)
#: An MLflow server that is gone between two calls, or a proxy that has lost it.
_GONE = re.compile(
    r"API request to (?:\S+ failed with (?:timeout )?exception"
    r"|endpoint \S+ failed with error code (50[234]) )"
)
_MEMORY = re.compile(
    r"can't allocate memory|[Cc]annot allocate memory|out of memory|std::bad_alloc|failed to map"
    r" segment|cannot allocate"
)

#: What a process that computes needs to start with, by kind of limit: how `ulimit` calls it, bytes.
#: Below, native code that gets no memory for a thread ends by a signal, and nobody says why.
LEAST = {resource.RLIMIT_DATA: ("-d", 2**30), resource.RLIMIT_AS: ("-v", 4 * 2**30)}


def check_limits() -> None:
    """Refuse to compute with less memory than the libraries need to be loaded.

    Raises:
        ClarityError: a limit of this process is lower.
    """
    for kind, (letter, least) in LEAST.items():
        most = resource.getrlimit(kind)[0]
        if resource.RLIM_INFINITY != most < least:
            raise ClarityError(
                f"not enough memory: `ulimit {letter}` allows {most / 2**30:.1f} GB where "
                f"{least / 2**30:.0f} GB are the least; raise it"
            )


def disk_error(error: BaseException) -> int | None:
    """The number (``errno``) of the disk's refusal that an exception stands for; None: none."""
    number = error.errno if isinstance(error, OSError) else None
    if number is None and (found := _NUMBER.search(str(error))):
        number = int(found[1] or found[2])
    return number if number in DISK else None


def denied(error: BaseException) -> bool:
    """Whether a server with accounts said that this one may not."""
    return any(_DENIED.search(str(one)) for one in _chain(error))


def artifacts_away(error: BaseException) -> bool:
    """Whether MLflow's server answers, but not the store that it keeps artifacts in."""
    return any(_ARTIFACTS.search(str(one)) for one in _chain(error))


def refusal(error: BaseException, database: str = "") -> str | None:
    """An exception in one line, if it says that the machine refuses; None for any other.

    Args:
        error: as it arrived; what it was raised from is looked at too.
        database: how to name MLflow's database, whose errors name no file.
    """
    for one in _chain(error):
        if (number := disk_error(one)) is not None:
            where = getattr(one, "filename", None) or os.getcwd()
            return f"{where}: {os.strerror(number)}"
        if found := _DENIED.search(str(one)):
            return (
                f"{database or 'MLflow'}: refused ({found[1]}); this account may not do that: see "
                "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or ask whoever runs it"
            )
        if found := _ARTIFACTS.search(str(one)):
            return (
                f"{database or 'MLflow'}: MLflow's server answers, but the store of its artifacts "
                f"does not ({found[1]}; its log says why); mend that and run the command again"
            )
        if found := _GONE.search(str(one)):
            code = f" ({found[1]})" if found[1] else ""
            return (
                f"{database or 'MLflow'}: the server no longer answers{code}; start it and run the "
                "command again"
            )
        if found := _SQLITE.search(str(one)):
            return f"{database or 'MLflow'}: {found[0]}"
        if isinstance(one, MemoryError) or _MEMORY.search(str(one)):
            return (
                "not enough memory; free some, raise the limit, or lower the batch sizes in "
                "params.yaml"
            )
    return None


@contextmanager
def in_one_line(database: str = "") -> Iterator[None]:
    """Make what the machine refuses a :class:`ClarityError`: no traceback with an address in it.

    Args:
        database: as for :func:`refusal`.
    """
    try:
        yield
    except ClarityError:
        raise
    except Exception as error:
        if (said := refusal(error, database)) is None:
            raise
        raise ClarityError(said) from None


def _chain(error: BaseException) -> Iterator[BaseException]:
    one: BaseException | None = error
    while one is not None:
        yield one
        one = one.__cause__ or one.__context__
