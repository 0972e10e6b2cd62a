"""The Prefect server a flow speaks to: the one that is named or running, else one for its while."""

from __future__ import annotations

import base64
import json
import os
import re
import secrets
import socket
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

import typer
from filelock import FileLock

from clarity.errors import ClarityError
from clarity.files import read_json
from pipelines.processes import groups
from pipelines.processes.home import home, migrate_database

API = "PREFECT_API_URL"
#: What a client shows to the server, and what the server asks for.
CLIENT_AUTH, SERVER_AUTH = "PREFECT_API_AUTH_STRING", "PREFECT_SERVER_API_AUTH_STRING"
#: What a client shows to Prefect's cloud instead.
CLOUD_KEY = "PREFECT_API_KEY"
#: Origins whose pages may read answers: by default Prefect's is every one.
CORS = "PREFECT_SERVER_CORS_ALLOWED_ORIGINS"
STARTUP_SECONDS = 120.0
#: Seconds of silence after which a server that was named is taken for gone.
GONE_SECONDS = 60.0


def answers(api: str, timeout: float = 2.0) -> bool:
    """Whether a healthy server is at ``api`` (``http://127.0.0.1:4200/api``)."""
    if not api.startswith(("http://", "https://")):  # urllib would read files, too
        return False
    try:
        with urllib.request.urlopen(f"{api}/health", timeout=timeout) as response:  # noqa: S310
            return bool(response.status == 200)
    except (urllib.error.URLError, OSError, ValueError):
        return False


def reached(api: str | None, mend: str) -> str:
    """A server that was named, once it is there, lets this process in and is as new as its client.

    Args:
        mend: what to do where none answers.

    Raises:
        ClarityError: it does not; an older one would refuse single calls with 422, in mid-run.
    """
    if api is None or not answers(api, timeout=10):
        raise ClarityError(f"{API}={api or ''}: no Prefect server answers there; {mend}")
    theirs, ours = _version(api), version("prefect")
    if theirs is not None and _release(theirs) < _release(ours):
        raise ClarityError(
            f"{API}={api}: a server of Prefect {theirs}, older than the {ours} of this project; "
            "update the server"
        )
    return api


def _release(text: str) -> tuple[int, ...]:
    """Major and minor version: servers take what clients of their own minor version send."""
    return tuple(int(part) for part in re.findall(r"\d+", text)[:2])


def _version(api: str) -> str | None:
    """Which Prefect a server is of; nothing where it does not tell.

    Raises:
        ClarityError: it asks for a secret that this process does not show.
    """
    request = urllib.request.Request(f"{api}/admin/version")  # noqa: S310
    shown = ""
    if key := os.environ.get(CLIENT_AUTH):
        shown = f"Basic {base64.b64encode(key.encode()).decode()}"
    elif key := os.environ.get(CLOUD_KEY):
        shown = f"Bearer {key}"
    if shown:
        request.add_header("Authorization", shown)
    try:
        with urllib.request.urlopen(request, timeout=10) as response:  # noqa: S310
            found = json.loads(response.read(1000))
    except urllib.error.HTTPError as error:
        if error.code not in (401, 403) or (not shown and _shown_by_settings()):
            return None
        wrong = f"asks for a secret; set {CLIENT_AUTH} to it"
        if shown:
            wrong = f"does not take the secret that {CLIENT_AUTH} or {CLOUD_KEY} holds"
        raise ClarityError(f"{API}={api}: the server {wrong}") from None
    except (OSError, ValueError):
        return None
    return found if isinstance(found, str) and re.match(r"\d+\.\d+", found) else None


def _shown_by_settings() -> bool:
    """Whether Prefect's own settings (a profile, say) hold a secret that its client shows."""
    from prefect.settings import get_current_settings

    api = get_current_settings().api
    return api.auth_string is not None or api.key is not None


def address_file() -> Path:
    """Where a lasting server of this project (`make serve-flows`) says its address."""
    return home() / "server.json"


def key_file() -> Path:
    """Holds ``USER:PASSWORD`` of the servers that this project starts; readable by its owner."""
    return home() / "server.key"


def use_key() -> str:
    """The secret of this project's servers, made at first, now shown by this process's clients.

    Whoever may speak to a Prefect server may have its worker run any command. Without a secret
    that is every account of the machine, and every page open in a browser on it.
    """
    path = key_file()
    with FileLock(f"{path}.lock"):
        if not path.exists():
            descriptor, name = tempfile.mkstemp(prefix=".making-", dir=path.parent)  # mode 0600
            with os.fdopen(descriptor, "w") as handle:
                handle.write(f"clarity:{secrets.token_urlsafe(24)}")
            Path(name).replace(path)
    key = path.read_text().strip()
    os.environ[CLIENT_AUTH] = key
    return key


def running() -> str | None:
    """Address of the server to use, if one was named or is running in this project."""
    named = os.environ.get(API)
    try:
        own = str(read_json(address_file())["api"])
    except (OSError, ValueError, KeyError):
        own = None
    if own is not None and named in (None, "", own) and CLIENT_AUTH not in os.environ:
        use_key()
    if named:
        return named
    return own if own is not None and answers(own) else None


def free_port() -> int:
    """A port that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def check_port(port: int) -> None:
    """Refuse a port that a lasting server cannot have.

    Raises:
        ClarityError: something listens on it (another project's server, say), or it is no port.
    """
    try:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
    except (OSError, OverflowError) as error:
        why = str(error)
        if isinstance(error, OSError):
            why = error.strerror or why
        if answers(f"http://127.0.0.1:{port}/api"):
            why = "another Prefect server has it"
        raise ClarityError(
            f"port {port} of 127.0.0.1: {why}; choose another, say "
            f"`python -m pipelines.serve --port {free_port()}`"
        ) from None


def launch(port: int, *, lasting: bool) -> groups.Group:
    """Start a server on 127.0.0.1 that dies with this process; its output goes to a log file.

    A lasting one has the UI and the scheduler; the other only what a single run needs.
    """
    if lasting:
        command = [sys.executable, "-m", "prefect", "server", "start"]
        command += ["--host", "127.0.0.1", "--port", str(port)]
        env = {"PREFECT_SERVER_UI_API_URL": f"http://127.0.0.1:{port}/api"}
    else:
        command = [sys.executable, "-m", "uvicorn", "--factory"]
        command += ["prefect.server.api.server:create_app", "--host", "127.0.0.1"]
        command += ["--port", str(port), "--log-level", "error", "--lifespan", "on"]
        env = {
            "PREFECT_UI_ENABLED": "0",
            "PREFECT__SERVER_EPHEMERAL": "1",
            "PREFECT__SERVER_FINAL": "1",
        }
    env |= {SERVER_AUTH: use_key(), CORS: f"http://127.0.0.1:{port}"}
    with (home() / "server.log").open("ab") as log:
        return groups.start(command, "prefect server", env=env, output=log, service=True)


def wait_until_up(server: groups.Group, port: int) -> str:
    """Wait for a launched server and return its address.

    Raises:
        ClarityError: it ended, or was not there in time.
    """
    api = f"http://127.0.0.1:{port}/api"
    deadline = time.monotonic() + STARTUP_SECONDS
    while time.monotonic() < deadline:
        if server.process.poll() is not None:
            break
        if answers(api):
            return api
        time.sleep(0.1)
    server.stop()
    raise ClarityError(
        f"the Prefect server on port {port} did not start; {home() / 'server.log'} says why"
    )


@contextmanager
def available() -> Iterator[str]:
    """A server to run against, its address in ``PREFECT_API_URL``.

    Enter this before the first ``import prefect``, which reads the address.
    """
    api = running()
    if api is not None:
        os.environ[API] = reached(api, "start it, or unset the variable")
        watch_named(api)
        import httpx

        try:
            yield api
        except httpx.TransportError:
            print(f"clarity: {API}={api}: the Prefect server answers no more", file=sys.stderr)
            raise typer.Exit(1) from None
        return
    migrate_database()
    port = free_port()
    server = launch(port, lasting=False)
    os.environ[API] = api = f"http://127.0.0.1:{port}/api"
    # Importing costs some two seconds, in which the server starts.
    import prefect  # noqa: F401

    api = wait_until_up(server, port)
    threading.Thread(target=_watch, args=(server,), name="watch-server", daemon=True).start()
    # Prefect sends its last log lines while the interpreter ends, so the server is not stopped
    # here: it ends with this process, whose pipe its supervisor holds.
    yield api


def watch_named(api: str, patience: float = GONE_SECONDS, every: float = 5.0) -> None:
    """End this process, and first its stages, once a server has been silent for ``patience`` s.

    A restart is sat out. Prefect's client alone would try every call for minutes, one by one.
    """

    def watch() -> None:
        heard = time.monotonic()
        while time.monotonic() - heard < patience:
            time.sleep(every)
            if answers(api, timeout=max(every, min(20.0, patience))):
                heard = time.monotonic()
        groups.leave(
            f"{API}={api}: the Prefect server has not answered for {patience:g} s; run the same "
            "again when it does, it goes on"
        )

    threading.Thread(target=watch, name="watch-server", daemon=True).start()


def _watch(server: groups.Group) -> None:
    """End this process when its own server has ended: Prefect's client would try for minutes."""
    server.wait()
    log = home() / "server.log"
    groups.leave(f"the Prefect server of this run ended ({log}); run the same again, it goes on")
