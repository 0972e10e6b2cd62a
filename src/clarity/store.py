"""The MLflow store: where it lies, made once under a lock, mended after the checkout moved.

By default SQLite in ``mlruns/mlflow.db`` with the artifacts beside it in ``mlruns/artifacts``; a
user's own ``MLFLOW_TRACKING_URI`` wins. Importing this module imports no MLflow.
"""

from __future__ import annotations

import os
import re
import sqlite3
import tempfile
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock

from clarity.errors import ClarityError
from clarity.files import sync_directory
from clarity.layout import GRAPH, MLRUNS

if TYPE_CHECKING:
    from mlflow import MlflowClient

#: The experiment that holds one run per training and one for the comparison.
EXPERIMENT = "clarity"
#: Every column in which MLflow keeps an absolute location.
LOCATIONS = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "storage_location"),
)
#: An operation waits this long for another process that writes, in seconds.
BUSY = 60.0


def project_root() -> Path:
    """The project's root: ``DVC_ROOT`` (the main checkout, also in a temporary experiment's
    workspace), else the nearest directory upwards with a ``dvc.yaml``, else where we are."""
    if root := os.environ.get("DVC_ROOT"):
        return Path(root).resolve()
    here = Path.cwd().resolve()
    for directory in (here, *here.parents):
        if (directory / GRAPH).is_file():
            return directory
    return here


def database(root: Path) -> Path:
    """The SQLite file of a project's store."""
    return root / MLRUNS / "mlflow.db"


def artifacts(root: Path) -> Path:
    """The folder of a project's artifacts."""
    return root / MLRUNS / "artifacts"


def tracking_uri(root: Path | None = None) -> str:
    """The store's address: the user's ``MLFLOW_TRACKING_URI``, else SQLite below the root."""
    if uri := os.environ.get("MLFLOW_TRACKING_URI"):
        return uri
    path = database((root or project_root()).resolve())
    if "?" in str(path):
        raise ClarityError(
            f"{path}: MLflow cannot open a database below a folder with '?' in its name; rename it"
        )
    return f"sqlite:///{path}"


def open_store(root: Path | None = None) -> MlflowClient:
    """Return a client of the store; make the store first where there is none.

    Quick when it is there: two reads of the database before MLflow is imported. Sets the tracking
    address for this process too, so that MLflow's fluent functions see the same store.

    Raises:
        ClarityError: the database is damaged, foreign or of another MLflow; a server is away.
    """
    root = (root or project_root()).resolve()
    uri = tracking_uri(root)
    local = uri == f"sqlite:///{database(root)}"
    if local:
        prepare(root)
    # A server that is away is said so after seconds, not minutes.
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "30")
    os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")
    import mlflow
    from mlflow.exceptions import MlflowException

    given = os.environ.get("MLFLOW_TRACKING_URI")
    mlflow.set_tracking_uri(uri)
    if given is None:
        # MLflow leaves the address in the environment, where it would pass for the user's own
        # wish, also in a child process at another root.
        os.environ.pop("MLFLOW_TRACKING_URI", None)
    try:
        client = mlflow.MlflowClient(uri)
        experiment_id(client)
    except MlflowException as error:
        reason = " ".join(str(error.message).split())
        if "schema" in reason:
            mend = f"run `mlflow db upgrade {uri}` (a backup first), or move the file away"
            reason = "made by another version of MLflow"
        elif local:
            mend = "move it away and run `clarity backfill`"
        else:
            mend = "start the server, or unset MLFLOW_TRACKING_URI"
        shown = re.sub(r"//[^/@]+@", "//", uri)  # without a password
        reason = re.sub(r"//[^/@]+@", "//", reason)[:200]
        raise ClarityError(f"{shown}: MLflow's store does not answer ({reason}); {mend}") from None
    return client


def experiment_id(client: MlflowClient, name: str = EXPERIMENT) -> str:
    """The id of an experiment; it is made, or brought back from the trash, where need be."""
    from mlflow.exceptions import MlflowException

    found = client.get_experiment_by_name(name)
    if found is None:
        uri = client.tracking_uri
        path = uri.removeprefix("sqlite:///")
        # A server chooses its own place for artifacts.
        location = (Path(path).parent / "artifacts" / name).as_uri() if path != uri else None
        try:
            return client.create_experiment(name, artifact_location=location)
        except MlflowException:
            found = client.get_experiment_by_name(name)  # another process was first
            if found is None:
                raise
    if found.lifecycle_stage == "deleted":
        client.restore_experiment(found.experiment_id)
    return str(found.experiment_id)


def prepare(root: Path) -> None:
    """Make the local store where there is none, and mend its locations after a move.

    One process at a time does so; the others wait at the lock and find everything done. A process
    killed meanwhile leaves nothing: the database is made beside its place and renamed into it.
    """
    path = database(root)
    if path.is_file() and _location(path) == _expected(root):
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path.parent / ".mlflow.db.lock"):
        if not path.is_file():
            _create(root)
        old = _location(path)
        if old is None:
            raise ClarityError(
                f"{path}: an MLflow database without the experiment {EXPERIMENT!r}, not made by "
                "Clarity; move it away, or name it in MLFLOW_TRACKING_URI"
            )
        if old != _expected(root):
            _relocate(path, old, _expected(root))


def _expected(root: Path) -> str:
    # As a URI: MLflow decodes the percent signs of a plain path too, and would miss the folder.
    return (artifacts(root) / EXPERIMENT).as_uri()


def _location(path: Path) -> str | None:
    """Where the database believes the experiment's artifacts to be; None if it has no such."""
    query = "SELECT artifact_location FROM experiments WHERE name = ?"
    try:
        with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, timeout=BUSY)) as base:
            row = base.execute(query, (EXPERIMENT,)).fetchone()
    except sqlite3.Error as error:
        raise ClarityError(
            f"{path}: not a readable MLflow database ({error}); move it away and run "
            "`clarity backfill`"
        ) from None
    return None if row is None else str(row[0])


def _create(root: Path) -> None:
    """Make the database with its schema (3-4 s) and the experiment."""
    import logging

    import sqlalchemy
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    # Alembic tells every one of some seventy migrations at INFO.
    logging.getLogger("alembic").setLevel(logging.WARNING)
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.WARNING)
    path = database(root)
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
            uri, artifacts(root).as_uri()
        )
        store.create_experiment(EXPERIMENT, artifact_location=_expected(root))
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
                f"UPDATE {table} SET {column} = ? || substr({column}, ?)"
                f" WHERE substr({column}, 1, ?) = ?",
                (after, len(before) + 1, len(before) + 1, before + "/"),
            )
