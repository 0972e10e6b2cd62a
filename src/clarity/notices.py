"""What is possible and hardly meant in params.yaml: said by `clarity check`, refused by none."""

from __future__ import annotations

import numpy as np

from clarity.layout import normals
from clarity.models.build import build
from clarity.models.flops import gflop_per_image
from clarity.networks import read_code
from clarity.params import Params

#: So many times more (or fewer) epochs than `epochs` are a budget of compute worth a word: the
#: committed sizes lie within six times.
FAR = 6
#: Budgets of compute that differ by less than this are the same.
SAME = 0.02


def notices(params: Params) -> list[str]:
    """A line for each."""
    return prepared_images(params) + budgets_of_compute(params)


def prepared_images(params: Params) -> list[str]:
    """A line for each PCA that the training images, where they are prepared, are too few for.

    No error: pictures may have come since, and only `dvc repro` brings the file up to date.
    """
    path = normals("train")
    try:
        count = len(np.load(path, mmap_mode="r", allow_pickle=False))
    except (OSError, ValueError, EOFError):  # not prepared yet; the stages say what is broken
        return []
    return [f"{line} ({path}, as it is now)" for line in params.too_many_components(count)]


def budgets_of_compute(params: Params) -> list[str]:
    """A line for each family with a size whose compute is far from its epochs.

    A budget of compute is a cost, and images of another size, or other widths, cost another.
    """
    asked = [
        name
        for name, spec in params.models.items()
        if not spec.traits.fitted and params.recipe(name).compute is not None
    ]
    families = dict.fromkeys(params.models[name].family for name in asked)
    lines = []
    for family in families:
        cost = {
            name: _gflop(params, name) for name in asked if params.models[name].family == family
        }
        if line := _far(params, cost):
            lines.append(line)
    return lines


def _far(params: Params, cost: dict[str, float]) -> str:
    """Of a family's sizes with their GFLOP an image and step; empty where none is far off."""
    told = []
    for name, gflop in cost.items():
        recipe = params.recipe(name)
        epochs = (recipe.compute or 0) / gflop
        ratio = epochs / recipe.epochs
        if not 1 / FAR <= ratio <= FAR:
            own = params.models[name].train.compute is not None
            key = f"models.{name}.train.compute" if own else f"train.compute, for {name}"
            told.append((name, key, recipe.compute, epochs, recipe.epochs))
    if not told:
        return ""
    _, key, compute, epochs, asked = told[0]
    others = ", ".join(name for name, *_ in told[1:])
    rest = f" (as far off: {others})" if others else ""
    middle = sorted(cost, key=lambda name: (cost[name], name))[(len(cost) - 1) // 2]
    spends = params.recipe(middle).epochs * cost[middle]
    same = abs(spends / (compute or 1) - 1) < SAME
    mend = "that is" if same else f"set it, for every size alike, to {spends:.3g}:"
    return (
        f"{key}: {compute:g} GFLOP an image come to {epochs:.3g} epochs of "
        f"{params.preprocess.shape} images, where epochs is {asked}{rest}; {mend} what {middle} "
        f"spends in its {params.recipe(middle).epochs} epochs"
    )


def _gflop(params: Params, name: str) -> float:
    spec, shape, recipe = params.models[name], params.preprocess.shape, params.recipe(name)
    if spec.own:
        network = build(spec, name, shape, code=read_code(spec.family))
        return gflop_per_image(network, recipe)
    import torch

    with torch.device("meta"):  # its numbers are never drawn
        network = build(spec, name, shape)
    # Counted where nothing is computed, a linear layer would load torch's compiler.
    return gflop_per_image(network.to_empty(device="cpu"), recipe)
