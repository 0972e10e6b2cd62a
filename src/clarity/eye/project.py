"""What a deck is drawn from: the project's trained models and packed images, found and checked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from clarity.errors import ClarityError
from clarity.evaluate.images import Images, face_pairs
from clarity.evaluate.samples import MOST_ELEMENTS
from clarity.evaluate.stage import open_images
from clarity.eye.draw import Deck, Item, Trial, draw, name_digest
from clarity.files import sha256_file
from clarity.layout import Training
from clarity.models.device import prepare
from clarity.params import Model, Params, load_params


@dataclass(frozen=True)
class Drawn:
    """A deck with all that follows from it.

    Attributes:
        models: the pool, by name, in the order of params.yaml.
        keys: of each trial, as answers carry them.
    """

    deck: Deck
    params: Params
    images: Images
    models: dict[str, Model]
    trials: list[Trial]
    weights: dict[Training, str]

    @property
    def keys(self) -> list[str]:
        return [trial.key(self.deck, self.weights) for trial in self.trials]


def drawn(deck: Deck, names: Sequence[str] = ()) -> Drawn:
    """Draw a new deck.

    Args:
        deck: without pool and seeds, which are filled in from the project.
        names: models that may be shown; all that are trained where there are none.

    Raises:
        ClarityError: a name is not known, or fewer than two models are trained.
    """
    params = load_params()
    for name in names:
        params.model(name)
    pool = [
        name
        for name in params.models
        if (not names or name in names)
        and _has(deck.what, params.models[name])
        and all(Training(name, seed).weights.is_file() for seed in params.seeds)
    ]
    if misplaced := [n for n in names if not _has(deck.what, params.models[n])]:
        raise ClarityError(
            f"--models {misplaced[0]}: there are no samples of it, its latent is too wide for a "
            "density; leave it out"
        )
    if missing := [name for name in names if name not in pool]:
        path = Training(missing[0], params.seeds[0]).weights
        raise ClarityError(f"{path}: no such file; train the model first (dvc repro)")
    if len(pool) < 2:
        raise ClarityError(
            f"{len(pool)} of {len(params.models)} models are trained and have {deck.what}; a look "
            "compares at least two: run dvc repro, or add models to params.yaml"
        )
    digests = tuple(name_digest(name) for name in pool)
    return _with_trials(replace(deck, seeds=params.seeds, pool=digests), params)


def _has(what: str, model: Model) -> bool:
    """Whether a model has what is asked for: of a wide latent nothing is drawn."""
    if what in ("samples", "sharpness"):
        return model.latent is not None and model.latent <= MOST_ELEMENTS
    return True


def again(deck: Deck, where: str) -> Drawn:
    """Draw a deck that answers name, from the project as it is now.

    Raises:
        ClarityError: it was drawn from models that params.yaml no longer has.
    """
    params = load_params()
    known = {name_digest(name) for name in params.models}
    if not set(deck.pool) <= known or not set(deck.seeds) <= set(params.seeds):
        raise ClarityError(
            f"{where}: looked at models or seeds that params.yaml does not have; check out the "
            "project that the page was made in"
        )
    return _with_trials(deck, params)


def _with_trials(deck: Deck, params: Params) -> Drawn:
    models = {
        name: model for name, model in params.models.items() if name_digest(name) in deck.pool
    }
    images = open_images(params.preprocess.shape, prepare(params.device, params.threads))
    trials = draw(deck, models, items(deck, params, images))
    used = sorted({side for t in trials for side in (t.left, t.right)}, key=lambda t: t.name)
    return Drawn(deck, params, images, models, trials, {t: _digest(t) for t in used})


def _digest(training: Training) -> str:
    try:
        return sha256_file(training.weights)
    except FileNotFoundError:
        raise ClarityError(
            f"{training.weights}: no such file; run dvc checkout, or train the model (dvc repro)"
        ) from None


def items(deck: Deck, params: Params, images: Images) -> list[Item]:
    """What the pairs of a deck may show: a split's normal images, walks between two, samples."""
    if deck.what in ("samples", "sharpness"):
        names = [f"sample {number + 1}" for number in range(params.evaluate.samples)]
        settings = params.evaluate
        return [
            Item(place, name, name, f"{place} of {settings.samples} from {settings.seed}")
            for place, name in enumerate(names)
        ]
    normals = images.normals(deck.split)
    faces = {
        int(row): Item(int(row), str(name), str(group), str(digest))
        for row, name, group, digest in zip(
            *(normals[column] for column in ("row", "id", "group", "sha256")), strict=True
        )
    }
    if deck.what == "reconstructions":
        return list(faces.values())
    first, second, _ = walks(params, images, deck.split)
    ends = [(faces[int(a)], faces[int(b)]) for a, b in zip(first, second, strict=True)]
    return [
        Item(place, f"{a.name} to {b.name}", a.group, f"{a.digest} {b.digest}")
        for place, (a, b) in enumerate(ends)
    ]


def walks(
    params: Params, images: Images, split: str
) -> tuple[NDArray[np.int64], NDArray[np.int64], list[list[str]]]:
    """The pairs of faces between which `evaluate` walks: rows, rows, and their groups."""
    return face_pairs(images.normals(split), params.evaluate.pairs, params.evaluate.seed)
