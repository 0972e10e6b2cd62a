"""MLflow's own server, for `clarity ui`: its page leaves the pictures the room that they need.

MLflow opens its assistant by itself in a browser that has never been there, a quarter of the window
wide; the sizes of a family then no longer stand in one row. Nothing but a flag of the browser turns
that off, so the page sets the flag before MLflow reads it. The assistant's button stays.

MLflow finds this module by the entry point ``mlflow.app`` of the package.
"""

from __future__ import annotations

from flask import Response, request
from mlflow.server import app as _pages
from mlflow.server.fastapi_app import app

__all__ = ["app"]

_FLAG = "mlflow.assistant.fab.autoOpenedOnFirstLoad_v1"
_SCRIPT = f"<script>localStorage.setItem('{_FLAG}','true')</script></head>"


@_pages.after_request
def _quiet(response: Response) -> Response:
    """Put the flag's line into MLflow's one page."""
    if request.path == "/" and response.status_code == 200:
        response.direct_passthrough = False  # the page comes from a file
        response.set_data(response.get_data(as_text=True).replace("</head>", _SCRIPT, 1))
    return response
