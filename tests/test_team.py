"""A team's servers: MLflow with accounts and Prefect, both on a PostgreSQL that the test starts."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from base64 import b64encode
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from project import Project

from pipelines.processes.server import free_port

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

#: With a slash and an at sign, as passwords have; quoted where they stand in an address.
PASSWORD, QUOTED = "se/cr@t word", "se%2Fcr%40t%20word"
ADMIN, READER = ("admin", "administrators-own"), ("reader", "readers-password-1")


def program(name: str) -> str:
    """A program of PostgreSQL's, on the PATH or where Debian keeps it."""
    places = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), reverse=True)
    found = shutil.which(name) or (str(places[0]) if places else None)
    if found is None:
        pytest.skip(f"{name} is not installed (Debian: postgresql)")
    return found


@dataclass
class Database:
    """A PostgreSQL server with a password, for this test alone."""

    root: Path
    port: int

    def address(self, name: str, driver: str = "postgresql") -> str:
        return f"{driver}://team:{QUOTED}@127.0.0.1:{self.port}/{name}"

    def run(self, name: str, *arguments: str) -> str:
        """One of its programs, as whom it runs as: it refuses root."""
        nobody: dict[str, Any] = {"user": "nobody", "group": "nogroup"}
        as_user = nobody if os.geteuid() == 0 else {}
        done = subprocess.run(
            [program(name), *arguments],
            cwd=self.root,
            env={**os.environ, "PGPASSWORD": PASSWORD, "LC_ALL": "C"},
            capture_output=True,
            text=True,
            **as_user,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def client(self, name: str, *arguments: str) -> str:
        return self.run(name, "-h", "127.0.0.1", "-p", str(self.port), "-U", "team", *arguments)


@pytest.fixture(scope="module")
def database() -> Iterator[Database]:
    # pytest's own folders are closed to the user that PostgreSQL runs as.
    found = Database(Path(tempfile.mkdtemp(prefix="clarity-postgresql-")), free_port())
    (found.root / "password").write_text(PASSWORD)
    if os.geteuid() == 0:
        for path in (found.root, found.root / "password"):
            shutil.chown(path, "nobody", "nogroup")
    try:
        found.run(
            "initdb",
            "-D",
            "data",
            "-U",
            "team",
            "-A",
            "scram-sha-256",
            "--pwfile=password",
            "-E",
            "UTF8",
        )
        options = f"-p {found.port} -c listen_addresses=127.0.0.1 -c unix_socket_directories=''"
        found.run("pg_ctl", "-D", "data", "-l", "log", "-w", "-o", options, "start")
        try:
            for name in ("mlflow", "accounts", "prefect"):
                found.client("createdb", name)
            yield found
        finally:
            found.run("pg_ctl", "-D", "data", "-m", "immediate", "stop")
    finally:
        shutil.rmtree(found.root)


@dataclass
class Server:
    """MLflow's server with accounts."""

    port: int
    root: Path
    database: Database
    process: subprocess.Popen | None = None

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        command = [sys.executable, "-m", "mlflow", "server", "--app-name", "basic-auth"]
        command += ["--workers", "1", "--host", "127.0.0.1", "--port", str(self.port)]
        command += ["--backend-store-uri", self.database.address("mlflow")]
        command += ["--artifacts-destination", (self.root / "artifacts").as_uri()]
        settings = f"""[mlflow]
default_permission = READ
database_uri = {self.database.address("accounts").replace("%", "%%")}
admin_username = {ADMIN[0]}
admin_password = {ADMIN[1]}
authorization_function = mlflow.server.auth:authenticate_request_basic_auth
auth_cache_ttl_seconds = 60
"""
        (self.root / "accounts.ini").write_text(settings)
        environment = {
            **os.environ,
            "MLFLOW_AUTH_CONFIG_PATH": str(self.root / "accounts.ini"),
            "MLFLOW_FLASK_SERVER_SECRET_KEY": "of this test",
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        }
        log = self.root / "log"
        with log.open("ab") as out:
            self.process = subprocess.Popen(
                command, env=environment, stdout=out, stderr=out, start_new_session=True
            )
        while True:
            assert self.process.poll() is None, log.read_text()[-3000:]
            with suppress(OSError), urllib.request.urlopen(f"{self.address}/health", timeout=5):
                return
            time.sleep(0.2)

    def stop(self) -> None:
        if self.process is not None:
            with suppress(ProcessLookupError):
                os.killpg(self.process.pid, 9)
            self.process.wait()

    def ask(self, path: str, who: tuple[str, str] | None, body: bytes | None = None) -> int:
        """The status of an answer."""
        request = urllib.request.Request(self.address + path, data=body)
        request.add_header("Content-Type", "application/json")
        if who is not None:
            request.add_header(
                "Authorization", "Basic " + b64encode(":".join(who).encode()).decode()
            )
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            return error.code


@pytest.fixture(scope="module")
def server(database: Database, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    made = Server(free_port(), tmp_path_factory.mktemp("mlflow"), database)
    made.start()
    body = f'{{"username": "{READER[0]}", "password": "{READER[1]}"}}'.encode()
    assert made.ask("/api/2.0/mlflow/users/create", ADMIN, body) == 200
    yield made
    made.stop()


def of(project: Project, server: Server, who: tuple[str, str] | None) -> Project:
    """The project as somebody's who has this account."""
    mine = Project(project.path)
    mine.environment |= {"MLFLOW_TRACKING_URI": server.address}
    if who is not None:
        mine.environment |= dict(
            zip(("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"), who, strict=True)
        )
    return mine


def refused(done: subprocess.CompletedProcess[str]) -> str:
    """The one line of a refusal."""
    said = [line for line in done.stderr.splitlines() if line.startswith("clarity: ")]
    assert (done.returncode, len(said)) == (2, 1), done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return said[0]


def test_a_team_shares_a_server_with_accounts(
    project: Project, server: Server, database: Database
) -> None:
    shutil.rmtree(project.path / "mlruns")
    (project.path / "mlruns").mkdir()
    writer = of(project, server, ADMIN)
    reader, stranger = of(project, server, READER), of(project, server, None)
    writer.run("clarity", "backfill")
    # Who may read names no champion.
    assert "refused (403)" in refused(reader.run("clarity", "promote", check=False))
    assert not (project.path / "mlruns/registry-move.json").exists()
    writer.run("clarity", "promote")
    lineage = writer.run("clarity", "lineage", "champion").stdout
    assert "version" in lineage
    picture = "data/processed/test.npy"
    writer.run("clarity", "score", picture, "--output", "by-writer")

    # Nobody in particular is refused; who may read reads and scores.
    assert server.ask("/api/2.0/mlflow/experiments/search?max_results=1", None) == 401
    refused(stranger.run("clarity", "lineage", "champion", check=False))
    assert reader.run("clarity", "lineage", "champion").stdout == lineage
    reader.run("clarity", "score", picture, "--output", "by-reader")
    scores = [(project.path / f"by-{who}/scores.csv").read_bytes() for who in ("writer", "reader")]
    assert scores[0] == scores[1]

    # A dump, everything lost, restored: the same answers.
    database.client("pg_dump", "--format=custom", "--file", "mlflow.dump", "mlflow")
    server.stop()
    database.client("dropdb", "mlflow")
    database.client("createdb", "mlflow")
    database.client("pg_restore", "--dbname", "mlflow", "mlflow.dump")
    server.start()
    assert writer.run("clarity", "lineage", "champion").stdout == lineage
    assert PASSWORD not in lineage
    assert QUOTED not in lineage


def test_clarity_and_prefect_work_on_postgresql_alone(project: Project, database: Database) -> None:
    database.client("createdb", "direct")
    mine = Project(project.path)
    mine.environment |= {
        "MLFLOW_TRACKING_URI": database.address("direct"),
        "PREFECT_API_DATABASE_CONNECTION_URL": database.address("prefect", "postgresql+asyncpg"),
    }
    mine.change({"models": {"pca-3": {"latent": 4}}})
    ran = mine.run(sys.executable, "-m", "pipelines.reproduce")
    said = ran.stdout + ran.stderr
    assert QUOTED not in said
    assert PASSWORD not in said
    assert "up to date" in mine.run("dvc", "status").stdout
    tables = database.client(
        "psql", "-d", "prefect", "-Atc", "select name, state_type from flow_run"
    )
    assert re.search(r"\|COMPLETED", tables), tables
    mine.run("clarity", "promote")
    assert "version" in mine.run("clarity", "lineage", "champion").stdout
