"""The MLflow store: where it lies, made once under a lock, mended after the checkout moved.

By default SQLite in ``mlruns/mlflow.db`` with the artifacts beside it in ``mlruns/artifacts``; a
user's own ``MLFLOW_TRACKING_URI`` wins. Importing this module imports no MLflow.
"""

from __future__ import annotations

import os
import sqlite3
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from filelock import FileLock

from clarity.address import (
    VARIABLE,
    check_database,
    database,
    is_database,
    project_root,
    sqlite_file,
    tracking_uri,
)
from clarity.errors import ClarityError
from clarity.files import sync_directory
from clarity.layout import MLRUNS
from clarity.redact import redact

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion
    from mlflow.store.entities import PagedList

One = TypeVar("One")

#: The experiment that holds one run per training and one for the comparison.
EXPERIMENT = "clarity"
#: Model training, not agents: the UI then opens on runs and hides what is for prompts.
KIND_TAG, KIND = "mlflow.experimentKind", "custom_model_development"
#: Every column in which MLflow keeps an absolute location.
LOCATIONS = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "storage_location"),
)
#: An operation waits this long for another process that writes, in seconds.
BUSY = 60.0


def artifacts(root: Path) -> Path:
    """The folder of a project's artifacts."""
    return root / MLRUNS / "artifacts"


def open_store(root: Path | None = None) -> MlflowClient:
    """Return a client of the store; make the store first where there is none.

    Quick when it is there: two reads of the database before MLflow is imported. Sets the tracking
    address for this process too, so that MLflow's fluent functions see the same store.

    Raises:
        ClarityError: the database is damaged or of another MLflow; a server is away; the address
            can be none.
    """
    root = (root or project_root()).resolve()
    uri = tracking_uri(root)
    file = sqlite_file(uri)
    emptied = prepare(file, ours=file == database(root)) if file is not None else False
    if is_database(uri):
        check_database(uri)
    # A server that is away is said so after seconds, not minutes.
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "30")
    os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")
    import logging

    import mlflow

    # Its account of a database's refusal, traceback and all; the refusal itself comes as an error.
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)
    given = os.environ.get(VARIABLE)
    try:
        mlflow.set_tracking_uri(uri)
        client = mlflow.MlflowClient(uri)
        experiment_id(client)
    except Exception as error:  # of MLflow, SQLAlchemy, a driver, a plugin: whatever they raise
        raise _unanswered(uri, file, root, error) from None
    finally:
        if given is None:
            # MLflow leaves the address in the environment, where it would pass for the user's own
            # wish, also in a child process at another root.
            os.environ.pop(VARIABLE, None)
    if emptied:
        print(
            f"clarity: {file}: the experiment {EXPERIMENT!r} is not there (renamed or deleted?); "
            "made anew, and `clarity backfill` fills it from the outputs",
            file=sys.stderr,
        )
    return client


def _unanswered(uri: str, file: Path | None, root: Path, error: Exception) -> ClarityError:
    """What a store's refusal means and how to mend it, in one line."""
    # Before it is cut: half an address would hide its password from the redaction.
    reason = redact(" ".join(str(getattr(error, "message", None) or error).split()))[:200]
    if "schema" in reason:
        mend = f"run `mlflow db upgrade {uri}` (a backup first), or move the file away"
        reason = "made by another version of MLflow"
    elif file is None:
        mend = f"start the server, or unset {VARIABLE}"
    elif file == database(root):
        mend = "move it away and run `clarity backfill`"
    else:
        mend = f"move it away and run `clarity backfill`, or unset {VARIABLE}"
    return ClarityError(f"{uri}: MLflow's store does not answer ({reason}); {mend}")


def paged(search: Callable[[str | None], PagedList[One]]) -> Iterator[One]:
    """Everything that a search of MLflow's finds, page by page; it is given each page's token."""
    token: str | None = None
    while True:
        page = search(token)
        yield from page
        token = page.token
        if not token:
            return


def all_versions(client: MlflowClient, name: str) -> Iterator[ModelVersion]:
    """Every version of a registered model, in MLflow's order."""
    return paged(
        lambda token: client.search_model_versions(
            f"name='{name}'", max_results=1000, page_token=token
        )
    )


def experiment_id(client: MlflowClient, name: str = EXPERIMENT) -> str:
    """The id of an experiment; it is made, or brought back from the trash, where need be."""
    from mlflow.exceptions import MlflowException

    found = client.get_experiment_by_name(name)
    if found is None:
        file = sqlite_file(client.tracking_uri)
        # A server chooses its own place for artifacts.
        location = None if file is None else (file.parent / "artifacts" / name).as_uri()
        try:
            return client.create_experiment(name, location, tags={KIND_TAG: KIND})
        except MlflowException:
            found = client.get_experiment_by_name(name)  # another process was first
            if found is None:
                raise
    if found.lifecycle_stage == "deleted":
        client.restore_experiment(found.experiment_id)
    return str(found.experiment_id)


def prepare(path: Path, *, ours: bool = True) -> bool:
    """Make a SQLite store where there is none; mend the locations of our own after a move.

    One process at a time does so; the others wait at the lock and find everything done. A process
    killed meanwhile leaves nothing: the database is made beside its place and renamed into it.

    Args:
        path: absolute.
        ours: in the project's own place; a store that the user named elsewhere stays as it is.

    Returns:
        Whether a database was there that holds no experiment of ours.
    """
    if path.is_file() and (not ours or _location(path) == _expected(path)):
        return ours and not _has_experiment(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path.parent / f".{path.name}.lock"):
        if not path.is_file():
            _create(path)
        if not ours:
            return False
        old = _location(path)
        if old is not None and old != _expected(path):
            _relocate(path, old, _expected(path))
    return not _has_experiment(path)


def _expected(path: Path) -> str:
    # As a URI: MLflow decodes the percent signs of a plain path too, and would miss the folder.
    return (path.parent / "artifacts" / EXPERIMENT).as_uri()


def _location(path: Path) -> str | None:
    """Where the database believes our artifacts to be; None where nothing in it says so.

    The experiment may have been renamed or deleted: runs, models and versions know the place too.
    """
    with reading(path) as base:
        row = base.execute(
            "SELECT artifact_location FROM experiments WHERE name = ?", (EXPERIMENT,)
        ).fetchone()
        if row is not None:
            return str(row[0])
        ending = f"/artifacts/{EXPERIMENT}"
        for table, column in LOCATIONS:
            row = base.execute(
                f"SELECT {column} FROM {table} WHERE {column} LIKE ? LIMIT 1",  # noqa: S608 - LOCATIONS
                (f"file:%/{MLRUNS}{ending}%",),
            ).fetchone()
            if row is not None:
                return str(row[0]).partition(f"/{MLRUNS}{ending}")[0] + f"/{MLRUNS}{ending}"
    return None


def _has_experiment(path: Path) -> bool:
    with reading(path) as base:
        query = "SELECT 1 FROM experiments WHERE name = ?"
        return base.execute(query, (EXPERIMENT,)).fetchone() is not None


@contextmanager
def reading(path: Path) -> Iterator[sqlite3.Connection]:
    """The database, read-only; what cannot be read is one line.

    Most damage shows at the first query, not at the connection: the queries belong into the block.

    Raises:
        ClarityError: damaged, empty, or another program's.
    """
    roll_back(path)
    try:
        with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, timeout=BUSY)) as base:
            yield base
    except sqlite3.Error as error:
        raise ClarityError(
            f"{path}: not a readable MLflow database ({error}); move it away and run "
            "`clarity backfill`"
        ) from None


def roll_back(path: Path) -> None:
    """Undo what a process that was killed within a transaction left half done.

    SQLite does so by itself at the next opening, but not where that is read-only.
    """
    if path.with_name(f"{path.name}-journal").exists():
        with suppress(sqlite3.Error), closing(sqlite3.connect(path, timeout=BUSY)) as base:
            base.execute("SELECT 1 FROM sqlite_master").fetchone()


def _create(path: Path) -> None:
    """Make the database with its schema (3-4 s) and the experiment."""
    import logging

    import sqlalchemy
    from mlflow.entities import ExperimentTag
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    # Alembic tells every one of some seventy migrations at INFO.
    logging.getLogger("alembic").setLevel(logging.WARNING)
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.WARNING)
    for left in path.parent.glob(".making-*.db*"):
        left.unlink()  # of a process that was killed; we hold the lock
    descriptor, name = tempfile.mkstemp(prefix=".making-", suffix=".db", dir=path.parent)
    os.close(descriptor)
    temporary = Path(name)
    uri = f"sqlite:///{temporary}"
    # Some hundred small transactions need not reach the disk one by one: the file is flushed at
    # the end, and nobody sees it before.
    engine = SqlAlchemyStore._get_or_create_engine(uri)
    sqlalchemy.event.listen(
        engine, "connect", lambda base, _: base.execute("PRAGMA synchronous = OFF")
    )
    try:
        store: Any = SqlAlchemyStore(  # type: ignore[no-untyped-call]
            uri, (path.parent / "artifacts").as_uri()
        )
        tags = [ExperimentTag(KIND_TAG, KIND)]
        store.create_experiment(EXPERIMENT, artifact_location=_expected(path), tags=tags)
        # The empty "Default" would be what the UI opens first.
        store.delete_experiment(SqlAlchemyStore.DEFAULT_EXPERIMENT_ID)
        store._dispose_engine()
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)
        with temporary.open("rb+") as handle:
            os.fsync(handle.fileno())
        temporary.replace(path)
        sync_directory(path.parent)
        _forget(f"sqlite:///{path}")
    finally:
        temporary.unlink(missing_ok=True)


def _forget(uri: str) -> None:
    """Close this process's connections to a database that was deleted and is made anew."""
    from mlflow.store.model_registry import sqlalchemy_store as registry
    from mlflow.store.tracking import sqlalchemy_store as tracking

    for store in (tracking.SqlAlchemyStore, registry.SqlAlchemyStore):
        if engine := store._engine_map.get(uri):
            engine.dispose()


def _relocate(path: Path, old: str, new: str) -> None:
    """Put the artifacts' new place for the old one in every location, in one transaction."""
    before, after = old.rpartition("/")[0], new.rpartition("/")[0]
    with closing(sqlite3.connect(path, timeout=BUSY)) as base, base:
        for table, column in LOCATIONS:
            base.execute(
                f"UPDATE {table} SET {column} = ? || substr({column}, ?)"  # noqa: S608 - LOCATIONS
                f" WHERE substr({column}, 1, ?) = ?",
                (after, len(before) + 1, len(before) + 1, before + "/"),
            )
