"""One candidate's training, told a line of JSON an epoch: what a search reads, and may cut short.

Trained alike: ``train.epochs`` and no other budget. Nothing is written but a checkpoint, from which
the same candidate goes on. ``gate`` and ``test`` are not opened.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from typing import Any

import torch
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from clarity.errors import ClarityError
from clarity.evaluate.perceptual import EVERY, perceptual
from clarity.evaluate.reconstruction import METRICS, image_metrics
from clarity.files import sha256_bytes
from clarity.layout import PARAMS
from clarity.measures import MEASURES
from clarity.models.base import Autoencoder, to_unit
from clarity.params import Params, parse_params
from clarity.presets import merge
from clarity.train.budget import ALIKE
from clarity.train.checkpoint import Checkpoint, State
from clarity.train.data import Images
from clarity.train.loop import Diverged, fit
from clarity.train.setup import set_up


def changed(model: str, changes: Mapping[str, Any]) -> Params:
    """``params.yaml`` with these changes of one model.

    Raises:
        ClarityError: they make no model.
    """
    from ruamel.yaml import YAML

    content = YAML(typ="safe").load(PARAMS.read_text())
    merge(content["models"], {model: {**changes}})
    return parse_params(json.dumps(content), PARAMS)


def try_out(model: str, seed: int, changes: Mapping[str, Any]) -> None:
    """Train a candidate and print what came of it.

    Lines: ``{"checkpoint": FOLDER}`` first; ``{"epoch": …, "val_mse": …}`` after each epoch; last
    ``{"distance": …, "epoch": …}``, by ``compare.measure``, of the best epoch on ``val``; or
    ``{"diverged": …}``, and why.

    Raises:
        ClarityError: bad parameters or data.
    """
    params = changed(model, changes)
    recipe = params.recipe(model).model_copy(update={"compute": None})
    made = set_up(params, model, seed, recipe)
    averaged, setting, whose = made.averaged, made.setting, made.provenance["fingerprint"]
    checkpoint = Checkpoint(sha256_bytes(f"tune\0{whose}".encode()))
    _tell(checkpoint=str(checkpoint.directory))

    def told(state: State, resumed: bool) -> None:
        for row in state.rows if resumed else state.rows[-1:]:
            _tell(epoch=int(row["epoch"]), val_mse=row["val_mse"])

    with threadpool_limits(params.threads):
        try:
            state, best = fit(made.network, averaged, setting, checkpoint, told)
        except Diverged as error:  # a rate too far: this candidate's end, not the search's
            checkpoint.delete()
            _tell(diverged=str(error))
            return
        averaged.load_state_dict(best[ALIKE])
        distance = _distance(averaged, setting.val, params.compare.measure)
    _tell(distance=distance, epoch=state.best[ALIKE][0])
    checkpoint.delete()


@torch.inference_mode()
def _distance(network: Autoencoder, images: Images, measure: str) -> float:
    """Mean distance of reconstructions from their originals, 0 for identical ones."""
    network.eval()
    total = 0.0
    for x in images.inputs():
        pair = to_unit(network(x)).contiguous(), to_unit(x).contiguous()
        if measure in METRICS:
            found = image_metrics(*pair)
        else:
            found = perceptual(*pair, every=measure in EVERY)
        total += float(found[measure].double().sum())
    return MEASURES[measure].distance(total / len(images))


def _tell(**values: object) -> None:
    print(json.dumps(values), flush=True)


if __name__ == "__main__":
    from clarity.names import LONGEST, line

    name, number, text = sys.argv[1:]
    try:
        try_out(name, int(number), json.loads(text))
    except ClarityError as error:
        print(f"clarity: {line(str(error), LONGEST)}", file=sys.stderr)
        sys.exit(2)
