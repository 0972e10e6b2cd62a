"""Puts the flows on a Prefect server: work pools, the deployments of prefect.yaml, automations.

    python -m pipelines.deploy [--pool machines] [--pool-type process]

Doing it again changes nothing that has not changed in the files.
"""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from clarity.errors import ClarityError
from clarity.files import read_json
from pipelines.arrivals.events import DRIFT_LASTS
from pipelines.command import run_command
from pipelines.processes.home import home, prepare
from pipelines.processes.server import API, reached, running
from pipelines.processes.standing import claim, keep_paused, read_paused
from pipelines.worker import POOL

if TYPE_CHECKING:
    from prefect.automations import Automation

#: Silence after which a run's machine is taken for lost; three heartbeats.
SILENCE = timedelta(seconds=90)


def deploy(root: Path, extra_pools: dict[str, str], *, take_over: bool = False) -> None:
    """Make pools, deployments and automations on the server at ``PREFECT_API_URL``.

    What a person paused on the server stays paused, and is named.

    Args:
        root: The project's root.
        extra_pools: Name and type of pools for stages on other machines (docs/scaling.md).
        take_over: Whether to replace another project's deployments.

    Raises:
        ClarityError: prefect.yaml is wrong, or the deployments there are another project's.
    """
    claim(root, take_over=take_over, say=print)
    before = read_paused(root)
    for pool, kind in {POOL: "process", **extra_pools}.items():
        _make_pool(root, pool, kind)
        if pool != POOL:
            _deploy_stage(pool)
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(root / "src"), str(root)])}
    finished = subprocess.run(
        [sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all"],
        cwd=root,
        env=env,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
    )
    if finished.returncode:
        said = (finished.stderr + finished.stdout).strip().splitlines() or ["no output"]
        raise ClarityError(f"prefect.yaml: `prefect deploy --all` failed: {said[-1]}")
    keep_paused(root, before, print)
    _automate()


def _make_pool(root: Path, name: str, kind: str) -> None:
    """A work pool, with the template of ``pipelines/pools/KIND.json`` where there is one."""
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.actions import WorkPoolCreate, WorkPoolUpdate
    from prefect.exceptions import ObjectNotFound
    from prefect.workers.process import ProcessWorker

    template = root / "pipelines" / "pools" / f"{kind}.json"
    if template.exists():
        job = read_json(template)
    elif kind == ProcessWorker.type:
        job = ProcessWorker.get_default_base_job_template()
    else:
        raise ClarityError(f"pool type {kind}: no template {template.relative_to(root)}; add one")
    with get_client(sync_client=True) as client:
        try:
            client.read_work_pool(name)
        except ObjectNotFound:
            client.create_work_pool(WorkPoolCreate(name=name, type=kind, base_job_template=job))
        else:
            client.update_work_pool(name, WorkPoolUpdate(base_job_template=job))


def _deploy_stage(pool: str) -> None:
    """The deployment that runs single stages on a pool: ``run-stage/POOL``."""
    from prefect.client.orchestration import get_client
    from prefect.utilities.callables import parameter_schema

    from pipelines.flows.remote import run_stage_here

    home = {"directory": "{{ $CLARITY_HOME }}"}
    with get_client(sync_client=True) as client:
        client.create_deployment(
            flow_id=client.create_flow(run_stage_here),
            name=pool,
            description="One stage of a commit, on a machine of this pool.",
            tags=["dvc", "stage"],
            entrypoint="pipelines/flows/remote.py:run_stage_here",
            pull_steps=[{"prefect.deployments.steps.set_working_directory": home}],
            work_pool_name=pool,
            parameter_openapi_schema=parameter_schema(run_stage_here).model_dump_for_openapi(),
            enforce_parameter_schema=True,
        )


def _automate() -> None:
    """Two automations: lasting drift starts a retraining; a silent run is marked Crashed."""
    from prefect.automations import Automation
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.objects import StateType
    from prefect.events.actions import ChangeFlowRunState, RunDeployment
    from prefect.events.schemas.automations import EventTrigger, Posture
    from prefect.utilities.asyncutils import run_coro_as_sync

    with get_client(sync_client=True) as client:
        retrain = client.read_deployment_by_name("retrain/weekly").id
    crash = ChangeFlowRunState(  # type: ignore[call-arg]
        state=StateType.CRASHED, message="no heartbeat for 90 s"
    )
    ends = ["Completed", "Failed", "Cancelled", "Crashed"]
    wanted = [
        Automation(
            name="Retrain when drift lasts",
            description="Pictures that arrive have drifted from the reference for several runs.",
            trigger=EventTrigger(
                expect={DRIFT_LASTS},
                match={"prefect.resource.id": "clarity.incoming"},
                posture=Posture.Reactive,
                threshold=1,
            ),
            actions=[
                RunDeployment(
                    source="selected", deployment_id=retrain, parameters=None, job_variables=None
                )
            ],
        ),
        Automation(
            name="Crash runs whose machine fell silent",
            description="Their worker or its machine is gone; the stage is free to run again.",
            trigger=EventTrigger(
                after={"prefect.flow-run.heartbeat"},
                expect={
                    "prefect.flow-run.heartbeat",
                    *(f"prefect.flow-run.{end}" for end in ends),
                },
                match={"prefect.resource.id": "prefect.flow-run.*"},
                for_each={"prefect.resource.id"},
                posture=Posture.Proactive,
                threshold=1,
                within=SILENCE,
            ),
            actions=[crash],
        ),
    ]
    for automation in wanted:
        run_coro_as_sync(_put(automation))


async def _put(automation: Automation) -> None:
    """Create an automation, or bring the one of this name up to date."""
    from prefect.automations import Automation

    try:
        there = await Automation.aread(name=automation.name)
    except ValueError:
        await automation.acreate()
        return
    automation.id = there.id
    automation.enabled = there.enabled
    await automation.aupdate()
    if not there.enabled:
        print(f"automation {automation.name!r} stays disabled, as it was on the server")


def main(
    pool: Annotated[
        list[str] | None,
        typer.Option(help="A further pool, on whose machines single stages run."),
    ] = None,
    pool_type: Annotated[
        str, typer.Option(help="Type of these pools: process, docker, kubernetes.")
    ] = "process",
    take_over: Annotated[
        bool, typer.Option(help="Replace the deployments of another project.")
    ] = False,
) -> None:
    """Deploy to the server at PREFECT_API_URL, or to the one that `make serve-flows` started."""
    root = prepare()
    api = reached(running(), "start one with `make serve-flows`")
    # A copied or moved project brings its server's database along: that is its own.
    own = API not in os.environ and home().is_relative_to(root)
    os.environ[API] = api
    deploy(root, dict.fromkeys(pool or [], pool_type), take_over=take_over or own)
    print(f"deployed to {api}")


if __name__ == "__main__":
    run_command(main)
