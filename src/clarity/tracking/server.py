"""MLflow's UI on the project's store, on this machine only."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

from clarity.address import VARIABLE, is_database, project_root, sqlite_file, tracking_uri
from clarity.errors import ClarityError
from clarity.redact import redact
from clarity.score.registered import registered_name
from clarity.store import artifacts, open_store
from clarity.tracking import view

HOST = "127.0.0.1"
#: Seconds until the server must have answered, and until it must have gone after a signal.
START = 120.0
STOP = 10.0
#: Name of the variable in which the server's own process finds the page that it opens with.
START_PAGE = "CLARITY_UI_PAGE"


def serve(port: int) -> None:
    """Run MLflow's server in the foreground until Ctrl-C or a termination signal.

    One worker and no job runner: 0.5 GB instead of 1.5. Artifacts are read from the store's place.

    Raises:
        ClarityError: the port is taken, the store is broken, or the server does not start.
    """
    uri = tracking_uri()
    if sqlite_file(uri) is None and not is_database(uri):
        raise ClarityError(
            f"{VARIABLE} is {uri}: that server has its own UI; open it there, or unset the variable"
        )
    _free(port)
    client = open_store()
    root = project_root()
    registered = _registered(root)
    # Where nothing is published yet, a training's curves are seen live.
    if not view.present(client, registered):
        view.publish(client, registered, 0)
    query = view.query(client, registered)
    command = [
        *(sys.executable, "-m", "mlflow", "server"),
        *("--host", HOST, "--port", str(port), "--workers", "1"),
        *("--app-name", "clarity"),  # tracking/ui.py, by its entry point
        # Where new experiments put their artifacts; it is served, so that a browser gets them.
        *("--artifacts-destination", artifacts(root).as_uri(), "--serve-artifacts"),
    ]
    environment = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    environment.pop(VARIABLE, None)
    # Not on the command line, which everybody on the machine can read: it may hold a password.
    environment["MLFLOW_BACKEND_STORE_URI"] = uri
    environment[START_PAGE] = query
    # A group of its own: every worker goes when we go.
    with subprocess.Popen(
        command,
        env=environment,
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        # A terminal that is closed sends SIGHUP; under `nohup` it is ignored, and stays so.
        previous = {
            number: signal.signal(number, _interrupt)
            for number in (signal.SIGTERM, signal.SIGHUP)
            if signal.getsignal(number) is not signal.SIG_IGN
        }
        try:
            _wait(process, port)
            print(f"MLflow: http://{HOST}:{port}/{query}  (Ctrl-C ends it)", flush=True)
            code = _follow(process)
            raise ClarityError(f"MLflow's server ended by itself with code {code}; start it again")
        except KeyboardInterrupt:
            pass
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)
            _end(process)


def _registered(root: Path) -> str:
    """Whose view is opened; empty, and everybody's, where no project here says so."""
    try:
        return registered_name(root)
    except ClarityError:
        return ""


def _free(port: int) -> None:
    """Refuse a port that somebody listens on, before seconds are spent on starting."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except (OSError, OverflowError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise ClarityError(
                f"port {port} on {HOST}: {reason.lower()}; choose another with --port"
            ) from None


def _wait(process: subprocess.Popen[str], port: int) -> None:
    """Return once the server answers."""
    deadline = time.monotonic() + START
    while time.monotonic() < deadline:
        if process.poll() is not None:
            said = (process.stderr.read() if process.stderr else "").strip().splitlines()
            reason = said[-1] if said else f"code {process.returncode}"
            raise ClarityError(f"MLflow's server did not start: {reason}")
        try:
            with urllib.request.urlopen(f"http://{HOST}:{port}/health", timeout=2):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.2)
    raise ClarityError(f"MLflow's server did not answer within {START:.0f} s; see `mlflow doctor`")


def _follow(process: subprocess.Popen[str]) -> int:
    """Pass on what the server complains of; return its exit code."""
    assert process.stderr is not None
    for line in process.stderr:
        if " ERROR " in line or "Traceback" in line:
            print(redact(line), end="", file=sys.stderr)
    return process.wait()


def _end(process: subprocess.Popen[str]) -> None:
    """End the whole group: asked first, killed after STOP seconds."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, number)
        except ProcessLookupError:
            break
        try:
            process.wait(STOP)
        except subprocess.TimeoutExpired:
            continue
    process.wait()


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt
