"""What a training is computed from, and the SHA-256 that stands for all of it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import torch

from clarity.files import sha256_bytes, sha256_file, sha256_tree
from clarity.inputs import declared_code, imported
from clarity.layout import normals
from clarity.networks import recorded_code
from clarity.params import Params


def fingerprint(
    params: Params, model: str, seed: int, device: torch.device, precision: str
) -> dict[str, Any]:
    """The content of provenance.json: everything that shapes one training, and its digest.

    ``fingerprint`` is the SHA-256 of all the rest: the data's bytes, the model's own parameters
    with its recipe resolved, the code that dvc.yaml declares for ``train`` as it was imported, that
    of a network of one's own, torch's version, the device, the threads and, where there are
    several, the processes. Two trainings with one fingerprint give the same bytes on one machine.

    Args:
        params: the checked parameters.
        model: a key of ``models``.
        seed: one of ``seeds``.
        device: what ``device`` came to.
        precision: what ``precision`` came to, ``fp32`` or ``bf16``.
    """
    spec = params.model(model).model_dump(mode="json", exclude={"train", "processes"})
    recipe = params.recipe(model).model_dump(mode="json") | {"precision": precision}
    family = params.model(model).family
    own = params.model(model).own
    network = {"network": recorded_code(model, family).sha256} if own else {}
    content: dict[str, Any] = {
        "data": {path.name: sha256_file(path) for path in map(normals, ("train", "val"))},
        "parameters": {"name": model, "seed": seed, "model": spec, "train": recipe},
        "code": {path.as_posix(): sha256_tree(imported(path)) for path in declared_code("train")},
        **network,
        "torch": torch.__version__,
        "device": device.type,
        "threads": params.threads,
    }
    if (processes := params.model(model).processes) > 1:
        content["processes"] = processes
    return content | {"fingerprint": _digest(content)}


def whoever_trains(provenance: Mapping[str, Any]) -> str:
    """The fingerprint by one process: a checkpoint goes on under another number of them."""
    left_out = ("fingerprint", "processes")
    return _digest({key: value for key, value in provenance.items() if key not in left_out})


def _digest(content: Mapping[str, Any]) -> str:
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return sha256_bytes(text.encode())
