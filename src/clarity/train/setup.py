"""What a training starts from: device, images, network, budgets; the same in a search's trials."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass
from typing import Any

import torch

from clarity.errors import ClarityError
from clarity.layout import normals
from clarity.models.base import Autoencoder
from clarity.models.build import build
from clarity.models.device import hold_memory, prepare
from clarity.models.flops import gflop_per_image
from clarity.models.loss import criterion
from clarity.models.own import check
from clarity.networks import recorded_code, remember
from clarity.params import Params, Train
from clarity.train.budget import budgets
from clarity.train.data import open_images
from clarity.train.fingerprint import fingerprint
from clarity.train.loop import Setting
from clarity.train.parallel import Team


@dataclass
class SetUp:
    """A training before its first step.

    Attributes:
        network: untrained, on the device.
        averaged: a copy of it, for the running average.
        provenance: `clarity.train.fingerprint.fingerprint` of it.
    """

    network: Autoencoder
    averaged: Autoencoder
    setting: Setting
    provenance: dict[str, Any]


def set_up(params: Params, model: str, seed: int, recipe: Train, team: Team | None = None) -> SetUp:
    """Prepare the device, open the images and build the network.

    Args:
        recipe: `Params.recipe` of the model, or what a trial makes of it.
        team: the processes that train together; None: this one alone.

    Raises:
        ClarityError: bad parameters, data, or a network of one's own that breaks its contract.
    """
    spec, shape = params.model(model), params.preprocess.shape
    device = prepare(params.device, params.threads)
    hold_memory()
    precision = resolve_precision(recipe.precision, device)
    train, val = (open_images(normals(split), shape, device) for split in ("train", "val"))
    code = recorded_code(model, spec.family) if spec.own else None
    provenance = fingerprint(params, model, seed, device, precision)
    if code is not None:
        check(code, spec.arguments, shape, model, seed)
        remember(code)

    torch.manual_seed(seed)
    network = build(spec, model, shape, code=code, beta=recipe.beta, kl_warmup=recipe.kl_warmup)
    network.criterion = criterion(recipe.loss)
    network.start_from(*train.moments())
    network.to(device)
    batches = math.ceil(len(train) / recipe.batch_size)
    fitted = spec.traits.fitted
    offered = {} if fitted else budgets(recipe, batches, gflop_per_image(network, recipe))
    setting = Setting(model, seed, recipe, precision, device, train, val, offered, team)
    return SetUp(network, copy.deepcopy(network), setting, provenance)


def resolve_precision(wanted: str, device: torch.device) -> str:
    """What `train.precision` comes to on a device: ``fp32`` or ``bf16``."""
    able = device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
    if wanted == "bf16" and not able:
        raise ClarityError(
            "params.yaml: train.precision: bf16 needs a GPU that has it; set it to auto or fp32"
        )
    return "bf16" if able and wanted != "fp32" else "fp32"
