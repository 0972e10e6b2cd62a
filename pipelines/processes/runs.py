"""Flow runs whose process is gone: found at the next start and marked Crashed.

Prefect leaves a run "Running" for ever when its process was killed. Every run of this project
therefore keeps a record of the process that carries it, under ``.prefect/runs``, for as long as it
runs. A record whose process is gone tells of a crash.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

import psutil

from clarity.files import write_json
from clarity.processes import FOLLOWED, alive, identity, when_gone
from pipelines.processes import groups
from pipelines.processes.home import home
from pipelines.processes.server import API, watch_named

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient

#: How a stage's processes learn which flow run they belong to; MLflow runs carry it as a tag.
FLOW_RUN = "CLARITY_FLOW_RUN_ID"


def told(flow_run: str) -> dict[str, str]:
    """What the environment of a flow's stages says: whose they are, and that their log is read."""
    return {FLOW_RUN: flow_run, FOLLOWED: "1"}


def _records() -> Path:
    return home() / "runs"


@contextmanager
def recorded(flow_run_id: str) -> Iterator[None]:
    """Keep a record of this process as the carrier of a flow run, until it is left."""
    record = _records() / f"{flow_run_id}.json"
    write_json(record, identity())
    try:
        yield
    finally:
        record.unlink(missing_ok=True)


@contextmanager
def carried(log: Callable[[str], None]) -> Iterator[str]:
    """Around the body of every flow: first mend what crashed before, then leave nothing behind.

    Yields the flow run's id.
    """
    from prefect import runtime

    flow_run_id = str(runtime.flow_run.id)
    if runtime.deployment.id:
        watch_parent(flow_run_id)
        if api := os.environ.get(API):
            watch_named(api)
    with recorded(flow_run_id):
        try:
            for line in recover():
                log(line)
            yield flow_run_id
        except BaseException:
            # SIGTERM and Ctrl-C arrive here too.
            groups.stop_all()
            raise


def recover() -> list[str]:
    """End orphaned commands and mark runs of dead processes Crashed; what was found, in words.

    Needs a server (see :mod:`pipelines.processes.server`).
    """
    found = [f"ended what was left of {name}" for name in groups.reap()]
    dead = []
    for record in sorted(_records().glob("*.json")):
        try:
            owner = json.loads(record.read_text())
        except (OSError, ValueError):
            continue
        if not alive(owner):
            dead.append(record)
    if not dead:
        return found
    from prefect.client.orchestration import get_client

    with get_client(sync_client=True) as client:
        for record in dead:
            name = crash(client, UUID(record.stem), "its process was killed")
            if name:
                found.append(f"marked flow run {name} Crashed: its process was killed")
            record.unlink(missing_ok=True)
    return found


def crash(client: SyncPrefectClient, flow_run_id: UUID, why: str) -> str | None:
    """Mark a flow run and its unfinished task runs Crashed; its name, or None if it had ended."""
    from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId
    from prefect.exceptions import ObjectNotFound
    from prefect.states import Crashed

    try:
        run = client.read_flow_run(flow_run_id)
    except ObjectNotFound:
        return None
    for task in client.read_task_runs(
        flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=[flow_run_id]))
    ):
        if task.state is not None and (task.state.is_running() or task.state.is_pending()):
            client.set_task_run_state(task.id, Crashed(message=why), force=True)
    if run.state is not None and run.state.is_final():
        return None
    client.set_flow_run_state(flow_run_id, Crashed(message=why), force=True)
    return run.name


def crash_all(why: str, **filters: Any) -> list[str]:
    """Mark every run that is Running, Pending or Cancelling Crashed; their names.

    For a server that has just been started and has no worker yet: nothing can be running.
    """
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import (
        FlowRunFilter,
        FlowRunFilterState,
        FlowRunFilterStateType,
    )
    from prefect.client.schemas.objects import StateType

    unfinished = FlowRunFilter(
        state=FlowRunFilterState(
            type=FlowRunFilterStateType(
                any_=[StateType.RUNNING, StateType.PENDING, StateType.CANCELLING]
            )
        ),
        **filters,
    )
    names = []
    with get_client(sync_client=True) as client:
        for run in client.read_flow_runs(flow_run_filter=unfinished):
            record = _records() / f"{run.id}.json"
            if record.exists() and alive(json.loads(record.read_text())):
                continue
            name = crash(client, run.id, why)
            record.unlink(missing_ok=True)
            if name:
                names.append(name)
    return names


def watch_parent(flow_run_id: str | None) -> None:
    """End this process when the one that started it (a worker) is gone.

    A worker killed by SIGKILL leaves its flow runs behind, and another worker would do the same
    stage at the same time. The run is marked Crashed first, so that whoever waits for it knows.
    """

    def leave() -> None:
        groups.stop_all()
        try:
            if flow_run_id:
                from prefect.client.orchestration import get_client

                with get_client(sync_client=True) as client:
                    crash(client, UUID(flow_run_id), "its worker was killed")
        finally:
            os._exit(1)

    when_gone(identity(psutil.Process(os.getppid())), leave)
