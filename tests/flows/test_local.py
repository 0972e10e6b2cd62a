"""`python -m pipelines.reproduce --no-prefect`: several stages at once by DVC alone."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import toy
from test_reproduce import DVC, outputs, started
from tools import Run, alive_with, environment, until

from pipelines.processes.home import cores, memory
from pipelines.stages.at_once import EACH

LOCALLY = (sys.executable, "-m", "pipelines.reproduce", "--no-prefect")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A toy project with nothing run yet; nothing of Prefect is there."""
    return toy.make(tmp_path / "project")


def spans(log: Path) -> dict[str, tuple[float, float]]:
    """When each stage started and ended."""
    lines = [line.split() for line in log.read_text().splitlines()]
    at = {(what, name): float(moment) for what, name, _, moment in lines}
    return {name: (at["start", name], at["end", name]) for what, name in at if what == "end"}


def test_two_at_once_end_as_dvc_repro_does(project: Path, run: Run, tmp_path: Path) -> None:
    twin = toy.make(tmp_path / "twin")
    subprocess.run([*DVC, "repro", "-q"], cwd=twin, env=environment(), check=True)
    graph = project / "dvc.yaml"
    graph.write_text(graph.read_text().replace("seconds: 0.1", "seconds: 4"))
    log = tmp_path / "log"

    first = run(*LOCALLY, "--max-parallel", "2", TOY_LOG=str(log))
    assert first.returncode == 0, first.stderr
    assert "stages to run: 7, 2 at once" in first.stdout
    small, medium = (spans(log)[f"train@fcn-{size}-0"] for size in ("small", "medium"))
    assert small[0] < medium[1]
    assert medium[0] < small[1]
    graph.write_text(graph.read_text().replace("seconds: 4", "seconds: 0.1"))
    assert run(*LOCALLY).returncode == 0
    assert outputs(project) == outputs(twin)
    assert run(*LOCALLY).stdout.strip() == "nothing to do: every stage is up to date"
    assert not (project / ".prefect" / "prefect.db").exists()


@pytest.mark.slow
def test_a_lock_torn_by_a_kill_is_put_back_and_a_merges_is_left(
    project: Path, run: Run, tmp_path: Path
) -> None:
    twin = toy.make(tmp_path / "twin")
    subprocess.run([*DVC, "repro", "-q"], cwd=twin, env=environment(), check=True)
    log, lock = tmp_path / "log", project / "dvc.lock"
    assert run(*LOCALLY, "--max-parallel", "2").returncode == 0
    whole = lock.read_text()

    lock.write_text(f"<<<<<<< HEAD\n{whole}")
    refused = run(*LOCALLY)
    assert refused.returncode == 2
    assert "dvc.lock" in refused.stderr
    assert lock.read_text() == f"<<<<<<< HEAD\n{whole}"

    half = whole[: whole.rindex("md5:") + 2]
    lock.write_text(half)
    again = run(*LOCALLY, "--max-parallel", "2", TOY_LOG=str(log))
    assert again.returncode == 0, again.stderr
    assert "dvc.lock was torn by a kill" in again.stderr
    assert (project / ".dvc" / "tmp" / "torn.lock").read_text() == half
    assert not log.exists() or set(started(log)) <= {"publish"}, "the others were done"
    assert outputs(project) == outputs(twin)


def test_by_default_as_many_as_cores_and_a_gpus_memory_have_room_for(
    project: Path, run: Run, tmp_path: Path
) -> None:
    (project / "fail").write_text("train@fcn-small-0")
    assert (
        f"{max(1, min(cores(), memory() // EACH))} at once"
        in run(*LOCALLY, "--stage", "train").stdout
    )
    # A driver's answer, in MiB: a GPU with room for one.
    driver = tmp_path / "bin" / "nvidia-smi"
    driver.parent.mkdir()
    driver.write_text("#!/bin/sh\necho 3012\necho 81079\n")
    driver.chmod(0o755)
    path = os.pathsep.join([str(driver.parent), os.environ["PATH"]])
    assert "1 at once" in run(*LOCALLY, "--stage", "train", PATH=path).stdout


def test_a_failed_stage_holds_back_its_own_branch_only(
    project: Path, run: Run, tmp_path: Path
) -> None:
    (project / "fail").write_text("train@fcn-medium-0")
    log = tmp_path / "log"
    result = run(*LOCALLY, "--max-parallel", "2", TOY_LOG=str(log))
    assert result.returncode == 1
    assert result.stderr.strip().splitlines() == [
        "clarity: train@fcn-medium-0 failed: images.npy: row 7 is not an image; remove it "
        "(exit code 1) (3 stages behind it were not run)"
    ]
    assert started(log).count("train@fcn-medium-0") == 1
    assert "evaluate@fcn-small-0" in started(log)
    assert "compare" not in started(log)


def test_two_beside_each_other_both_end_well(project: Path, tmp_path: Path) -> None:
    log = tmp_path / "log"
    env = environment(TOY_LOG=str(log))
    both = [
        subprocess.Popen(
            LOCALLY, cwd=project, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        for _ in range(2)
    ]
    said = [one.communicate(timeout=120) for one in both]
    assert [one.returncode for one in both] == [0, 0], said
    assert not any(b"Traceback" in err for _, err in said)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_no_stage_outlives_it_and_the_same_command_goes_on(
    project: Path, run: Run, tmp_path: Path, number: int
) -> None:
    text = (project / "dvc.yaml").read_text()
    (project / "dvc.yaml").write_text(text.replace("seconds: 0.1", "seconds: 60"))
    log = tmp_path / "log"
    env = environment(TOY_LOG=str(log))
    with open(os.devnull, "wb") as nobody:
        running = subprocess.Popen(LOCALLY, cwd=project, env=env, stdout=nobody, stderr=nobody)
    until(lambda: started(log), 60, "the first stage starts")
    running.send_signal(number)
    assert running.wait(30) != 0
    until(lambda: not alive_with("toy.py ingest"), 10, "no stage is left")
    (project / "dvc.yaml").write_text(text)
    again = run(*LOCALLY, "--stage", "train@fcn-small-0")
    assert again.returncode == 0, again.stderr
    assert run(*DVC, "status", "-q", "train@fcn-small-0").returncode == 0


def test_on_a_terminal_a_bar_shows_each_stage_that_runs(project: Path) -> None:
    ours, theirs = pty.openpty()
    script = (project / "toy.py").read_text()
    spoken = 'print(f"train: toy: epoch {epoch} of 4, val MSE 0.01", flush=True)'
    (project / "toy.py").write_text(script.replace('print(f"epoch {epoch}/4", flush=True)', spoken))
    env = environment(TERM="xterm", COLUMNS="120")
    command = [*LOCALLY, "--stage", "train"]
    with subprocess.Popen(command, cwd=project, env=env, stdout=theirs, stderr=theirs) as running:
        os.close(theirs)
        seen = b""
        while True:
            try:
                seen += os.read(ours, 65536)
            except OSError:  # how Linux says that nobody holds the other end
                break
    assert running.returncode == 0
    text = seen.decode()
    assert "train@fcn-small-0" in text
    assert "val MSE 0.01" in text
    assert "3 of 3" in text
    assert "epoch" not in text, "epochs move the bar, and are not printed as well"
