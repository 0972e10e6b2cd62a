"""The supervisor leaves nothing behind, however the command or its starter ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
import uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import psutil
import pytest
from tools import alive_with, environment, until

from clarity.files import write_json
from clarity.processes import alive, identity
from pipelines.processes import groups, supervise

# A stage that forks a child into a session of its own, out of reach of its process group's signals.
FORKING = """
import subprocess, sys, time
subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)", sys.argv[1]],
                 start_new_session=True)
subprocess.Popen([sys.executable, "-c",
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(60)",
    sys.argv[1]])
open(sys.argv[2], "w").close()
time.sleep(float(sys.argv[3]))
"""


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def forking(tmp_path: Path, seconds: float) -> tuple[list[str], str, Path]:
    mark, ready = uuid.uuid4().hex, tmp_path / "ready"
    return [sys.executable, "-c", FORKING, mark, str(ready), str(seconds)], mark, ready


def test_exit_code_and_output_pass_through_line_by_line() -> None:
    group = groups.start(["sh", "-c", "echo one; echo two >&2; exit 3"], "x")
    assert list(group.lines()) == ["one", "two"]
    assert group.wait() == 3


def test_what_a_finished_command_left_running_is_ended(tmp_path: Path, home: Path) -> None:
    command, mark, ready = forking(tmp_path, 0)
    group = groups.start(command, "x", grace=0.3)
    assert group.wait() == 0
    assert ready.exists()
    assert not alive_with(mark)
    assert not list((home / "groups").iterdir())


def test_time_out_kills_children_that_ignore_sigterm_or_left_the_group(tmp_path: Path) -> None:
    command, mark, _ = forking(tmp_path, 60)
    group = groups.start(command, "x", timeout=1.5, grace=0.3)
    assert group.wait() == supervise.TIMED_OUT
    assert not alive_with(mark)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_killing_the_starter_ends_the_command_at_once(tmp_path: Path, number: int) -> None:
    command, mark, ready = forking(tmp_path, 60)
    code = "from pipelines.processes import groups; "
    code += f"groups.start({command!r}, 'x', grace=0.3).wait()"
    starter = subprocess.Popen([sys.executable, "-c", code], env=environment())
    until(ready.exists)
    starter.send_signal(number)
    starter.wait()
    until(lambda: not alive_with(mark), 5, "children of the killed starter")


def test_killing_the_supervisor_too_is_noticed_by_the_starter(tmp_path: Path) -> None:
    command, mark, ready = forking(tmp_path, 60)
    group = groups.start(command, "x", grace=0.3)
    until(ready.exists)
    group.process.kill()
    assert group.wait() == 128 + signal.SIGKILL
    until(lambda: not alive_with(mark), 5, "children of the killed supervisor")


def test_the_next_start_ends_what_outlived_starter_and_supervisor(home: Path) -> None:
    token = uuid.uuid4().hex
    orphan = subprocess.Popen(["sleep", "60"], env={**os.environ, groups.TOKEN: token})
    dead = subprocess.Popen(["true"])
    dead.wait()
    owner = {**identity(), "pid": dead.pid, "started": time.time()}
    write_json(home / "groups" / f"{token}.json", {"token": token, "name": "train@a-0", **owner})
    assert groups.reap() == ["train@a-0"]
    assert orphan.wait(5) == -signal.SIGKILL
    assert groups.reap() == []


def test_a_step_of_the_clock_makes_no_living_process_another() -> None:
    mine = identity()
    stepped = {**mine, "started": float(mine["started"]) + 3600}
    assert alive(mine)
    assert alive(stepped)
    assert not alive({**mine, "since_boot": str(mine["since_boot"]) + "0"})
    before = {key: value for key, value in mine.items() if key != "since_boot"}
    assert alive(before)  # a record from before is judged by the clock, as it was
    assert not alive({**before, "started": stepped["started"]})


def test_the_next_start_leaves_commands_of_a_live_owner_alone(home: Path) -> None:
    group = groups.start(["sleep", "60"], "x")
    assert groups.reap() == []
    assert psutil.pid_exists(group.process.pid)
    group.stop()
    assert group.wait() >= 128


def test_a_named_server_that_is_gone_ends_the_run_and_a_restart_does_not(tmp_path: Path) -> None:
    """The client alone would try each of its calls for minutes."""
    program = """
import sys, time
from pipelines.processes import groups, server
groups.start(["sh", "-c", f"sleep 60 # {sys.argv[2]}"], "stage", output=2)
server.watch_named(sys.argv[1], patience=3, every=0.2)
open(sys.argv[3], "w").close()
time.sleep(60)
"""

    class Health(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    def serve(port: int) -> ThreadingHTTPServer:
        server = ThreadingHTTPServer(("127.0.0.1", port), Health)
        threading.Thread(target=server.serve_forever, args=(0.05,)).start()
        return server

    def close(server: ThreadingHTTPServer) -> None:
        server.shutdown()
        server.server_close()

    first = serve(0)
    port, mark, ready = first.server_port, uuid.uuid4().hex, tmp_path / "ready"
    api = f"http://127.0.0.1:{port}/api"
    run = subprocess.Popen(
        [sys.executable, "-c", program, api, mark, str(ready)],
        env=environment(PREFECT_HOME=os.environ["PREFECT_HOME"]),
        stderr=subprocess.PIPE,
        text=True,
    )
    until(ready.exists, 60, "the run watches its server")
    close(first)
    time.sleep(0.5)
    again = serve(port)
    time.sleep(4)
    assert run.poll() is None, "a restart is sat out"
    close(again)
    _, said = run.communicate(timeout=30)
    assert run.returncode == 1
    assert said.splitlines()[-1].startswith(f"clarity: PREFECT_API_URL={api}: the Prefect server")
    until(lambda: not alive_with(mark), 10, "its stage has ended")
