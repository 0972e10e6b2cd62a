"""The training loop: a constant rate, weights averaged, the best of each budget kept.

A constant rate with a running average of the weights serves every budget at once: wherever a
training is cut, it is about as good as one that was scheduled to end there (docs/training.md).

Every draw comes from a generator seeded by (seed, epoch, batch), so a training that was killed goes
on from its last checkpoint, in the middle of an epoch too, to the very bytes it would have reached.
"""

from __future__ import annotations

import math
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from clarity.errors import ClarityError
from clarity.models.base import Autoencoder, to_input, to_unit
from clarity.models.lean import set_rate
from clarity.models.optimizer import optimizers
from clarity.params import Train
from clarity.train.augment import augment, noisy, relight
from clarity.train.budget import Budget
from clarity.train.checkpoint import Checkpoint, State
from clarity.train.data import Images
from clarity.train.parallel import Team
from clarity.train.schedule import learning_rate
from clarity.train.step import Step, autocast

#: Training images that `train_mse` is measured on, evenly spaced over all of them.
MEASURED = 120
#: What each kind of draw is seeded with beside seed, epoch and batch.
ORDER, BATCH, MEASURE = 0, 1, 2


Weights = dict[str, Tensor]


class Diverged(ClarityError):
    """The loss or its gradient stopped being a finite number: again, it would do so again."""


@dataclass
class Setting:
    """What one training is run with."""

    name: str
    seed: int
    recipe: Train
    precision: str
    device: torch.device
    train: Images
    val: Images
    budgets: Mapping[str, Budget]
    #: The processes that share every batch; None: this one alone.
    team: Team | None = None

    @property
    def leads(self) -> bool:
        """Whether this process trains alone, or leads those that train with it."""
        return self.team is None or self.team.rank == 0


def generator(*key: int) -> torch.Generator:
    """A generator on the CPU whose draws depend on ``key`` alone."""
    seed = int(np.random.SeedSequence(key).generate_state(1, np.uint64)[0])
    return torch.Generator().manual_seed(seed)


def fit(
    network: Autoencoder,
    averaged: Autoencoder,
    setting: Setting,
    checkpoint: Checkpoint,
    on_epoch: Callable[[State, bool], None],
) -> tuple[State, dict[str, Weights]]:
    """Train ``network``, from its checkpoint if there is one; the state and each budget's weights.

    Args:
        network: on the device, initialised.
        averaged: a copy of it, which follows as the running average: what is measured and kept.
        setting: data, recipe, budgets and seed.
        checkpoint: where to resume from and save to.
        on_epoch: called after every epoch (first with the untrained network, as epoch 0), while
            ``averaged`` has that epoch's weights; told too whether the epoch was resumed from.

    Raises:
        Diverged: the loss or its gradient stopped being a finite number.
        Lost: of several processes another one is gone.
        SystemExit: SIGTERM or SIGINT came; the checkpoint is saved.
    """
    recipe, count = setting.recipe, len(setting.train)
    stepped = optimizers(network, recipe)
    batches = math.ceil(count / recipe.batch_size)
    steps = max(budget.steps for budget in setting.budgets.values())
    # What the rate and the KL term grow over: the same steps whatever other budget is asked for.
    scheduled = recipe.epochs * batches
    state, best = State(), dict[str, Weights]()
    resumed = checkpoint.resume(network, averaged, stepped)
    if resumed is not None:
        state, best = resumed
    else:
        state.rows.append(
            {"epoch": 0, "step": 0, "learning_rate": 0.0} | measure(averaged, setting)
        )
        state.speeds.append(0.0)
    on_epoch(state, resumed is not None)
    # Not before: to resume puts other groups in their place.
    groups = [group for optimizer in stepped for group in optimizer.param_groups]
    step = Step(network, stepped, recipe, setting.precision, setting.team)

    with _signals(leads=setting.leads) as caught:
        while state.step < steps and not _stale(state, setting):
            epoch, first = state.step // batches + 1, state.step % batches
            order = torch.randperm(count, generator=generator(setting.seed, ORDER, epoch))
            network.train()
            busy, seen = 0.0, 0
            for batch, rows in enumerate(torch.split(order, recipe.batch_size)):
                if batch < first:
                    continue
                started = time.monotonic()
                rate = learning_rate(state.step, scheduled, recipe.learning_rate, recipe.warmup)
                draws = generator(setting.seed, BATCH, epoch, batch)
                x = _batch(setting, rows, draws)
                for group in groups:
                    set_rate(group, rate * group["scale"])
                given = noisy(x, draws, recipe.noise)
                norm = step(x, given, min(1.0, state.step / scheduled), draws)
                if not math.isfinite(norm):
                    raise _diverged(setting, state, rate)
                state.step += 1
                follow(averaged, network, state.step, recipe.average)
                taken = time.monotonic() - started
                busy, seen, state.seconds = busy + taken, seen + len(rows), state.seconds + taken
                if batch == batches - 1:
                    break  # its step counts with its epoch's row, which is not written yet
                if any(budget.steps == state.step for budget in setting.budgets.values()):
                    error = judged(measure(averaged, setting))
                    _keep(state, best, averaged, setting, state.step / batches, error)
                if caught or checkpoint.due:
                    checkpoint.save(state, network, averaged, stepped, best)
                if caught:
                    raise SystemExit(128 + caught[0])
                if state.step == steps:
                    return state, best
            row = {"epoch": epoch, "step": state.step, "learning_rate": rate}
            state.rows.append(row | measure(averaged, setting))
            state.speeds.append(seen / max(busy, 1e-9))
            _keep(state, best, averaged, setting, epoch, judged(state.rows[-1]))
            on_epoch(state, False)
            if caught or checkpoint.due:
                checkpoint.save(state, network, averaged, stepped, best)
            if caught:
                raise SystemExit(128 + caught[0])
    return state, best


@torch.no_grad()
def follow(averaged: nn.Module, network: nn.Module, step: int, share: float) -> None:
    """Move ``averaged`` towards ``network`` after its ``step``-th step (from 1).

    The weight of a step grows as a power of its number, so that the average's memory is a constant
    share of the training so far, however long that is (Karras et al. 2024, eq. 2): the mean age of
    what it holds is ``share`` × ``step``. 0: no average, the last weights themselves.
    """
    weight = 1.0 if share == 0 else 1 - (1 - 1 / step) ** (1 / share - 1)
    torch._foreach_lerp_(list(averaged.parameters()), list(network.parameters()), weight)
    for kept, current in zip(averaged.buffers(), network.buffers(), strict=True):
        kept.copy_(current)  # a running mean is an average already


def _keep(
    state: State,
    best: dict[str, Weights],
    averaged: Autoencoder,
    setting: Setting,
    epoch: float,
    error: float,
) -> None:
    """Keep these weights for every budget that has not ended, if they are its best so far."""
    kept: Weights | None = None
    for name, budget in setting.budgets.items():
        if state.step <= budget.steps and error < state.best.get(name, (0.0, math.inf))[1]:
            if kept is None:
                kept = {key: value.clone() for key, value in averaged.state_dict().items()}
            state.best[name], best[name] = (epoch, error), kept


def _batch(setting: Setting, rows: Tensor, draws: torch.Generator) -> Tensor:
    """Images of these rows as the network sees them in training, N×C×H×H in [-1, 1]."""
    recipe = setting.recipe
    stored = setting.train.rows(rows)
    x = to_input(augment(stored, draws, flip=recipe.flip, shift=recipe.shift))
    return relight(x, draws, recipe.jitter)


@torch.no_grad()
def measure(network: Autoencoder, setting: Setting) -> dict[str, float]:
    """MSE on [0, 1] and the loss's parts, of training and validation images as they are stored.

    Where something else than the squared error is minimised, that too, as ``loss``. Training
    images: at most `MEASURED`, the same ones every time; validation images: all. Of several
    processes the one that leads measures, and the others wait for what it found.
    """
    network.eval()
    found: dict[str, float] = {}
    for split, images in (("train", setting.train), ("val", setting.val)):
        size = min(MEASURED, len(images)) if split == "train" else len(images)
        numbers = torch.linspace(0, len(images) - 1, size, dtype=torch.float64).round().long()
        draws = generator(setting.seed, MEASURE)
        other = ("loss",) if setting.recipe.loss != "mse" else ()
        totals = dict.fromkeys(("mse", *other, *network.parts), 0.0)
        for x in images.inputs(numbers) if setting.leads else ():
            with autocast(setting.device, setting.precision):
                made = network(x)
                error = to_unit(made) - to_unit(x)
                parts = network.training_loss(x, 1.0, draws)[1] if network.parts else {}
                if other:
                    parts["loss"] = network.criterion(made, x)
            totals["mse"] += error.double().square().mean().item() * len(x) / size
            for part, value in parts.items():
                totals[part] += value.item() * len(x) / size
        found |= {f"{split}_{name}": value for name, value in totals.items()}
    row = {name: found[name] for name in sorted(found, key=lambda name: "mse" not in name)}
    return setting.team.agreed(row) if setting.team else row


def judged(row: dict[str, float]) -> float:
    """What tells the best epoch: the validation value of what is minimised."""
    return row.get("val_loss", row["val_mse"])


def _stale(state: State, setting: Setting) -> bool:
    """Whether no budget that is still open has had a better epoch for so long as ``patience``."""
    epoch = state.rows[-1]["epoch"]
    return all(
        epoch - state.best.get(name, (0.0, 0.0))[0] >= setting.recipe.patience
        for name, budget in setting.budgets.items()
        if state.step < budget.steps
    )


def _diverged(setting: Setting, state: State, rate: float) -> Diverged:
    last = state.rows[-1]
    where = f"models.{setting.name}.train.learning_rate or train.learning_rate"
    return Diverged(
        f"{setting.name}-{setting.seed}: training diverged at step {state.step}, learning rate "
        f"{rate:.3g}: the gradient is no finite number; last good validation MSE "
        f"{last['val_mse']:.4g} (epoch {int(last['epoch'])}); lower {where} in params.yaml"
    )


@contextmanager
def _signals(*, leads: bool) -> Iterator[list[int]]:
    """Collect SIGTERM and SIGINT instead of dying of them, so that a step ends and is saved; of
    several processes that train together in the one that leads."""
    caught: list[int] = []
    if not leads or threading.current_thread() is not threading.main_thread():
        yield caught
        return
    kinds = (signal.SIGTERM, signal.SIGINT)
    before = [signal.signal(kind, lambda number, _: caught.append(number)) for kind in kinds]
    try:
        yield caught
    finally:
        for kind, handler in zip(kinds, before, strict=True):
            signal.signal(kind, handler)
