"""One training by several processes: what one process makes, up to the order of sums."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import load_file
from tiny import ROOT, Change, rows

from clarity.errors import ClarityError
from clarity.files import read_json, sha256_tree
from clarity.layout import CHECKPOINTS, Training
from clarity.params import load_params
from clarity.train.parallel import Team


def start(name: str, *before: str) -> subprocess.Popen[str]:
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, "-m", *before, "clarity", "train", name, "0"],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def saved(name: str) -> subprocess.Popen[str]:
    """Start it, and wait for its first checkpoint."""
    process = start(name)
    while process.poll() is None and not list(CHECKPOINTS.glob("*/checkpoint.safetensors")):
        time.sleep(0.01)
    return process


def trained(name: str, *before: str) -> dict[str, np.ndarray]:
    """Train it; its weights, by name."""
    process = start(name, *before)
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    return {key: value.numpy() for key, value in load_file(Training(name, 0).weights).items()}


def test_every_image_has_its_place_in_one_share_alone() -> None:
    for count in (0, 1, 2, 5, 30):
        shares = [Team(rank, 3).share(count) for rank in range(3)]
        assert [n for share in shares for n in range(count)[share]] == list(range(count))


@pytest.mark.parametrize("name", ["conv", pytest.param("vae", marks=pytest.mark.slow)])
def test_two_processes_train_what_one_does(name: str, change: Change) -> None:
    # 20 images in batches of 19: in the last of one image the first process has none.
    change(batch_size=19, noise=0.1, optimizer="muon" if name == "conv" else "adamw")
    alone, curves = trained(name), rows(name)
    provenance = read_json(Training(name, 0).provenance)
    change(name, processes=2)
    once = trained(name)
    first = sha256_tree(Training(name, 0).directory)
    for key, value in alone.items():
        np.testing.assert_allclose(once[key], value, rtol=1e-3, atol=2e-5, err_msg=key)
    assert [row["val_mse"] for row in rows(name)] == pytest.approx(
        [row["val_mse"] for row in curves], rel=1e-4
    )
    both = read_json(Training(name, 0).provenance)
    assert both["processes"] == 2
    assert both["fingerprint"] != provenance["fingerprint"]
    trained(name)
    assert sha256_tree(Training(name, 0).directory) == first


@pytest.mark.slow
def test_torchrun_starts_them_as_well(change: Change) -> None:
    change("conv", processes=2)
    here = trained("conv")
    by_torch = trained("conv", "torch.distributed.run", "--nproc-per-node", "2", "-m")
    for key, value in here.items():
        np.testing.assert_array_equal(by_torch[key], value)


@pytest.mark.slow
@pytest.mark.parametrize(("before", "after"), [(2, 1), (1, 2)])
def test_a_checkpoint_goes_on_under_another_number(before: int, after: int, change: Change) -> None:
    change("conv", processes=before, epochs=150, patience=150)
    process = saved("conv")
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 128 + signal.SIGTERM, errors
    change("conv", processes=after)
    process = start("conv")
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    assert "going on after epoch" in errors
    assert rows("conv")[-1]["epoch"] == 150
    assert not [path for path in CHECKPOINTS.iterdir() if path.is_dir()]


def test_one_that_is_killed_ends_the_others_and_keeps_the_checkpoint(change: Change) -> None:
    change("conv", processes=2, epochs=4000, patience=4000)
    process = saved("conv")
    listed = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    assert len(listed) == 1
    os.kill(int(listed[0]), signal.SIGKILL)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 2
    assert errors.count("clarity: process 1 of 2 lost the others") == 1
    assert "Traceback" not in errors
    assert list(CHECKPOINTS.glob("*/checkpoint.safetensors"))


def test_another_number_than_was_started_is_refused(
    change: Change, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "3")
    monkeypatch.setenv("RANK", "0")
    change("conv", processes=2)
    process = start("conv")
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 2
    assert "3 processes were started, params.yaml: models.conv.processes says 2" in errors


def test_a_pca_is_fitted_by_one(change: Change) -> None:
    change("pca", processes=2)
    with pytest.raises(ClarityError, match=r"models\.pca: processes is for what is trained"):
        load_params()
