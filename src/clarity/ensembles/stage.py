"""Stage ``ensemble``: trainings put side by side, and measured as one network."""

from __future__ import annotations

import json
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save

from clarity.ensembles.network import assemble, rebuild
from clarity.errors import ClarityError, in_a_line
from clarity.evaluate.stage import evaluate
from clarity.files import read_json, sha256_bytes, write_bytes, write_json
from clarity.layout import Ensemble, Training
from clarity.params import ENSEMBLE, load_params


def evaluate_ensemble(name: str) -> None:
    """Write the ensemble's weights, which are its members', and its evaluation.

    Args:
        name: a key of ``ensembles`` in params.yaml.

    Raises:
        ClarityError: a member is missing or broken, or they do not fit each other or the images.
    """
    params = load_params()
    if name not in params.ensembles:
        known = ", ".join(params.ensembles) or "none"
        raise ClarityError(f"params.yaml: ensembles.{name} does not exist; there are {known}")
    members, outputs = params.members(name), Ensemble(name)
    description, weights = assemble(name, {one.name: _trained(one) for one in members})
    content: dict[str, Any] = {
        "parameters": {
            "name": name,
            "model": {"family": ENSEMBLE, "members": list(params.ensembles[name])},
            "seeds": list(params.seeds),
        },
        "members": {one.name: read_json(one.provenance)["fingerprint"] for one in members},
    }
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    network = rebuild(description, weights)
    write_json(outputs.description, description)
    write_bytes(outputs.weights, save(weights))
    write_json(outputs.provenance, content | {"fingerprint": sha256_bytes(text.encode())})
    said = {"model": name, "seed": None, "members": [one.name for one in members]}
    evaluate(params, outputs, network, said)


def _trained(training: Training) -> tuple[dict[str, Any], dict[str, Any]]:
    """What model.json and weights.safetensors of a training hold."""
    for path in (training.description, training.weights, training.provenance):
        if not path.is_file():
            raise ClarityError(f"{path}: no such file; run `dvc repro {training.made_by}`")
    try:
        return read_json(training.description), load_file(training.weights)
    except SafetensorError as error:
        raise ClarityError(
            f"{training.weights}: broken ({in_a_line(error)}); restore it with dvc checkout"
        ) from None
