"""The code, the parameters and the data that DVC records are the ones that ran."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from project import Project

from clarity.files import read_json, sha256_tree

CONV = "src/clarity/models/conv.py"
WEIGHTS = "models/conv-small-0/weights.safetensors"


def without_help(project: Project) -> Project:
    """The project as a user has it: nothing but the installed command says where the code is."""
    project.environment.pop("PYTHONPATH", None)
    return project


def other_network(project: Project) -> None:
    """Another activation in the convolutional models."""
    path = project.path / CONV
    text = path.read_text()
    assert "nn.ReLU" in text
    path.write_text(text.replace("nn.ReLU", "nn.ELU"))


@pytest.fixture
def elu(project: Project, tmp_path: Path) -> bytes:
    """Weights of the other network, as its own source trains them in a project of its own."""
    other = without_help(project.copy(tmp_path / "other"))
    other_network(other)
    other.run("dvc", "repro", "train@conv-small-0")
    return (other.path / WEIGHTS).read_bytes()


@pytest.mark.slow
def test_a_queued_experiment_runs_the_code_it_was_queued_with(project: Project, elu: bytes) -> None:
    without_help(project)
    before = (project.path / WEIGHTS).read_bytes()
    other_network(project)
    project.git("config", "user.email", "user@example.org")
    project.git("config", "user.name", "A User")
    project.run("dvc", "exp", "run", "--queue", "--name", "elu", "train@conv-small-0")
    project.git("checkout", "--quiet", "--", CONV)
    project.run("dvc", "queue", "start", "--jobs", "1")
    deadline = time.monotonic() + 240
    while "elu" not in project.run("dvc", "exp", "list", "--name-only").stdout.split():
        assert time.monotonic() < deadline, project.run("dvc", "queue", "status").stdout
        time.sleep(1)
    project.run("dvc", "exp", "apply", "elu")
    assert (project.path / WEIGHTS).read_bytes() == elu != before
    provenance = read_json(project.path / "models/conv-small-0/provenance.json")
    assert provenance["code"]["src/clarity/models"] == sha256_tree(
        project.path / "src/clarity/models"
    )


def test_a_worktree_runs_its_own_code(project: Project, elu: bytes, tmp_path: Path) -> None:
    without_help(project)
    project.git("worktree", "add", "--quiet", "-b", "elu", str(tmp_path / "tree"))
    tree = without_help(Project(tmp_path / "tree"))
    cache = project.path / ".dvc" / "cache"
    tree.run("dvc", "config", "--local", "cache.dir", str(cache))
    tree.run("dvc", "checkout")
    other_network(tree)
    tree.run("dvc", "repro", "train@conv-small-0")
    assert (tree.path / WEIGHTS).read_bytes() == elu
    # The shared run cache must not hand these weights out for the other code.
    (project.path / WEIGHTS).unlink()
    project.run("dvc", "repro", "train@conv-small-0")
    assert (project.path / WEIGHTS).read_bytes() != elu


def _edit_code(root: Path) -> None:
    with (root / CONV).open("a") as handle:
        handle.write("# A thought that came while it trained.\n")


def _edit_parameters(root: Path) -> None:
    path = root / "params.yaml"
    path.write_text(path.read_text().replace("weight_decay: 0.1", "weight_decay: 0.2"))


def _edit_data(root: Path) -> None:
    path = root / "data/processed/val.npy"
    os.utime(path)


@pytest.mark.parametrize(
    "edit",
    [
        _edit_code,
        pytest.param(_edit_parameters, marks=pytest.mark.slow),
        pytest.param(_edit_data, marks=pytest.mark.slow),
    ],
)
def test_what_changes_while_a_stage_runs_is_not_recorded(
    edit: Callable[[Path], None], project: Project
) -> None:
    project.change({"train": {"epochs": 12}})
    lock = (project.path / "dvc.lock").read_bytes()
    command = [sys.executable, "-m", "clarity", "train", "conv-small", "0"]
    process = subprocess.Popen(
        command, cwd=project.path, env=project.environment, stderr=subprocess.PIPE, text=True
    )
    checkpoints = project.path / ".checkpoints"
    stop = threading.Event()
    while not list(checkpoints.glob("*/progress/epoch-0001.png")) and not stop.wait(0.01):
        assert process.poll() is None
    edit(project.path)
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 2
    assert "changed while train ran" in errors
    assert "Traceback" not in errors
    assert (project.path / "dvc.lock").read_bytes() == lock


def test_pictures_that_arrive_during_ingest_are_not_taken_for_ingested(project: Project) -> None:
    from clarity.errors import ClarityError
    from clarity.inputs import unchanged

    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(project.path)
        said = pytest.raises(ClarityError, match=r"data/own/late\.png changed while ingest ran")
        with said, unchanged("ingest"):
            Path("data/own/late.png").write_bytes(b"x")
        with unchanged("ingest"):
            pass
