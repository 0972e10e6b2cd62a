"""What a search may change of one model, and between which values."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from clarity.errors import ClarityError
from clarity.measures import MEASURES
from clarity.params import Params
from clarity.params.models import LOSSES

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

#: What can be searched, and what is where nothing is said: widths and latent make another size.
KNOBS = ("learning_rate", "batch_size", "loss", "widths", "latent")
USUAL = ("learning_rate", "batch_size", "loss")
#: The learning rate: from the committed one divided by this to that times this.
RATE = 8.0
#: Factors of the committed batch size, widths and latent.
BATCHES = (0.5, 1.0, 2.0, 4.0)
WIDTHS = (0.5, 1.0, 2.0)
LATENTS = (0.5, 1.0, 2.0, 4.0)
#: Of several losses at once, the one that Zhao et al. 2017 recommend.
MIXTURE = {"l1": 0.16, "ms-ssim": 0.84}

Values = Mapping[str, Any]


def committed(params: Params, model: str, knobs: Sequence[str]) -> dict[str, Any]:
    """The values of ``params.yaml`` itself: the first candidate."""
    recipe = params.recipe(model)
    mine = {
        "learning_rate": recipe.learning_rate,
        "batch_size": recipe.batch_size,
        "loss": _text(recipe.loss),
        "widths": 1.0,
        "latent": 1.0,
    }
    return {name: mine[name] for name in knobs}


def distributions(
    params: Params, model: str, knobs: Sequence[str], images: int
) -> dict[str, BaseDistribution]:
    """Optuna's, by knob; ``images`` is how many there are to train on.

    Raises:
        ClarityError: the model has nothing of the kind, or is fitted and has no recipe.
    """
    from optuna.distributions import CategoricalDistribution, FloatDistribution

    spec, recipe = params.model(model), params.recipe(model)
    if spec.traits.fitted:
        raise ClarityError(
            f"models.{model}: {spec.family} is fitted, not trained; there is nothing to tune"
        )
    losses: list[Any] = ["mse"] if spec.traits.prior else [*LOSSES, MIXTURE]
    if params.preprocess.size < MEASURES["ms_ssim"].smallest:
        losses = [loss for loss in losses if "ms-ssim" not in loss]
    if recipe.loss not in losses:
        losses.append(recipe.loss)
    batches = {max(1, min(images, round(recipe.batch_size * factor))) for factor in BATCHES}
    batches.add(recipe.batch_size)  # more than there are images makes one step of them all
    rate = recipe.learning_rate
    known: dict[str, BaseDistribution] = {
        "learning_rate": FloatDistribution(rate / RATE, rate * RATE, log=True),
        "batch_size": CategoricalDistribution(sorted(batches)),
        "loss": CategoricalDistribution([_text(loss) for loss in losses]),
    }
    if spec.widths and not spec.own:
        known["widths"] = CategoricalDistribution(WIDTHS)
    if spec.latent:
        known["latent"] = CategoricalDistribution(LATENTS)
    for name in knobs:
        if name not in known:
            there = f"there are {', '.join(KNOBS)}" if name not in KNOBS else "this model has none"
            raise ClarityError(f"--knob {name}: {there}")
    return {name: known[name] for name in knobs}


def changes(params: Params, model: str, values: Values) -> dict[str, Any]:
    """What candidate ``values`` say of ``models.MODEL`` otherwise than ``params.yaml`` does."""
    spec, mine = params.model(model), committed(params, model, list(values))
    train = {
        name: json.loads(value) if name == "loss" else _short(value)
        for name, value in values.items()
        if name in USUAL and value != mine[name]
    }
    found: dict[str, Any] = {"train": train} if train else {}
    if values.get("widths", 1.0) != 1.0:
        for name in ("widths", "decoder_widths"):
            if one := getattr(spec, name):
                found[name] = [max(1, round(width * values["widths"])) for width in one]
    if values.get("latent", 1.0) != 1.0 and spec.latent:
        found["latent"] = max(1, round(spec.latent * values["latent"]))
    return found


def _text(loss: str | Mapping[str, float]) -> str:
    return json.dumps(loss, sort_keys=True)


def _short(value: Any) -> Any:
    """Three digits of a rate are more than one knows."""
    return float(f"{value:.3g}") if isinstance(value, float) else value
