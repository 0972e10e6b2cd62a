"""Stage ``train``: one model from one seed, to its folder in ``models/``."""

from __future__ import annotations

import csv
import io
import math
import os
import resource
import shutil
import statistics
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from safetensors.torch import save
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from clarity.errors import ClarityError
from clarity.files import note_json, write_bytes, write_json, write_text
from clarity.layout import Training
from clarity.models.base import Autoencoder
from clarity.models.build import describe
from clarity.models.pca import PrincipalComponents
from clarity.params import Train, load_params, loss_words
from clarity.processes import FOLLOWED
from clarity.train.budget import ALIKE, COMPUTE
from clarity.train.checkpoint import Checkpoint, State
from clarity.train.components import fit_components
from clarity.train.fingerprint import fingerprint, whoever_trains
from clarity.train.listener import BestEffort, Listener, NullListener
from clarity.train.loop import Diverged, Setting, Weights, fit, measure
from clarity.train.parallel import Following, Lost, team
from clarity.train.pictures import save_grid
from clarity.train.schedule import grid_epochs
from clarity.train.setup import set_up

#: Where there is no terminal, a line at most so often.
QUIET_SECONDS = 30


def train(model: str, seed: int, listener: Listener | None = None) -> None:
    """Train ``model`` from ``seed`` and write weights, description, curves, grids, provenance.

    Args:
        model: a key of ``models`` in params.yaml.
        seed: one of ``seeds``.
        listener: told how it goes; see `clarity.train.listener`.

    Raises:
        ClarityError: bad parameters or data, or a training that diverged.
    """
    params = load_params()
    spec, recipe, training = params.model(model), params.recipe(model), Training(model, seed)
    if seed not in params.seeds:
        known = ", ".join(map(str, params.seeds))
        raise ClarityError(f"params.yaml: seeds: {seed} is not listed; there are {known}")
    with ExitStack() as stack:
        together = stack.enter_context(team(model, seed, spec.processes, params.device))
        made = set_up(params, model, seed, recipe, together)
        network, averaged, setting = made.network, made.averaged, made.setting
        provenance = made.provenance
        checkpoint = Checkpoint(whoever_trains(provenance))
        reporter = _Reporter(averaged, setting, checkpoint, BestEffort(listener or NullListener()))
        reporter.listener.started(provenance)
        stack.enter_context(threadpool_limits(params.threads))
        stack.enter_context(reporter)
        if isinstance(averaged, PrincipalComponents):
            state, best = _fit_pca(averaged, setting, reporter)
        else:
            try:
                state, best = fit(network, averaged, setting, checkpoint, reporter)
            except Diverged:
                checkpoint.delete()
                raise
        epoch, error = state.best[ALIKE]
        averaged.load_state_dict(best[ALIKE])
        reporter.picture(round(epoch))

    if fingerprint(load_params(), model, seed, setting.device, setting.precision) != provenance:
        raise ClarityError(
            f"{training.name}: code, data or parameters changed while train ran; run the same "
            "command again, or put them back before: this training's checkpoint is kept"
        )
    for path, budget in ((training.weights, ALIKE), (training.same_compute, COMPUTE)):
        weights = best.get(budget, {})
        write_bytes(path, save({name: value.cpu().contiguous() for name, value in weights.items()}))
    description = (
        describe(spec, model, seed, network) | _taught(recipe) | {"budgets": _spent(setting, state)}
    )
    write_json(training.description, description)
    write_text(training.curves, _table(state.rows))
    write_json(training.provenance, provenance)
    shutil.rmtree(training.progress, ignore_errors=True)
    shutil.copytree(reporter.pictures, training.progress)
    _write_timings(training.timings, state, len(setting.train), setting.device)
    checkpoint.delete()
    reporter.listener.finished(training)
    print(
        f"train: {training.name}: validation {_judged_by(recipe)} {error:.5f} at epoch {epoch:g} "
        f"of {recipe.epochs if setting.budgets else 1}{_also(setting, state)}, "
        f"{state.seconds:.0f} s"
    )


def follow(model: str, seed: int) -> None:
    """Take a share of another process's training of ``model`` from ``seed``; write nothing.

    Raises:
        ClarityError: bad parameters or data.
        SystemExit: the process that leads is gone, and says itself why.
    """
    params = load_params()
    with team(model, seed, params.model(model).processes, params.device) as together:
        made = set_up(params, model, seed, params.recipe(model), together)
        checkpoint = Following(whoever_trains(made.provenance))
        with threadpool_limits(params.threads):
            try:
                fit(made.network, made.averaged, made.setting, checkpoint, lambda *_: None)
            except Lost:
                sys.exit(1)


class _Reporter:
    """Shows a bar, keeps the grids and tells the listener, an epoch at a time."""

    def __init__(
        self, network: Autoencoder, setting: Setting, checkpoint: Checkpoint, listener: BestEffort
    ) -> None:
        self.listener = listener
        self.pictures = checkpoint.directory / "progress"
        self._network = network
        self._setting = setting
        ends = [math.ceil(budget.epochs) for budget in setting.budgets.values()]
        self._epochs = max(ends, default=1)
        self._kept = grid_epochs(self._epochs, setting.recipe.grids)
        console = Console(stderr=True)
        self._bar = Progress(
            TextColumn(f"{setting.name}-{setting.seed}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[mse]}"),
            TimeRemainingColumn(),
            console=console,
            disable=not console.is_terminal,
        )
        self._task = self._bar.add_task("", total=self._epochs, mse="")
        self._pause = 0.0 if os.environ.get(FOLLOWED) else QUIET_SECONDS
        self._told = time.monotonic()

    def __enter__(self) -> _Reporter:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def __call__(self, state: State, resumed: bool) -> None:
        """After an epoch; or, with ``resumed``, after a checkpoint brought several back."""
        if resumed:
            where = f"epoch {int(state.rows[-1]['epoch'])}, step {state.step}"
            print(f"train: {self._setting.name}: going on after {where}", file=sys.stderr)
            for row, speed in zip(state.rows[:-1], state.speeds[:-1], strict=True):
                self._tell(row, speed)
        epoch = int(state.rows[-1]["epoch"])
        # In mid-epoch the network is not that epoch's any more, and its grid is already there.
        if epoch in self._kept and not resumed:
            save_grid(self._network, self._setting.val, self._path(epoch))
        self._tell(state.rows[-1], state.speeds[-1])
        error = f"val MSE {state.rows[-1]['val_mse']:.5f}"
        self._bar.update(self._task, completed=epoch, mse=error)
        if self._bar.disable and time.monotonic() - self._told > self._pause:
            # A log has no bar; it gets a line now and then, or a training looks as if it hung.
            name = f"{self._setting.name}-{self._setting.seed}"
            print(f"train: {name}: epoch {epoch} of {self._epochs}, {error}", flush=True)
            self._told = time.monotonic()

    def picture(self, epoch: int) -> None:
        """Keep the grid of the network as it is now, under this epoch."""
        if not self._path(epoch).exists():
            save_grid(self._network, self._setting.val, self._path(epoch))
            self.listener.picture(epoch, self._path(epoch))

    def _tell(self, row: dict[str, float], speed: float) -> None:
        self.listener.epoch(row, speed)
        epoch = int(row["epoch"])
        if self._path(epoch).exists():
            self.listener.picture(epoch, self._path(epoch))

    def _path(self, epoch: int) -> Path:
        return self.pictures / f"epoch-{epoch:04d}.png"


def _spent(setting: Setting, state: State) -> dict[str, dict[str, float] | None]:
    """For model.json: where each budget ended, and after which epoch its weights were kept."""
    found: dict[str, dict[str, float] | None] = {ALIKE: None, COMPUTE: None}
    for name, budget in setting.budgets.items():
        found[name] = {
            "epoch": state.best[name][0],
            "epochs": budget.epochs,
            "gflop_per_image": budget.gflop_per_image,
            "val_mse" if setting.recipe.loss == "mse" else "val_loss": state.best[name][1],
        }
    return found


def _taught(recipe: Train) -> dict[str, Any]:
    """For model.json: what was minimised, and by what, where that is not the usual."""
    said: dict[str, Any] = {} if recipe.loss == "mse" else {"loss": recipe.loss}
    said |= {"noise": recipe.noise} if recipe.noise else {}
    return said | ({} if recipe.optimizer == "adamw" else {"optimizer": recipe.optimizer})


def _judged_by(recipe: Train) -> str:
    return "MSE" if recipe.loss == "mse" else f"loss ({loss_words(recipe.loss)})"


def _also(setting: Setting, state: State) -> str:
    budget = setting.budgets.get(COMPUTE)
    if budget is None:
        return ""
    epoch, error = state.best[COMPUTE]
    return f"; for the same compute {error:.5f} at epoch {epoch:.4g} of {budget.epochs:.4g}"


def _fit_pca(
    network: PrincipalComponents, setting: Setting, reporter: _Reporter
) -> tuple[State, dict[str, Weights]]:
    """Two rows: the mean face as epoch 0, the fitted components as epoch 1."""
    state = State()
    for epoch in (0, 1):
        if epoch == 1:
            started = time.monotonic()
            mean, components = fit_components(setting.train, network.latent_size, setting.name)
            network.load_state_dict({"mean": mean, "components": components})
            state.seconds = time.monotonic() - started
            state.step = 1
        row: dict[str, float] = {"epoch": epoch, "step": epoch, "learning_rate": 0.0}
        state.rows.append(row | measure(network, setting))
        state.speeds.append(len(setting.train) / state.seconds if epoch else 0.0)
        reporter(state, False)
    state.best[ALIKE] = (1, state.rows[-1]["val_mse"])
    return state, {ALIKE: network.state_dict()}


def _table(rows: Sequence[dict[str, float]]) -> str:
    """curves.csv: whole numbers as such, the others to nine digits."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(rows[0])
    writer.writerows([_cell(value) for value in row.values()] for row in rows)
    return text.getvalue()


def _cell(value: float) -> str:
    return str(value) if isinstance(value, int) else f"{value:.9g}"


def _write_timings(path: Path, state: State, images: int, device: torch.device) -> None:
    """Add what the clock measured to the training's timings; the first epoch warms up."""
    speeds = state.speeds[2:] or state.speeds[1:]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    measured = {
        "train_seconds": round(state.seconds, 3),
        "images_per_second": round(statistics.median(speeds), 1),
        "peak_memory_bytes": torch.cuda.max_memory_allocated() if device.type == "cuda" else peak,
        "train_images": images,
    }
    note_json(path, measured)
