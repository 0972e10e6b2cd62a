"""How an event reaches the Prefect server for certain."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

#: Seconds that the server has to store an event; it writes them together, every five seconds.
STORED = 30.0


def delivered(event: str, resource: Mapping[str, str], payload: Mapping[str, Any]) -> bool:
    """Send an event; whether the server has it, in its database.

    `prefect.events.emit_event` hands it to a thread and says nothing of its fate: a server that was
    away, or stopped before it had written it, would have lost it.

    Args:
        event: its name.
        resource: what it is about, ``prefect.resource.id`` at least; the flow run is added.
        payload: anything JSON can hold.
    """
    import httpx
    from prefect import runtime
    from prefect.client.orchestration import get_client
    from prefect.events.schemas.events import Event, RelatedResource, Resource

    run = runtime.flow_run.id
    related = {
        "prefect.resource.id": f"prefect.flow-run.{run}",
        "prefect.resource.role": "flow-run",
    }
    one = Event(
        event=event,
        resource=Resource(dict(resource)),
        related=[RelatedResource(related)] if run else [],
        payload=dict(payload),
    )
    asked = {"filter": {"id": {"id": [str(one.id)]}}}
    try:
        with get_client(sync_client=True) as client:
            client.request("POST", "/events", json=[one.model_dump(mode="json")])
            end = time.monotonic() + STORED
            while time.monotonic() < end:
                if client.request("POST", "/events/filter", json=asked).json()["total"]:
                    return True
                time.sleep(0.5)
    except httpx.HTTPError:
        pass
    return False
