"""A store that may not be written: what is trained stays trained, what only reads goes on."""

from __future__ import annotations

import ctypes
import re
import signal
import subprocess
from pathlib import Path

import numpy as np
import pytest
from project import Project


def powerless() -> None:
    """In the child: root, too, may write only where permissions say so."""
    for capability in (1, 2):  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
        ctypes.CDLL(None).prctl(24, capability, 0, 0, 0)  # PR_CAPBSET_DROP


def forbid(root: Path) -> None:
    for path in (root, *root.rglob("*")):
        path.chmod(0o555 if path.is_dir() else 0o444)


@pytest.fixture
def locked(project: Project) -> Project:
    """A project with a champion whose mlruns/ is read-only."""
    project.run("clarity", "promote")
    np.save(project.path / "new.npy", np.load(project.path / "data/processed/test.npy")[:3])
    forbid(project.path / "mlruns")
    return project


@pytest.mark.slow
def test_a_read_only_store_fails_no_training_no_score_and_no_server(locked: Project) -> None:
    def run(*command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command,
            cwd=locked.path,
            env=locked.environment,
            preexec_fn=powerless,
            capture_output=True,
            text=True,
        )

    refused = run("touch", "mlruns/x")
    assert refused.returncode, "permissions do not hold here"
    trained = run("clarity", "train", "fcn-small", "0")
    assert trained.returncode == 0, trained.stderr
    assert "mlruns/timings/fcn-small-0.json: not written (Permission denied)" in trained.stderr
    evaluated = run("clarity", "evaluate", "fcn-small", "0")
    assert evaluated.returncode == 0, evaluated.stderr
    scored = run("clarity", "score", "new.npy")
    assert scored.returncode == 0, scored.stderr
    assert "3 images scored" in scored.stderr

    command = ["clarity", "serve", "--port", "0"]
    with subprocess.Popen(
        command,
        cwd=locked.path,
        env=locked.environment,
        preexec_fn=powerless,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as server:
        assert server.stdout
        line = server.stdout.readline()
        server.send_signal(signal.SIGINT)
        said = server.communicate(timeout=60)[1]
    assert re.search(r"version \d+ \(.*\): POST http://127", line), said
    refused = run("clarity", "publish")
    assert refused.returncode == 2
    assert len(refused.stderr.strip().splitlines()) == 1, refused.stderr
