"""Two workers, each with a clone, a home and a cache of its own; nothing shared but git and the
remote."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
import toy
from test_reproduce import DVC, FLOW, post, started
from tools import environment, prefect_home, until


class Machine:
    """A clone with its own home, cache and Prefect state."""

    def __init__(self, base: Path, name: str, origin: Path, template: Path, **env: str) -> None:
        self.name = name
        home = base / name
        home.mkdir()
        self.root = home / "clone"
        subprocess.run(["git", "clone", "-q", str(origin), str(self.root)], check=True)
        self.env = environment(
            HOME=str(home), PREFECT_HOME=str(prefect_home(self.root, template)), **env
        )
        self.worker: subprocess.Popen[bytes] | None = None

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command, cwd=self.root, env=self.env, capture_output=True, text=True, timeout=900
        )

    def work(self, pool: str) -> None:
        command = [sys.executable, "-m", "pipelines.worker", "--pool", pool, "--name", self.name]
        with (self.root.parent / "worker.log").open("wb") as log:
            self.worker = subprocess.Popen(
                command, cwd=self.root, env=self.env, stdout=log, stderr=log
            )

    def log(self) -> str:
        return (self.root.parent / "worker.log").read_text()


class Machines(NamedTuple):
    asker: Machine
    workers: list[Machine]
    pool: str
    log: Path
    alone: bytes


@pytest.fixture
def machines(tmp_path: Path, template: Path, server: str) -> Iterator[Machines]:
    project = toy.make(tmp_path / "project", seconds=2)
    toy.with_flows(project)
    remote = tmp_path / "remote"
    subprocess.run([*DVC, "remote", "add", "-d", "store", str(remote)], cwd=project, check=True)
    toy.commit(project, "A remote")
    # What a single machine comes to, in a clone without the remote's run cache.
    subprocess.run([*DVC, "repro", "-q"], cwd=project, env=environment(), check=True)
    alone = (project / "dvc.lock").read_bytes()

    log = tmp_path / "log"
    env = {"PREFECT_API_URL": server, "TOY_LOG": str(log)}
    asker = Machine(tmp_path, "asker", project, template, **env)
    workers = [Machine(tmp_path, name, project, template, **env) for name in ("one", "two")]
    pool = f"machines-{time.time_ns()}"
    command = [sys.executable, "-m", "pipelines.deploy", "--take-over", "--pool", pool]
    deployed = asker.run(*command)
    assert deployed.returncode == 0, deployed.stderr
    for machine in workers:
        machine.work(pool)
    yield Machines(asker, workers, pool, log, alone)
    for machine in workers:
        if machine.worker is not None:
            machine.worker.kill()
            machine.worker.wait()


def ends(log: Path) -> list[str]:
    return [line.split()[1] for line in log.read_text().splitlines() if line.startswith("end ")]


def said(machines: Machines, result: subprocess.CompletedProcess[str]) -> str:
    return result.stdout + result.stderr + "".join(worker.log() for worker in machines.workers)


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_two_workers_run_each_stage_once_and_end_as_one_machine(machines: Machines) -> None:
    result = machines.asker.run(*FLOW, "--pool", machines.pool, "--max-parallel", "2")
    assert result.returncode == 0, said(machines, result)
    assert (machines.asker.root / "dvc.lock").read_bytes() == machines.alone
    order = started(machines.log)
    assert sorted(order) == sorted(set(order))
    assert len(order) == 7
    assert all("submitting flow run" in worker.log() for worker in machines.workers)
    assert machines.asker.run(*FLOW).stdout.startswith("nothing to do")


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_killed_workers_stage_finishes_on_the_other(machines: Machines, server: str) -> None:
    asker = machines.asker
    command = [*FLOW, "--pool", machines.pool, "--max-parallel", "2"]
    with (asker.root.parent / "log").open("wb") as log:
        flow = subprocess.Popen(command, cwd=asker.root, env=asker.env, stdout=log, stderr=log)
    until(lambda: started(machines.log), 300, "the first stage starts")
    first = post(server, "/flow_runs/filter", flow_runs={"state": {"type": {"any_": ["RUNNING"]}}})
    (run,) = [one for one in first if one["work_pool_name"] == machines.pool]
    for machine in machines.workers:
        if f"'{run['id']}'" in machine.log():
            assert machine.worker is not None
            machine.worker.kill()
    assert flow.wait(1200) == 0, (asker.root.parent / "log").read_text()
    assert (asker.root / "dvc.lock").read_bytes() == machines.alone
    finished = ends(machines.log)
    assert sorted(finished) == sorted(set(finished))
    assert len(finished) == 7
    again = started(machines.log)
    assert {name for name in again if again.count(name) > 1} == {"ingest"}
    states = post(server, "/flow_runs/filter", flow_runs={"id": {"any_": [run["id"]]}})
    assert states[0]["state"]["type"] == "CRASHED"


def test_what_prefect_is_shown_holds_no_account(monkeypatch: pytest.MonkeyPatch) -> None:
    from pipelines.flows.remote import _account
    from pipelines.flows.show import mlflow_page

    for secret in ("https://ada:x@host/r.git", "https://TOKEN@host/r", "ssh://git:x@host/r"):
        assert _account(secret)
    for plain in ("git@host:a/r.git", "ssh://git@host:22/r", "https://host/@a/r", "/srv/a@b:c"):
        assert not _account(plain)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "https://ada:SECRET1@host:5000/")
    assert mlflow_page() == "https://host:5000"
