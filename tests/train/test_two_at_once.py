"""A stage ends with the DVC that started it, and one of a name is at work at a time."""

from __future__ import annotations

import signal
import subprocess
import time
from contextlib import suppress

import psutil
import pytest
from project import Project

from clarity.files import sha256_tree

MODEL = "fcn-small"
STAGE = f"train@{MODEL}-0"


def long_training(project: Project) -> Project:
    """Some seconds of work: a stage looks for its DVC twice a second, and must not end before."""
    project.change({"models": {MODEL: {"train": {"epochs": 20}}}})
    return project


def start(project: Project, *command: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        command,
        cwd=project.path,
        env=project.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def until_saved(project: Project, process: subprocess.Popen[str]) -> psutil.Process:
    """Wait for a checkpoint; the training's own process."""
    while True:
        assert process.poll() is None, process.communicate()[0]
        with suppress(psutil.Error):
            parent = psutil.Process(process.pid)
            for one in (parent, *parent.children(recursive=True)):
                saved = list(project.path.glob(".checkpoints/*/checkpoint.safetensors"))
                if saved and {"train", MODEL} <= set(one.cmdline()):
                    return one
        time.sleep(0.01)


def outputs(project: Project) -> str:
    return sha256_tree(project.path / "models" / f"{MODEL}-0")


@pytest.fixture(scope="module")
def expected(finished: Project, tmp_path_factory: pytest.TempPathFactory) -> str:
    """What an undisturbed run gives."""
    twin = long_training(finished.copy(tmp_path_factory.mktemp("twin") / "project"))
    twin.run("dvc", "repro", "-s", STAGE)
    return outputs(twin)


def test_a_stage_ends_with_its_dvc_and_the_next_run_gives_the_same_bytes(
    project: Project, expected: str
) -> None:
    long_training(project)
    command = ("dvc", "repro", "-s", STAGE)
    for last in (False, True):
        dvc = start(project, *command)
        orphan = until_saved(project, dvc)
        dvc.send_signal(signal.SIGKILL)
        dvc.wait()
        # The next one starts at once, while the orphan is still there.
        again = start(project, *command)
        orphan.wait(30)
        if not last:
            again.send_signal(signal.SIGKILL)
            again.wait()
    said, _ = again.communicate(timeout=300)
    assert again.returncode == 0, said
    assert "going on after epoch" in said, said
    assert outputs(project) == expected
    assert "up to date" in project.run("dvc", "status", STAGE).stdout
    assert not any(path.is_dir() for path in (project.path / ".checkpoints").iterdir())


def test_a_second_training_says_for_whom_it_waits(project: Project, expected: str) -> None:
    long_training(project)
    both = [start(project, "clarity", "train", MODEL, "0") for _ in range(2)]
    told = [process.communicate(timeout=300)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0], told
    # Whichever came second names the other.
    names = [f"{MODEL}-0 is being trained by process {process.pid} since " for process in both]
    assert [names[1] in told[0], names[0] in told[1]].count(True) == 1, told
    assert outputs(project) == expected


def test_a_stage_waits_for_one_that_was_left_behind(project: Project) -> None:
    """Of a killed DVC, on a machine so busy that it does not come to an end yet."""
    raw = project.path / "data/raw"
    before = sha256_tree(raw)
    command = ("dvc", "repro", "-s", "-f", "ingest")
    dvc = start(project, *command)
    orphan = None
    while orphan is None:
        assert dvc.poll() is None, dvc.communicate()[0]
        with suppress(psutil.Error):
            for one in psutil.Process(dvc.pid).children(recursive=True):
                if "ingest" in one.cmdline() and any(raw.glob(".*.tmp*")):
                    one.suspend()
                    orphan = one
        time.sleep(0.001)
    dvc.send_signal(signal.SIGKILL)
    dvc.wait()
    again = start(project, *command)
    time.sleep(4)
    assert again.poll() is None
    orphan.resume()
    said, _ = again.communicate(timeout=300)
    assert again.returncode == 0, said
    assert f"ingest is still run by process {orphan.pid} since " in said
    assert sha256_tree(raw) == before
    assert "up to date" in project.run("dvc", "status", "ingest").stdout
