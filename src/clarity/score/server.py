"""`clarity serve`: MLflow's scoring server around a registered version, in this process."""

from __future__ import annotations

import os
import socket
import sys
from typing import TYPE_CHECKING, Any

from clarity.errors import ClarityError
from clarity.score.refusals import Refusals

if TYPE_CHECKING:
    from fastapi import FastAPI

HOST = "127.0.0.1"


def serve(port: int, model: str) -> None:
    """Serve a version over HTTP until Ctrl-C, on this machine only.

    MLflow's own scoring application (``/invocations``, ``/ping``, ``/version``), run here and not
    in an environment of its own: what trained the model is what serves it.

    Args:
        port: TCP port on 127.0.0.1; 0 lets the system choose.
        model: alias or version of the registered model. The alias is resolved once: restart to
            serve the next champion.
    """
    listener = _listen(port)
    with listener:
        app, label = application(model)
        import uvicorn

        address = f"http://{HOST}:{listener.getsockname()[1]}"
        print(f"{label}: POST {address}/invocations; Ctrl-C ends", flush=True)
        settings = uvicorn.Config(app, log_level="warning", access_log=False)
        try:
            uvicorn.Server(settings).run(sockets=[listener])
        except KeyboardInterrupt:  # uvicorn has closed its connections and hands the signal on
            print("ended", flush=True)


def application(model: str) -> tuple[FastAPI, str]:
    """The ASGI application that answers for a version, and how the version is called."""
    # Before MLflow is imported: scoring needs no tracing of its own requests.
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    from clarity.redact import printable
    from clarity.score.foreign import foreign
    from clarity.score.registered import (
        TAG_NAME,
        files_of,
        find_version,
        folder_of,
        registered_name,
    )
    from clarity.store import open_store

    name = registered_name()
    number, tags = find_version(open_store(), name, model)
    files_of(name, number, tags)  # says in one line what MLflow would say in a traceback
    import mlflow
    from mlflow.exceptions import MlflowException
    from mlflow.pyfunc import scoring_server

    label = f"{name} version {number} ({printable(tags.get(TAG_NAME, '?'))})"
    if note := foreign(tags):
        print(f"clarity: {label} {note}", file=sys.stderr)
    try:
        loaded: Any = mlflow.pyfunc.load_model(str(folder_of(name, number)))
    except (MlflowException, OSError) as error:
        first = (str(error).splitlines() or [type(error).__name__])[0]
        raise ClarityError(f"{label}: cannot be loaded: {first}") from None
    app = scoring_server.init(loaded)
    app.add_middleware(Refusals)
    return app, label


def _listen(port: int) -> socket.socket:
    # Named TCP: only then does asyncio switch Nagle's delay off, 40 ms an answer.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((HOST, port))
        # From here on a client waits for the model to load instead of being turned away.
        listener.listen()
    except (OSError, OverflowError) as error:
        listener.close()
        raise ClarityError(
            f"port {port} of {HOST}: {error}; choose another with --port (0: any free one)"
        ) from None
    return listener
