"""A stage ends with the DVC that started it, and one training is at work at a time."""

from __future__ import annotations

import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from project import Project

from clarity.files import sha256_tree

MODEL = "fcn-small"
STAGE = f"train@{MODEL}-0"


def long_training(project: Project) -> Project:
    """Some seconds of work, so that there is something to cut off."""
    project.change({"train": {"epochs": 150, "grids": 4}})
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


@pytest.fixture
def expected(finished: Project, tmp_path: Path) -> str:
    """What an undisturbed run gives."""
    twin = long_training(finished.copy(tmp_path / "twin"))
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
    assert "going on after epoch" in said
    assert outputs(project) == expected
    assert "up to date" in project.run("dvc", "status", STAGE).stdout
    assert not any(path.is_dir() for path in (project.path / ".checkpoints").iterdir())


def test_a_second_training_says_for_whom_it_waits(project: Project, expected: str) -> None:
    long_training(project)
    first = start(project, "clarity", "train", MODEL, "0")
    until_saved(project, first)
    second = start(project, "clarity", "train", MODEL, "0")
    told = [process.communicate(timeout=300)[0] for process in (first, second)]
    assert [first.returncode, second.returncode] == [0, 0], told
    line = f"clarity: {MODEL}-0 is being trained by process {first.pid} since "
    assert [line in said for said in told] == [False, True]
    assert outputs(project) == expected
