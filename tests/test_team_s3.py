"""A team's object store: DVC's remote and MLflow's artifacts on S3, by configuration alone."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import boto3
import pytest
from project import Project
from test_team import refused

from clarity.files import sha256_tree
from pipelines.processes.server import free_port

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

BUCKET = "clarity-of-this-test"
ACCOUNT = {
    "AWS_ACCESS_KEY_ID": "AKIAOFTHISTEST",
    "AWS_SECRET_ACCESS_KEY": "se/cr+et-of-this-test",
    "AWS_DEFAULT_REGION": "us-east-1",
}
AWAY = "{}: MLflow's server answers, but the store of its artifacts does not"
PICTURES = "data/processed/test.npy"
#: What DVC brings back.
OUTPUTS = ("data/raw", "data/processed", "models", "evaluations", "reports")


@contextmanager
def running(command: list[str], log: Path, ready: Callable[[], object], **also: str) -> Iterator:
    """A server as a process of its own, from when it answers."""
    with log.open("ab") as out:
        process = subprocess.Popen(
            command,
            env={**os.environ, **also},
            stdout=out,
            stderr=out,
            start_new_session=True,
        )
    try:
        while True:
            assert process.poll() is None, log.read_text()[-3000:]
            with suppress(OSError):
                ready()
                break
            time.sleep(0.2)
        yield
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, 9)
        process.wait()


@contextmanager
def object_store(port: int, log: Path) -> Iterator[Callable[[], set[str]]]:
    """An S3 server with an empty bucket, in memory; yields what tells the keys in it."""
    address = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    with running(command, log, lambda: urllib.request.urlopen(address, timeout=5).close()):
        client = boto3.client(
            "s3",
            endpoint_url=address,
            aws_access_key_id=ACCOUNT["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=ACCOUNT["AWS_SECRET_ACCESS_KEY"],
            region_name=ACCOUNT["AWS_DEFAULT_REGION"],
        )
        client.create_bucket(Bucket=BUCKET)
        pages = client.get_paginator("list_objects_v2")
        yield lambda: {
            one["Key"] for page in pages.paginate(Bucket=BUCKET) for one in page.get("Contents", ())
        }


@pytest.fixture
def s3_port() -> int:
    return free_port()


@pytest.fixture
def mlflow_server(tmp_path: Path, s3_port: int) -> Iterator[str]:
    """MLflow's server whose artifacts are in the bucket; it alone has the account for them."""
    root, port = tmp_path / "mlflow", free_port()
    root.mkdir()
    address = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "mlflow", "server", "--workers", "1"]
    command += ["--host", "127.0.0.1", "--port", str(port)]
    command += ["--backend-store-uri", f"sqlite:///{root}/mlflow.db"]
    command += ["--artifacts-destination", f"s3://{BUCKET}/mlflow"]
    with running(
        command,
        root / "log",
        lambda: urllib.request.urlopen(f"{address}/health", timeout=5).close(),
        MLFLOW_SERVER_ENABLE_JOB_EXECUTION="false",
        AWS_ENDPOINT_URL=f"http://127.0.0.1:{s3_port}",
        **ACCOUNT,
    ):
        yield address


def test_what_an_object_store_missed_is_delivered_by_the_same_commands(
    project: Project, mlflow_server: str, s3_port: int, tmp_path: Path
) -> None:
    project.environment["MLFLOW_TRACKING_URI"] = mlflow_server
    project.run("dvc", "remote", "add", "--default", "storage", f"s3://{BUCKET}/clarity")
    project.run("dvc", "remote", "modify", "storage", "endpointurl", f"http://127.0.0.1:{s3_port}")
    pushing = Project(project.path)
    pushing.environment |= ACCOUNT

    # The object store is away: what is trained is kept, what is delivered there is one line.
    project.change({"models": {"pca-3": {"latent": 4}}})
    done = project.run("dvc", "repro", check=False)
    assert "failed to run: clarity publish, exited with 2" in done.stderr
    assert "clarity: " + AWAY.format(mlflow_server) in done.stderr
    done = pushing.run("dvc", "push", check=False)
    assert done.returncode != 0
    assert "Could not connect to the endpoint" in done.stderr
    assert "Traceback" not in done.stderr
    made = digests(project)

    with object_store(s3_port, tmp_path / "s3.log") as keys:
        done = project.run("dvc", "repro")
        assert "Running stage 'publish'" in done.stdout
        assert done.stdout.count("Running stage") == 1
        project.run("clarity", "promote")
        project.run("clarity", "score", PICTURES, "--output", "scores")
        project.run("clarity", "backfill")
        assert [key for key in keys() if key.endswith("weights.safetensors")]
        assert all(key.startswith("mlflow/") for key in keys())

        pushing.run("dvc", "push")
        assert [key for key in keys() if key.startswith("clarity/files/md5/")]
        project.commit("Another size")
        shutil.rmtree(project.path / ".dvc/cache")
        project.git("clone", "--quiet", str(project.path), str(tmp_path / "clone"))
        clone = Project(tmp_path / "clone")
        clone.environment |= ACCOUNT
        clone.run("dvc", "pull")
        assert digests(clone) == made

    for command in (("score", PICTURES, "--output", "nowhere"), ("backfill",)):
        line = refused(project.run("clarity", *command, check=False))
        assert AWAY.format(mlflow_server) in line
    assert not (project.path / "nowhere").exists()
    assert digests(project) == made


def digests(project: Project) -> dict[str, str]:
    return {path: sha256_tree(project.path / path) for path in OUTPUTS}
