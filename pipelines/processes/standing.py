"""What a deployment must leave as it finds it: another project's work, and what a person paused."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from clarity.errors import ClarityError
from pipelines.processes.server import API

if TYPE_CHECKING:
    from prefect.client.schemas.responses import DeploymentResponse

#: Variable on the server that names the project whose deployments it holds.
OWNER = "clarity_project"


def claim(root: Path, *, take_over: bool, say: Callable[[str], None]) -> None:
    """Make the server's deployments this checkout's, if nobody else's project holds them.

    Two projects have deployments, a pool and automations of the same names, and a worker runs them
    in its own checkout: on one server the second would take the first one's place.

    Args:
        root: The project's root.
        take_over: Whether to do it all the same.
        say: Is given a line where the deployments were another checkout's.

    Raises:
        ClarityError: they belong to another checkout.
    """
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.actions import VariableCreate, VariableUpdate

    host = os.uname().nodename
    own = f"{host}:{root}"
    with get_client(sync_client=True) as client:
        found = client.read_variable_by_name(OWNER)
        if found is None:
            client.create_variable(VariableCreate(name=OWNER, value=own))
            return
        owner = str(found.value)
        if owner == own:
            return
        where, _, path = owner.partition(":")
        moved = where == host and not (Path(path) / "dvc.yaml").exists()
        if not (take_over or moved):
            raise ClarityError(
                f"{os.environ.get(API, '')}: its deployments belong to the project {owner}; give "
                f"this one a server of its own (unset {API}; `python -m pipelines.serve --port "
                "4201`), or replace them with `python -m pipelines.deploy --take-over`"
            )
        client.update_variable(VariableUpdate(name=OWNER, value=own))
        say(f"took over the deployments of {owner}")


@dataclass
class Paused:
    """What a person has paused in Prefect's UI, before a deployment that would set it going."""

    #: Full names of deployments that are paused as a whole.
    deployments: set[str] = field(default_factory=set)
    #: Full names of deployments and slugs of schedules that are not active; "" for one without.
    schedules: set[tuple[str, str]] = field(default_factory=set)
    #: Deployments with a schedule that was made in the UI: the file's replace it.
    foreign: list[str] = field(default_factory=list)


def read_paused(root: Path) -> Paused:
    """Ask the server what of prefect.yaml's deployments is paused now."""
    paused = Paused()
    for name, deployment in _deployments(root):
        if deployment.paused:
            paused.deployments.add(name)
        idle = {(name, one.slug or "") for one in deployment.schedules if not one.active}
        paused.schedules |= idle
        if any(not one.slug for one in deployment.schedules):
            paused.foreign.append(name)
    return paused


def keep_paused(root: Path, before: Paused, say: Callable[[str], None]) -> None:
    """Pause again what was paused, and say so, so that nobody waits for a schedule in vain."""
    from prefect.client.orchestration import get_client

    hint = "stays paused, as it was on the server; resume it in Prefect's UI"
    with get_client(sync_client=True) as client:
        for name, deployment in _deployments(root):
            if name in before.deployments:
                client.pause_deployment(deployment.id)
                say(f"{name} {hint}")
            for schedule in deployment.schedules:
                if not before.schedules.isdisjoint({(name, schedule.slug or ""), (name, "")}):
                    client.update_deployment_schedule(deployment.id, schedule.id, active=False)
                    say(f"{name}: its schedule {schedule.slug} {hint}")
    for name in before.foreign:
        say(f"{name}: a schedule made in Prefect's UI was replaced; keep it in prefect.yaml")


def _deployments(root: Path) -> Iterator[tuple[str, DeploymentResponse]]:
    """Those of prefect.yaml that are on the server, with their full names."""
    from prefect.client.orchestration import get_client
    from prefect.exceptions import ObjectNotFound
    from ruamel.yaml import YAML

    content = YAML(typ="safe").load((root / "prefect.yaml").read_text())
    with get_client(sync_client=True) as client:
        for one in content["deployments"]:
            name = f"{one['entrypoint'].rpartition(':')[2]}/{one['name']}"
            try:
                yield name, client.read_deployment_by_name(name)
            except ObjectNotFound:
                continue
