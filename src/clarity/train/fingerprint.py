"""What a training is computed from, and the SHA-256 that stands for all of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from clarity.errors import ClarityError
from clarity.files import sha256_bytes, sha256_file, sha256_tree
from clarity.layout import GRAPH, normals
from clarity.params import Params


def fingerprint(
    params: Params, model: str, seed: int, device: torch.device, precision: str
) -> dict[str, Any]:
    """The content of provenance.json: everything that shapes one training, and its digest.

    ``fingerprint`` is the SHA-256 of all the rest: the data's bytes, the model's own parameters
    with its recipe resolved, the code that dvc.yaml declares for ``train``, torch's version, the
    device and the threads. Two trainings with one fingerprint give the same bytes on one machine.

    Args:
        params: the checked parameters.
        model: a key of ``models``.
        seed: one of ``seeds``.
        device: what ``device`` came to.
        precision: what ``precision`` came to, ``fp32`` or ``bf16``.
    """
    spec = params.model(model).model_dump(mode="json", exclude={"train"})
    recipe = params.recipe(model).model_dump(mode="json") | {"precision": precision}
    content: dict[str, Any] = {
        "data": {path.name: sha256_file(path) for path in map(normals, ("train", "val"))},
        "parameters": {"name": model, "seed": seed, "model": spec, "train": recipe},
        "code": {path.as_posix(): sha256_tree(path) for path in declared_code()},
        "torch": torch.__version__,
        "device": device.type,
        "threads": params.threads,
    }
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return content | {"fingerprint": sha256_bytes(text.encode())}


def declared_code(stage: str = "train") -> list[Path]:
    """The source folders and files that dvc.yaml declares as dependencies of ``stage``.

    Raises:
        ClarityError: dvc.yaml is missing, broken, or declares none.
    """
    try:
        graph = YAML(typ="safe").load(GRAPH.read_text(encoding="utf-8"))
        declared = [Path(str(path)) for path in graph["stages"][stage]["deps"]]
    except FileNotFoundError:
        raise ClarityError(f"{GRAPH}: no such file; run from the project's root") from None
    except (YAMLError, KeyError, TypeError):
        raise ClarityError(f"{GRAPH}: stages.{stage}.deps cannot be read; restore it") from None
    code = sorted(path for path in declared if path.parts[0] == "src")
    missing = [path.as_posix() for path in code if not path.exists()]
    if missing or not code:
        what = f"{missing[0]} does not exist" if missing else "no code under src/"
        raise ClarityError(f"{GRAPH}: stages.{stage}.deps: {what}; mend the list")
    return code
