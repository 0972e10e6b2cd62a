"""MLflow's own server, for `clarity ui`: its page opens at the pictures, and leaves them room.

A browser that has never been there is shown an introduction to other things, told that usage data
are collected (they are not: telemetry is off), and MLflow opens its assistant by itself, a quarter
of the window wide, so that the sizes of a family no longer stand in one row. Nothing but flags of
the browser turns these off, so the page sets them before MLflow reads them. The assistant's button
stays.

MLflow finds this module by the entry point ``mlflow.app`` of the package.
"""

from __future__ import annotations

import json
import os

from flask import Response, request
from mlflow.server import app as _pages
from mlflow.server.fastapi_app import app

from clarity.tracking.server import START_PAGE

__all__ = ["app"]

_FLAGS = (
    "mlflow.assistant.fab.autoOpenedOnFirstLoad_v1",
    "mlflow.telemetry.info.alert.dismissed_v1",
)


@_pages.after_request
def _at_home(response: Response) -> Response:
    """Put our lines into MLflow's one page."""
    if request.path == "/" and response.status_code == 200:
        lines = [f"localStorage.setItem({json.dumps(flag)}, 'true');" for flag in _FLAGS]
        start = json.dumps(os.environ.get(START_PAGE, "#/"))
        lines.append(f"if (location.hash.length < 2) location.replace({start});")
        script = f"<script>{''.join(lines)}</script></head>"
        response.direct_passthrough = False  # the page comes from a file
        response.set_data(response.get_data(as_text=True).replace("</head>", script, 1))
    return response
