"""Training steps against the machine, and side by side with the loops that people use.

    python benchmarks/training.py                             # params.yaml's models and batches
    python benchmarks/training.py --model conv-large --batch 5 --batch 512 --rounds 5
    python benchmarks/training.py --out benchmarks/training.json

On random images of params.yaml's size; `device`, `threads` and each model's recipe are those of
params.yaml. In every round each contender trains the same model from the same weights on the same
batch size for about `--seconds`, one after the other; a ratio is taken within a round, and the
table gives the median over rounds with its range. Contenders:

- ours: `clarity.train.loop.fit`, with its draws, augmentation, clipping, averaging, by AdamW;
- muon: the same by Muon, where the recipe asks for it (what its steps are worth: `quality.py`);
- bare: forward and backward on one batch that stays, nothing else: what no loop can beat that
  launches its operations one by one, as ours does not on a GPU;
- plain: indexing, forward, backward, `torch.optim.Adam`, as a tutorial writes it;
- lightning: PyTorch Lightning's Trainer over a DataLoader, where it is installed.

The last columns are arithmetic: GFLOP a second of ours, and its share of what one large matrix
product reaches here in the same precision.
"""

from __future__ import annotations

import argparse
import copy
import importlib.util
import json
import logging
import math
import os
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from figures import Figure, of_rounds, save
from rich.console import Console
from rich.table import Table
from threadpoolctl import threadpool_limits

from clarity.models.base import Autoencoder, to_input
from clarity.models.build import build
from clarity.models.device import hold_memory, prepare
from clarity.models.flops import gflop_per_image
from clarity.params import Params, Train, load_params
from clarity.train.budget import ALIKE, Budget
from clarity.train.checkpoint import Checkpoint
from clarity.train.data import Images
from clarity.train.loop import Setting, fit
from clarity.train.setup import resolve_precision
from clarity.train.step import autocast

#: Steps that warm up, uncounted.
WARM = 5
#: Images at most, of which batches are made.
IMAGES = 4096

Contender = Callable[["Case"], float]


class Case:
    """One model at one batch size: what every contender starts from.

    Attributes:
        steps: that each takes, so that ours lasts about as long as was asked for.
    """

    def __init__(self, params: Params, name: str, batch: int, device: torch.device) -> None:
        changes = {"batch_size": batch, "compute": None}
        recipe = params.recipe(name).model_copy(update=changes)
        self.name, self.batch, self.device, self.recipe = name, batch, device, recipe
        self.precision = resolve_precision(recipe.precision, device)
        shape = params.preprocess.shape
        torch.manual_seed(0)
        self.network = build(params.model(name), name, shape).to(device)
        count = max(batch, min(IMAGES, 20 * batch))
        stored = np.random.default_rng(0).integers(0, 256, (count, *shape.stored), np.uint8)
        self.stored, self.images = stored, Images(stored, device)
        self.adamw = recipe.model_copy(update={"optimizer": "adamw"})
        self.gflop = gflop_per_image(self.network, self.adamw)
        self.steps = WARM

    def fresh(self) -> Autoencoder:
        return copy.deepcopy(self.network).train()

    def settled(self) -> float:
        """The clock, once the device has done all that it was given."""
        if self.device.type == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter()

    def timed(self, step: Callable[[], None]) -> float:
        """Images a second of ``steps`` such steps, after some that warm up."""
        for _ in range(WARM):
            step()
        started = self.settled()
        for _ in range(self.steps):
            step()
        return self.batch * self.steps / (self.settled() - started)


def ours(case: Case) -> float:
    return trained(case, case.adamw)


def muon(case: Case) -> float:
    return trained(case, case.recipe)


def trained(case: Case, recipe: Train) -> float:
    network = case.fresh()
    few = Images(np.zeros((2, *case.images.shape.stored), np.uint8), case.device)
    batches = math.ceil(len(case.images) / case.batch)
    epochs = 1 + math.ceil((case.steps + WARM) / batches)
    recipe = recipe.model_copy(update={"epochs": epochs, "patience": epochs})
    budget = Budget(ALIKE, epochs * batches, epochs, epochs * case.gflop)
    setting = Setting(
        case.name, 0, recipe, case.precision, case.device, case.images, few, {ALIKE: budget}
    )
    speeds: list[float] = []
    checkpoint = Checkpoint("benchmark")
    checkpoint.delete()  # or it would go on from the last one
    fit(
        network,
        copy.deepcopy(network),
        setting,
        checkpoint,
        lambda state, resumed: speeds.append(state.speeds[-1]),
    )
    return statistics.median(speeds[2:] or speeds[1:])  # the first epoch warms up


def bare(case: Case) -> float:
    network = case.fresh()
    x = to_input(case.images.rows(torch.arange(case.batch)))

    def step() -> None:
        network.zero_grad(set_to_none=True)
        with autocast(case.device, case.precision):
            loss, _ = network.training_loss(x, 1.0)
        torch.autograd.backward(loss)

    return case.timed(step)


def plain(case: Case) -> float:
    network = case.fresh()
    optimizer = torch.optim.Adam(network.parameters(), lr=case.recipe.learning_rate)

    def step() -> None:
        x = to_input(case.images.rows(torch.randint(0, len(case.images), (case.batch,))))
        optimizer.zero_grad()
        with autocast(case.device, case.precision):
            loss = network.training_loss(x, 1.0)[0]
        torch.autograd.backward(loss)
        optimizer.step()

    return case.timed(step)


def lightning(case: Case) -> float:
    import pytorch_lightning as library

    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="pytorch_lightning")
    network, marks = case.fresh(), list[float]()

    class Module(library.LightningModule):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.network = network

        def training_step(self, batch: list[torch.Tensor]) -> torch.Tensor:
            return self.network.training_loss(to_input(batch[0]), 1.0)[0]

        def on_train_batch_start(self, *_: Any) -> None:
            if self.global_step == WARM:
                marks.append(case.settled())

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.Adam(self.parameters(), lr=case.recipe.learning_rate)

    pixels = torch.from_numpy(case.stored)
    loader = torch.utils.data.DataLoader(
        torch.utils.data.TensorDataset(pixels), case.batch, shuffle=True, drop_last=True
    )
    trainer = library.Trainer(
        max_steps=case.steps + WARM,
        max_epochs=-1,
        accelerator="gpu" if case.device.type == "cuda" else "cpu",
        devices=1,
        precision="bf16-mixed" if case.precision == "bf16" else "32-true",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        inference_mode=False,
    )
    trainer.fit(Module(), loader)
    return case.batch * case.steps / (case.settled() - marks[0])


def contenders(case: Case) -> dict[str, Contender]:
    found: dict[str, Contender] = {"ours": ours, "bare": bare, "plain": plain}
    if case.recipe.optimizer == "muon":
        found["muon"] = muon
    if importlib.util.find_spec("pytorch_lightning") is not None:
        found["lightning"] = lightning
    return found


def peak(device: torch.device, precision: str) -> float:
    """GFLOP a second of one large matrix product here."""
    side = 8192 if device.type == "cuda" else 2048
    kind = torch.bfloat16 if precision == "bf16" else torch.float32
    a, b = (torch.randn(side, side, device=device, dtype=kind) for _ in range(2))
    best = 0.0
    for _ in range(8):
        started = time.perf_counter()
        product = a @ b
        float(product[0, 0])  # waits for it
        best = max(best, 2 * side**3 / (time.perf_counter() - started) / 1e9)
    return best


def measured(case: Case, seconds: float, rounds: int) -> dict[str, Any]:
    """Images a second of every contender in every round, and what follows from them."""
    speed = ours(case)
    case.steps = max(WARM, round(seconds * speed / case.batch))
    loops = contenders(case)
    found: dict[str, list[float]] = {name: [] for name in loops}
    for turn in range(rounds):
        order = list(loops) if turn % 2 == 0 else list(reversed(loops))
        for name in order:
            found[name].append(loops[name](case))
    top = peak(case.device, case.precision)
    peers = [name for name in loops if name in ("plain", "lightning")]
    ratios = [max(found[n][r] for n in peers) for r in range(rounds)]
    against = sorted(found["ours"][r] / ratios[r] for r in range(rounds))
    beside = sorted(1 - found["ours"][r] / found["bare"][r] for r in range(rounds))
    mine = statistics.median(found["ours"])
    return {
        "model": case.name,
        "batch": case.batch,
        "precision": case.precision,
        "images_per_second": {name: sorted(values) for name, values in found.items()},
        "ms_per_step": 1000 * case.batch / mine,
        "against_fastest_peer": against,
        "beside_forward_and_backward": beside,
        "muon": sorted(a / b for a, b in zip(found["ours"], found.get("muon", []), strict=False)),
        "gflop_per_second": mine * case.gflop,
        "share_of_matrix_product": mine * case.gflop / top,
    }


def bounded(row: dict[str, Any]) -> list[Figure]:
    """What is aimed at: faster than any peer, more so where a step is small; little of it lost."""
    said = f"a step of {row['model']}, batch {row['batch']}"
    figures = [
        of_rounds(
            f"{said}, × the fastest peer's speed",
            row["against_fastest_peer"],
            at_least=1.5 if row["model"].endswith("-small") else 1.0,
        ),
        of_rounds(
            f"{said}: share beside forward and backward pass",
            [100 * share for share in row["beside_forward_and_backward"]],
            unit="%",
            at_most=8,
        ),
    ]
    if row["muon"]:
        figures.append(of_rounds(f"{said}: by Muon, × one by AdamW", row["muon"]))
    if row["model"] in ("fcn-large", "conv-large"):
        share = 100 * row["share_of_matrix_product"]
        what = f"{said}, of a matrix product's speed"
        figures.append(Figure(what=what, value=share, unit="%", at_least=75))
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument(
        "--model", action="append", help="a key of models; all networks if left out"
    )
    parser.add_argument("--batch", action="append", type=int, help="instead of the recipe's own")
    parser.add_argument("--seconds", type=float, default=3.0, help="of each contender a round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args()
    params = load_params()
    device = prepare(params.device, params.threads)
    hold_memory()
    networks = [name for name, spec in params.models.items() if not spec.traits.fitted]
    rows = []
    out = asked.out.resolve() if asked.out else None
    with tempfile.TemporaryDirectory() as folder, threadpool_limits(params.threads):
        os.chdir(folder)
        for name in asked.model or networks:
            for batch in asked.batch or [params.recipe(name).batch_size]:
                rows.append(
                    measured(Case(params, name, batch, device), asked.seconds, asked.rounds)
                )
                print(json.dumps(rows[-1]), flush=True)
    where = torch.cuda.get_device_name() if device.type == "cuda" else f"{params.threads} threads"
    table = Table(title=f"Training steps, {where}, torch {torch.__version__}")
    heads = ("model", "batch", "", "ms a step", "× fastest peer", "beside", "GFLOP/s", "of peak")
    for head in heads:
        table.add_column(head, justify="left" if head in ("model", "") else "right")
    for row in rows:
        ratio, beside = row["against_fastest_peer"], row["beside_forward_and_backward"]
        table.add_row(
            row["model"],
            str(row["batch"]),
            row["precision"],
            f"{row['ms_per_step']:.2f}",
            f"{statistics.median(ratio):.2f} ({ratio[0]:.2f} to {ratio[-1]:.2f})",
            f"{statistics.median(beside):.0%}",
            f"{row['gflop_per_second']:.0f}",
            f"{row['share_of_matrix_product']:.0%}",
        )
    Console(width=110).print(table)
    figures = [figure for row in rows for figure in bounded(row)]
    save(out, figures, where=where, torch=torch.__version__, rows=rows)


if __name__ == "__main__":
    main()
