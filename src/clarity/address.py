"""Where MLflow's store lies: the user's ``MLFLOW_TRACKING_URI`` in any form people write, or ours.

Every form either works or is refused in one line that says what would work. Imports no MLflow.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from clarity.errors import ClarityError
from clarity.layout import GRAPH, MLRUNS

VARIABLE = "MLFLOW_TRACKING_URI"
#: Databases that MLflow takes, and the distribution that holds SQLAlchemy's usual driver for each.
DRIVERS = {"postgresql": "psycopg2-binary", "mysql": "pymysql", "mssql": "pymssql"}
WHAT_WORKS = (
    "name a file (sqlite:///mlflow.db), a server (http://HOST:5000) or a database "
    f"(postgresql://…), or unset {VARIABLE}"
)


def project_root(start: Path | None = None) -> Path:
    """The project's root: ``DVC_ROOT`` (the main checkout, also in a temporary experiment's
    workspace), else the nearest directory upwards with a ``dvc.yaml``, else where we are.

    Args:
        start: look from there instead, whatever ``DVC_ROOT`` says.
    """
    if start is None and (root := os.environ.get("DVC_ROOT")):
        return Path(root).resolve()
    here = (start or Path.cwd()).resolve()
    for directory in (here, *here.parents):
        if (directory / GRAPH).is_file():
            return directory
    return here


def database(root: Path) -> Path:
    """The SQLite file of a project's store."""
    return root / MLRUNS / "mlflow.db"


def tracking_uri(root: Path | None = None) -> str:
    """The store's address: the user's ``MLFLOW_TRACKING_URI``, else SQLite below the root.

    A relative SQLite path is taken from the project's root, so that every command, stage and
    temporary experiment means the same file; it comes back absolute.

    Raises:
        ClarityError: the address can be no store.
    """
    root = (root or project_root()).resolve()
    given = os.environ.get(VARIABLE, "").strip()
    if not given:
        path = database(root)
        if "?" in str(path):
            raise ClarityError(
                f"{path}: MLflow cannot open a database below a folder with '?' in its name; "
                "rename it"
            )
        return f"sqlite:///{path}"
    found = re.match(r"([A-Za-z][\w+.-]*):", given)
    scheme = found[1].lower() if found else ""
    if scheme.split("+")[0] == "sqlite":
        return _sqlite(given, given[len(scheme) + 1 :], root)
    if given.startswith("databricks") or given == "uc":
        return given
    if scheme in ("", "file"):
        raise ClarityError(
            f"{VARIABLE}={given}: a folder; MLflow keeps no runs in folders any more; {WHAT_WORKS}"
        )
    if scheme == "postgres":
        raise ClarityError(f"{VARIABLE}={given}: write postgresql:// for postgres://")
    if scheme in ("http", "https"):
        if not re.match(r"https?://[^/?#\s]", given, re.IGNORECASE):
            raise ClarityError(f"{VARIABLE}={given}: names no host; {WHAT_WORKS}")
        given = given.rstrip("/")
    return scheme + given[len(scheme) :]


def _sqlite(given: str, rest: str, root: Path) -> str:
    """``sqlite:///ABSOLUTE`` of what stands behind the scheme, with its query if it has one."""
    path, mark, query = rest.partition("?")
    if not path.startswith("///"):
        near = path.lstrip("/") or "mlflow.db"
        raise ClarityError(
            f"{VARIABLE}={given}: three slashes stand before a path: sqlite:///{near}"
        )
    name = path[3:]
    if name in ("", ":memory:"):
        raise ClarityError(
            f"{VARIABLE}={given}: a database in memory is gone with the process; {WHAT_WORKS}"
        )
    try:
        file = root / Path(name).expanduser()
        folder = file.is_dir()
    except (OSError, RuntimeError) as error:  # too long, or ~ of a user whom nobody knows
        cause = getattr(error, "strerror", None) or error
        raise ClarityError(f"{VARIABLE}={given}: {cause}; {WHAT_WORKS}") from None
    if folder:
        raise ClarityError(f"{VARIABLE}={given}: {file} is a folder; name a file in it")
    return f"sqlite:///{os.path.normpath(file)}{mark}{query}"


def sqlite_file(uri: str) -> Path | None:
    """The file of a ``sqlite:///`` address; None for any other."""
    head = "sqlite:///"
    return Path(uri.removeprefix(head).partition("?")[0]) if uri.startswith(head) else None


def is_database(uri: str) -> bool:
    """Whether the address is that of a database behind a network."""
    return uri.partition(":")[0].split("+")[0].lower() in DRIVERS


def check_database(uri: str) -> None:
    """See that a database answers, within seconds: MLflow would try for half an hour.

    Raises:
        ClarityError: its driver is not installed, or it does not answer.
    """
    import sqlalchemy

    kind, _, named = uri.partition(":")[0].lower().partition("+")
    try:
        engine = sqlalchemy.create_engine(uri)
        try:
            with engine.connect():
                pass
        finally:
            engine.dispose()
    except (ImportError, sqlalchemy.exc.NoSuchModuleError):
        package = DRIVERS[kind] if not named or named in DRIVERS[kind] else named
        raise ClarityError(
            f"{uri}: the driver of this database is not installed; install {package} "
            f"(`.uv/bin/uv pip install --python .venv {package}`)"
        ) from None
    except (sqlalchemy.exc.SQLAlchemyError, OSError, ValueError) as error:
        reason = " ".join(str(getattr(error, "orig", None) or error).split())[:200]
        raise ClarityError(
            f"{uri}: the database does not answer ({reason}); start it, mend the address, or "
            f"unset {VARIABLE}"
        ) from None
