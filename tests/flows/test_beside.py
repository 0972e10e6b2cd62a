"""A flow beside a plain ``dvc repro``, and one whose named server is killed in mid-flow."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import toy
from test_reproduce import DVC, FLOW, outputs, started
from tools import Run, alive_with, environment, until


@pytest.mark.slow
def test_a_flow_beside_dvc_repro_waits_and_both_end_well(
    project: Path, run: Run, server: str, tmp_path: Path
) -> None:
    twin = toy.make(tmp_path / "twin")
    subprocess.run([*DVC, "repro", "-q"], cwd=twin, env=environment(), check=True)
    graph = (project / "dvc.yaml").read_text()
    (project / "dvc.yaml").write_text(graph.replace("seconds: 0.1", "seconds: 0.6"))
    log = tmp_path / "log"
    with (tmp_path / "dvc.out").open("wb") as out:
        env = environment(TOY_LOG=str(log))
        plain = subprocess.Popen([*DVC, "repro"], cwd=project, env=env, stdout=out, stderr=out)
    until(lambda: started(log), 60, "the first stage starts")
    flow = run(*FLOW, TOY_LOG=str(log), PREFECT_API_URL=server)
    assert flow.returncode == 0, flow.stderr
    assert "DVC is at work here (PID " in flow.stderr
    plain.wait(120)
    assert run(*DVC, "status", "-q").returncode == 0
    found = {k: v for k, v in outputs(project).items() if k != "dvc.lock"}
    assert found == {k: v for k, v in outputs(twin).items() if k != "dvc.lock"}


@pytest.mark.slow
def test_a_named_server_killed_in_mid_flow_ends_the_run_in_a_line(
    project: Path, template: Path, tmp_path: Path
) -> None:
    from pipelines.processes.server import answers, free_port

    home, port, log = tmp_path / "server", free_port(), tmp_path / "log"
    shutil.copytree(template, home)
    command = [sys.executable, "-m", "prefect", "server", "start"]
    command += ["--host", "127.0.0.1", "--port", str(port)]
    env = environment(PREFECT_HOME=str(home))
    graph = (project / "dvc.yaml").read_text()
    (project / "dvc.yaml").write_text(graph.replace("seconds: 0.1", "seconds: 400"))
    with (home / "log").open("wb") as out:
        server = subprocess.Popen(command, env=env, stdout=out, stderr=out)
    api = f"http://127.0.0.1:{port}/api"
    until(lambda: answers(api), 180, "the server answers")
    flow = subprocess.Popen(
        FLOW,
        cwd=project,
        env=environment(TOY_LOG=str(log), PREFECT_API_URL=api),
        stderr=subprocess.PIPE,
        text=True,
    )
    until(lambda: started(log), 120, "the first stage starts")
    server.send_signal(signal.SIGKILL)
    server.wait()
    said = flow.communicate(timeout=180)[1]
    assert flow.returncode == 1
    own = [line for line in said.splitlines() if line.startswith("clarity: ")]
    assert len(own) == 1, said
    assert own[0].startswith(f"clarity: PREFECT_API_URL={api}: the Prefect server")
    assert "Traceback" not in said, said
    until(lambda: not alive_with("toy.py ingest"), 20, "its stage has ended")
