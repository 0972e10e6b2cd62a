"""Seconds to a quality: what the usual loop reaches in 20 epochs, and how soon Clarity is there.

    python benchmarks/quality.py --data FOLDER                # trainingset.npy and the rest in it
    python benchmarks/quality.py --model conv-small --seeds 3 # without --data: pictures made here

For each model and seed, on the same images and threads, one after the other:

- usual: a `Dataset` that converts one sample at a time, a `DataLoader`, Adam at 1e-3, batches of
  128, 20 epochs, as a course hands it out. Its validation error at the end is the target.
- engineer: the same recipe on a loop as a good engineer writes it (images resident, channels-last,
  fused Adam): what the engine alone is worth. All its epochs take as long as each other, so it runs
  for four of them and counts five times.
- Clarity: `clarity.train.loop.fit` with the model's recipe as `clarity preset thousands` leaves it,
  cut at the first of sixty moments, spaced evenly in the logarithm over the last six doublings, at
  which its validation error is no higher than the target. It is then trained again to that step,
  and that is timed, its measuring of validation images and all; the others' is not counted.

`--epochs` is how often Clarity may see the images, unless the preset's. VAEs have their KL term in
full from the first step, as the other loops have. Without `--data` there are 4,000 pictures to
train on, each two of the embedded training faces blended, mirrored and relit, and 500 to validate,
of others.
"""

from __future__ import annotations

import copy
import math
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from figures import Figure, of_rounds, save, show
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from ruamel.yaml import YAML
from threadpoolctl import threadpool_limits

from clarity.layout import normals
from clarity.models.base import Autoencoder, to_input, to_unit
from clarity.models.build import build
from clarity.models.device import hold_memory, prepare
from clarity.models.flops import gflop_per_image
from clarity.models.loss import criterion
from clarity.params import Params, Train, load_params
from clarity.train.budget import Budget
from clarity.train.checkpoint import Checkpoint, State
from clarity.train.data import Images
from clarity.train.loop import Setting, fit
from clarity.train.setup import resolve_precision

ROOT = Path(__file__).resolve().parent.parent
MODELS = ("conv-small", "vae-small", "fcn-small", "conv-medium", "fcn-large")
#: The usual recipe.
EPOCHS, BATCH, RATE = 20, 128, 1e-3
#: Of which the engineer's loop runs so many.
SOME = 4
#: Moments at which Clarity's error is compared with the target, from the 64th part of its steps on.
MOMENTS, PART = 60, 64
#: How many times faster than the usual loop: what is aimed at.
AIMS = {"conv-small": 10.0}
AIM = 5.0

Pixels = NDArray[np.uint8]


@dataclass
class Case:
    """One model and seed, and what everybody trains it on."""

    params: Params
    name: str
    seed: int
    train: Images
    val: Images
    pixels: Pixels
    device: torch.device

    def network(self) -> Autoencoder:
        torch.manual_seed(self.seed)
        spec = self.params.model(self.name)
        return build(spec, self.name, self.params.preprocess.shape, kl_warmup=0).to(self.device)

    def clock(self) -> float:
        if self.device.type == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter()


class Reached(Exception):
    """The target is reached: no need to train on."""


class Samples(torch.utils.data.Dataset[torch.Tensor]):
    """One sample at a time, converted when it is asked for."""

    def __init__(self, pixels: Pixels) -> None:
        self.pixels = pixels

    def __len__(self) -> int:
        return len(self.pixels)

    def __getitem__(self, number: int) -> torch.Tensor:
        picture = self.pixels[number].astype(np.float32) / 127.5 - 1
        return torch.from_numpy(picture.transpose(2, 0, 1).copy())


@torch.no_grad()
def error(network: Autoencoder, images: Images) -> float:
    """Mean squared error on [0, 1]."""
    network.eval()
    total = 0.0
    for x in images.inputs():
        total += float((to_unit(network(x)) - to_unit(x)).double().square().mean()) * len(x)
    return total / len(images)


def laid_out(network: Autoencoder, order: torch.memory_format) -> Autoencoder:
    made: Autoencoder = network.to(memory_format=order)  # type: ignore[call-overload]
    return made


def usual(case: Case) -> tuple[float, float]:
    """Seconds, and the validation error at the end."""
    started = case.clock()
    network = laid_out(case.network(), torch.contiguous_format)
    loader = torch.utils.data.DataLoader(Samples(case.pixels), BATCH, shuffle=True)
    optimizer = torch.optim.Adam(network.parameters(), lr=RATE)
    for _ in range(EPOCHS):
        network.train()
        for x in loader:
            optimizer.zero_grad()
            loss = network.training_loss(x.to(case.device), 1.0)[0]
            torch.autograd.backward(loss)
            optimizer.step()
    seconds = case.clock() - started
    return seconds, error(network, case.val)


def engineer(case: Case) -> float:
    """Seconds."""
    started = case.clock()
    network = laid_out(case.network(), torch.channels_last)
    optimizer = torch.optim.Adam(network.parameters(), lr=RATE, fused=True)
    for _ in range(SOME):
        network.train()
        for rows in torch.split(torch.randperm(len(case.train)), BATCH):
            optimizer.zero_grad()
            loss = network.training_loss(to_input(case.train.rows(rows)), 1.0)[0]
            torch.autograd.backward(loss)
            optimizer.step()
    return (case.clock() - started) * EPOCHS / SOME


def clarity(case: Case, recipe: Train, target: float) -> tuple[float, float, int]:
    """Seconds to the target (no number if it is never reached), the best error, and the step."""
    batches = math.ceil(len(case.train) / recipe.batch_size)
    last = recipe.epochs * batches
    moments = sorted({round(last * PART ** (k / MOMENTS - 1)) for k in range(MOMENTS + 1)} - {0})
    spaced = {str(step): Budget(str(step), step, step / batches, 0.0) for step in moments}

    def first(state: State) -> int | None:
        return min((int(k) for k, (_, e) in state.best.items() if e <= target), default=None)

    found: list[State] = []

    def watch(state: State, _: bool) -> None:
        found[:] = [state]
        if first(state) is not None:
            raise Reached

    with suppress(Reached):
        found[:] = [run(case, recipe, spaced, watch)[1]]
    best = min(e for _, e in found[0].best.values())
    step = first(found[0])
    if step is None:
        return math.nan, best, last
    only = {"only": Budget("only", step, step / batches, 0.0)}
    seconds, _ = run(case, recipe, only, lambda *_: None)
    return seconds, best, step


def run(
    case: Case, recipe: Train, budgets: dict[str, Budget], told: Callable[[State, bool], None]
) -> tuple[float, State]:
    """Train to the last of these budgets: seconds, and how it went."""
    checkpoint = Checkpoint("benchmark")
    checkpoint.delete()
    started = case.clock()
    network = case.network()
    network.criterion = criterion(recipe.loss)
    network.start_from(*case.train.moments())
    network.to(case.device)
    setting = Setting(
        *(case.name, case.seed, recipe, resolve_precision(recipe.precision, case.device)),
        *(case.device, case.train, case.val, budgets),
    )
    state, _ = fit(network, copy.deepcopy(network), setting, checkpoint, told)
    return case.clock() - started, state


def blended(images: Pixels, count: int, rng: np.random.Generator) -> Pixels:
    """Pictures between two others each, mirrored and relit at random."""
    a, b = (images[rng.integers(len(images), size=count)].astype(np.float32) for _ in range(2))
    share = rng.random((count, 1, 1, 1), np.float32)
    made = share * a + (1 - share) * np.where(rng.random((count, 1, 1, 1)) < 0.5, b, b[:, :, ::-1])
    made = (made - 128) * rng.uniform(0.7, 1.3, (count, 1, 1, 1)) + 128
    return (made + rng.uniform(-25, 25, (count, 1, 1, 1))).clip(0, 255).astype(np.uint8)


def prepared(data: Path | None) -> tuple[Params, Pixels, Pixels]:
    """Parameters with every size, and pictures to train on and to validate; in this folder."""
    for name in ("presets", "networks"):
        shutil.copytree(ROOT / name, name)
    yaml = YAML()
    values = yaml.load(ROOT / "params.yaml")
    if data is not None:
        values["data"] |= {"source": "npy", "path": str(data)}
    with Path("params.yaml").open("w") as handle:
        yaml.dump(values, handle)
    for command in (["preset", "full"], ["preset", "thousands"], ["ingest"], ["preprocess"]):
        subprocess.run(
            [sys.executable, "-m", "clarity", *command], check=True, stdout=subprocess.DEVNULL
        )
    train, val = (np.load(normals(split), allow_pickle=False) for split in ("train", "val"))
    if data is None:
        rng = np.random.default_rng(0)
        train, val = blended(train, 4000, rng), blended(val, 500, rng)
    return load_params(), train, val


def main(
    data: Annotated[Path | None, typer.Option(help="A folder as `source: npy` reads it.")] = None,
    model: Annotated[list[str] | None, typer.Option(help="A key of models; several.")] = None,
    seeds: Annotated[int, typer.Option(help="So many runs of each, seeds 0, 1, …")] = 3,
    epochs: Annotated[int | None, typer.Option(help="How often Clarity may see them.")] = None,
    out: Annotated[Path | None, typer.Option(help="Figures as JSON.")] = None,
) -> None:
    """Measure and print a table."""
    data, out = (path and path.resolve() for path in (data, out))
    figures: list[Figure] = []
    rounds = []
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        params, train, val = prepared(data)
        device = prepare(params.device, params.threads)
        hold_memory()
        pictures = (Images(train, device), Images(val, device))
        with threadpool_limits(params.threads):
            for name in model or MODELS:
                recipe = params.recipe(name)
                seen = epochs or recipe.epochs
                changes = {"epochs": seen, "compute": None, "patience": seen}
                recipe = recipe.model_copy(update=changes)
                whole, engine, alone = [], [], []
                for seed in track(range(seeds), name, console=Console(stderr=True)):
                    case = Case(params, name, seed, *pictures, train, device)
                    slow, target = usual(case)
                    fast = engineer(case)
                    own, best, step = clarity(case, recipe, target)
                    row = {
                        "model": name,
                        "seed": seed,
                        "gflop_per_image": gflop_per_image(case.network(), recipe),
                        "usual_seconds": slow,
                        "usual_mse": target,
                        "engineer_seconds": fast,
                        "clarity_seconds": own if math.isfinite(own) else None,
                        "clarity_best_mse": best,
                        "clarity_steps": step,
                    }
                    print(row, flush=True)
                    rounds.append(row)
                    whole.append(slow / own)
                    engine.append(slow / fast)
                    alone.append(fast / own)
                aim = AIMS.get(name, AIM)
                said = f"{name} to the error of the usual loop's {EPOCHS} epochs"
                figures += [
                    of_rounds(f"{said}, × the usual loop", whole, at_least=aim),
                    of_rounds(f"{said}, × the engineer's loop", alone),
                    of_rounds(f"{name}: the engineer's loop beside the usual one", engine),
                ]
                save(out, figures, rounds=rounds, images=len(train), made=data is None)
        os.chdir(ROOT)
    show(f"{len(train):,} images, {params.threads} threads, {device.type}", figures)


if __name__ == "__main__":
    typer.run(main)
