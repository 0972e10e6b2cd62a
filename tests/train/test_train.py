"""Stage ``train``: its outputs, its determinism, and that a kill costs nothing but time."""

from __future__ import annotations

import itertools
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from data_helpers import SHAPE
from PIL import Image
from safetensors.torch import load_file
from tiny import MODELS, Change, rows

import clarity
from clarity.errors import ClarityError
from clarity.files import read_json, sha256_tree
from clarity.layout import CHECKPOINTS, Training
from clarity.models.base import to_input, to_unit
from clarity.models.build import build, load
from clarity.models.flops import gflop_per_image
from clarity.params import load_params
from clarity.train.fingerprint import fingerprint
from clarity.train.listener import NullListener
from clarity.train.stage import train
from pipelines.processes.runs import told
from pipelines.stages.stage import EPOCH


@pytest.mark.parametrize("name", MODELS)
def test_every_family_writes_what_the_contract_says_twice_the_same(
    name: str, change: Change
) -> None:
    heard: list[str] = []

    class Listener:
        def started(self, provenance: Mapping[str, Any]) -> None:
            heard.append(f"started {provenance['fingerprint']}")

        def epoch(self, row: Mapping[str, float], images_per_second: float) -> None:
            heard.append(f"epoch {row['epoch']}")

        def picture(self, epoch: int, path: Path) -> None:
            assert path.is_file()
            heard.append(f"picture {epoch}")

        def finished(self, training: Training) -> None:
            assert training.weights.is_file()
            heard.append("finished")

    training = Training(name, 0)
    train(name, 0, Listener())
    last = 1 if name == "pca" else 3
    curves = rows(name)
    parts = {f"{s}_{p}_nats" for s in ("train", "val") for p in ("recon", "kl")}
    columns = {"epoch", "step", "learning_rate", "train_mse", "val_mse"}
    assert set(curves[0]) == columns | (parts if name == "vae" else set())
    assert list(curves[0])[:5] == ["epoch", "step", "learning_rate", "train_mse", "val_mse"]
    assert [row["epoch"] for row in curves] == list(range(last + 1))
    assert curves[-1]["step"] == (1 if name == "pca" else 9)

    best = min(curves[1:], key=lambda row: row["val_mse"])
    network, x = load(training.directory), to_input(np.load("data/processed/val.npy"))
    with torch.no_grad():
        mse = (to_unit(network(x)) - to_unit(x)).square().mean().item()
    assert mse == pytest.approx(best["val_mse"], rel=1e-4)
    assert best["val_mse"] < curves[0]["val_mse"]

    grids = sorted(path.name for path in training.progress.iterdir())
    assert {"epoch-0000.png", f"epoch-{best['epoch']:04.0f}.png"} <= set(grids)
    assert Image.open(training.progress / grids[0]).size == (8 * 132, 2 * 132)

    provenance = read_json(training.provenance)
    assert heard[0] == f"started {provenance['fingerprint']}"
    assert heard[-1] == "finished"
    assert [h for h in heard if h.startswith("epoch")] == [f"epoch {e}" for e in range(last + 1)]
    assert {h.split()[1] for h in heard if h.startswith("picture")} == {
        str(int(grid[6:10])) for grid in grids
    }
    assert str(Path.cwd()) not in training.provenance.read_text()
    timings = read_json(training.timings)
    assert timings["images_per_second"] > 0
    assert timings["peak_memory_bytes"] > 0
    assert not any(CHECKPOINTS.iterdir())

    before = sha256_tree(training.directory)
    shutil.rmtree(training.directory)
    train(name, 0)
    assert sha256_tree(training.directory) == before


@pytest.mark.parametrize(("compute_epochs", "steps"), [(7, 21), (1.4, 9)])
def test_one_training_keeps_the_weights_of_both_budgets(
    compute_epochs: float, steps: int, change: Change
) -> None:
    """Where a budget ends must not change what the other one keeps."""
    training = Training("conv", 0)
    train("conv", 0)
    alone = training.weights.read_bytes()
    assert not load_file(training.same_compute)
    assert read_json(training.description)["budgets"]["compute"] is None
    spec = load_params().model("conv")
    gflop = gflop_per_image(build(spec, "conv", SHAPE), load_params().recipe("conv"))

    change(compute=compute_epochs * gflop)
    train("conv", 0)
    assert training.weights.read_bytes() == alone
    found = read_json(training.description)["budgets"]
    assert rows("conv")[-1]["step"] == steps
    assert found["alike"]["epochs"] == 3
    assert found["compute"]["epochs"] == pytest.approx(compute_epochs, abs=0.2)
    assert found["compute"]["epoch"] <= found["compute"]["epochs"]
    network, x = load(training.directory), to_input(np.load("data/processed/val.npy"))
    network.load_state_dict(load_file(training.same_compute))
    with torch.no_grad():
        mse = (to_unit(network(x)) - to_unit(x)).square().mean().item()
    assert mse == pytest.approx(found["compute"]["val_mse"], rel=1e-4)
    assert (found["compute"]["val_mse"] < found["alike"]["val_mse"]) == (compute_epochs > 3)


def test_the_best_epoch_counts_and_patience_ends_the_training(change: Change) -> None:
    # Beyond the first steps, this rate only destroys.
    change(epochs=40, learning_rate=0.3, patience=2, warmup=0.0, average=0.0)
    train("fcn", 0)
    curves = rows("fcn")
    best = min(curves[1:], key=lambda row: row["val_mse"])
    assert curves[-1]["epoch"] == best["epoch"] + 2 < 40
    assert (Training("fcn", 0).progress / f"epoch-{best['epoch']:04.0f}.png").is_file()


def test_whoever_follows_it_is_told_every_epoch(
    change: Change, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    train("conv", 0)
    quiet = capsys.readouterr().out.splitlines()
    assert len(quiet) == 1, "the result"
    for name, value in told("a run").items():
        monkeypatch.setenv(name, value)
    train("conv", 0)
    *epochs, result = capsys.readouterr().out.splitlines()
    found = [EPOCH.match(line) for line in epochs]
    assert [one and one.group(1, 2) for one in found] == [(str(k), "3") for k in range(4)]
    assert not EPOCH.match(result)


def test_divergence_stops_in_one_line_and_writes_nothing(change: Change) -> None:
    change(learning_rate=1e30, warmup=0.0)
    with pytest.raises(
        ClarityError, match=r"diverged at step \d+, learning rate \S+e\+\d+:"
    ) as raised:
        train("vae", 0)
    assert "\n" not in str(raised.value)
    assert "last good validation MSE" in str(raised.value)
    assert "lower models.vae.train.learning_rate" in str(raised.value)
    assert not Path("models").exists()
    assert not any(CHECKPOINTS.iterdir())


def test_bad_requests_are_one_line(change: Change) -> None:
    with pytest.raises(ClarityError, match=r"models\.nope does not exist"):
        train("nope", 0)
    with pytest.raises(ClarityError, match="7 is not listed"):
        train("fcn", 7)
    change(precision="bf16")
    with pytest.raises(ClarityError, match=r"train\.precision: bf16 needs a GPU"):
        train("fcn", 0)
    assert not Path("models").exists()


def test_the_fingerprint_follows_what_shapes_the_training_and_nothing_else(
    change: Change, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As if the package had been imported from this project.
    monkeypatch.setattr(clarity, "__file__", str(Path("src/clarity/__init__.py").resolve()))

    def current(model: str = "fcn", seed: int = 0) -> str:
        found = fingerprint(load_params(), model, seed, torch.device("cpu"), "fp32")
        return str(found["fingerprint"])

    start = current()
    assert current() == start
    assert len({start, current(seed=1), current("conv")}) == 3
    text = Path("params.yaml").read_text()
    Path("params.yaml").write_text(text.replace("resamples: 10000", "resamples: 500"))
    Path("src/clarity/compare/new.py").write_text("")
    assert current() == start
    Path("src/clarity/train/__pycache__").mkdir()
    Path("src/clarity/train/__pycache__/x.pyc").write_bytes(b"x")
    assert current() == start

    change(epochs=4)
    longer = current()
    Path("src/clarity/train/new.py").write_text("")
    coded = current()
    np.save("data/processed/val.npy", np.load("data/processed/val.npy")[:5])
    assert len({start, longer, coded, current()}) == 4


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_killed_training_goes_on_to_the_same_bytes(change: Change) -> None:
    """SIGKILL, then SIGTERM, then to the end, all through the command line."""
    change(optimizer="muon")  # which leaves biases to AdamW: both are kept
    params = load_params()
    gflop = gflop_per_image(build(params.model("vae"), "vae", SHAPE), params.recipe("vae"))
    change(epochs=24, compute=36 * gflop, patience=36)
    training = Training("vae", 0)
    environment = os.environ | {
        "PYTHONPATH": str(Path("src").resolve()),
        "OMP_NUM_THREADS": "1",
    }
    command = [sys.executable, "-m", "clarity", "train", "vae", "0"]

    def start() -> subprocess.Popen[str]:
        return subprocess.Popen(
            command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def kill(kind: signal.Signals) -> tuple[int, str]:
        """Start it, send ``kind`` once it has saved a checkpoint, and wait."""
        before = {path: path.stat().st_mtime_ns for path in CHECKPOINTS.glob("*/*.safetensors")}
        process = start()
        while process.poll() is None:
            now = {p: p.stat().st_mtime_ns for p in CHECKPOINTS.glob("*/checkpoint.safetensors")}
            if now and now != before:
                process.send_signal(kind)
                break
            time.sleep(0.005)
        _, errors = process.communicate(timeout=300)
        assert not training.weights.exists()
        return process.returncode, errors

    process = start()
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    assert "going on" not in errors
    expected = sha256_tree(training.directory)
    shutil.rmtree(training.directory)

    assert kill(signal.SIGKILL)[0] == -signal.SIGKILL
    code, errors = kill(signal.SIGTERM)
    assert code == 128 + signal.SIGTERM, errors
    assert "going on after epoch" in errors
    process = start()
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    assert "going on after epoch" in errors
    assert sha256_tree(training.directory) == expected
    assert not any(path.is_dir() for path in CHECKPOINTS.iterdir())


def test_a_broken_checkpoint_counts_as_none(change: Change) -> None:
    train("fcn", 0)
    training = Training("fcn", 0)
    before = sha256_tree(training.directory)
    name = read_json(training.provenance)["fingerprint"]
    (CHECKPOINTS / name).mkdir(parents=True)
    (CHECKPOINTS / name / "checkpoint.safetensors").write_bytes(b"half a checkpo")
    train("fcn", 0)
    assert sha256_tree(training.directory) == before


@pytest.mark.parametrize("batch_size", [20, 6])
def test_signals_at_any_moment_lose_nothing(batch_size: int, change: Change) -> None:
    """One batch an epoch, where every step is an epoch's last, and several."""
    change(epochs=8, patience=8, batch_size=batch_size)
    train("fcn", 0)
    training = Training("fcn", 0)
    expected = sha256_tree(training.directory)
    shutil.rmtree(training.directory)
    delays = itertools.cycle([0.0, 0.001, 0.003, 0.006])
    timers: list[threading.Timer] = []

    class Impatient(NullListener):
        def epoch(self, row: Mapping[str, float], images_per_second: float) -> None:
            timers.append(threading.Timer(next(delays), os.kill, (os.getpid(), signal.SIGTERM)))
            timers[-1].start()

    # The training's own handler goes when it ends; a late signal must not end the tests.
    before = signal.signal(signal.SIGTERM, lambda *_: None)
    codes: list[Any] = []
    try:
        while not training.weights.exists():
            try:
                train("fcn", 0, Impatient())
            except SystemExit as stop:
                codes.append(stop.code)
            for timer in timers:
                timer.join()
    finally:
        signal.signal(signal.SIGTERM, before)
    assert set(codes) == {128 + signal.SIGTERM}
    assert sha256_tree(training.directory) == expected
