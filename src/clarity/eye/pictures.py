"""The pictures of a deck: what the pool's models make of the items."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from clarity.evaluate import samples
from clarity.evaluate.forward import encode
from clarity.evaluate.latent import walk
from clarity.evaluate.measure import train_latents
from clarity.eye.draw import Trial
from clarity.eye.project import Drawn, walks
from clarity.layout import Training
from clarity.models.base import Autoencoder, in_colour, to_input
from clarity.models.base import to_images as stored_images
from clarity.models.build import load
from clarity.params import Model

Picture = NDArray[np.uint8]


@dataclass(frozen=True)
class Shown:
    """The pictures of one trial, uint8 H×W×3; no middle where there is nothing to compare with."""

    left: Picture
    middle: Picture | None
    right: Picture


#: Pictures of a walk between two faces, the ends included: a column.
STEPS = 5
#: Between the two faces in the middle: the page's own surround.
SURROUND = 117


def pictures(made: Drawn) -> list[Shown]:
    """What every trial of a deck shows, as `evaluate` had it: the same draws, the same walks."""
    wanted: dict[Training, set[int]] = {}
    for trial in made.trials:
        for side in (trial.left, trial.right):
            wanted.setdefault(side, set()).add(trial.item.place)
    side_of: dict[tuple[Training, int], Picture] = {}
    for training in sorted(wanted, key=lambda t: t.name):
        places = np.array(sorted(wanted[training]), dtype=np.int64)
        network = load(training.directory).to(made.images.device)
        made_of_it = _of_one(network, made, made.models[training.model], places)
        side_of |= {
            (training, int(place)): picture
            for place, picture in zip(places, made_of_it, strict=True)
        }
    middle = _middles(made)
    return [
        Shown(
            side_of[trial.left, trial.item.place],
            middle(trial),
            side_of[trial.right, trial.item.place],
        )
        for trial in made.trials
    ]


@torch.inference_mode()
def _of_one(network: Autoencoder, made: Drawn, model: Model, places: NDArray[np.int64]) -> Picture:
    """One model's pictures at these places, n×H×W×3."""
    size, what, split = made.params.evaluate.batch_size, made.deck.what, made.deck.split
    if what == "reconstructions":
        batches = made.images.chunks(split, places, size)
        return np.concatenate([to_images(network(to_input(batch))) for batch in batches])
    if what == "interpolations":
        first, second, _ = walks(made.params, made.images, split)
        ends = [
            torch.cat([encode(network, b) for b in made.images.chunks(split, rows[places], size)])
            for rows in (first, second)
        ]
        columns = [to_images(network.decode(w)) for w in walk(ends[0], ends[1], STEPS - 1)]
        return np.stack([column.reshape(-1, *column.shape[2:]) for column in columns])
    latents = _drawn(network, made, model)[places]
    parts = torch.split(latents.to(made.images.device), size)
    return np.concatenate([to_images(network.decode(part)) for part in parts])


def to_images(x: torch.Tensor) -> Picture:
    """A network's outputs as pictures, n×H×W×3."""
    return in_colour(stored_images(x))


def _drawn(network: Autoencoder, made: Drawn, model: Model) -> torch.Tensor:
    """The latents of the samples that `evaluate` took: from the prior, or a fitted density."""
    settings = made.params.evaluate
    if model.traits.prior:
        return samples.prior_latents(settings.samples, network.latent_size, settings.seed)
    latents = train_latents(network, made.images, settings.batch_size)
    drawn, _ = samples.mixture_latents(
        latents, settings.samples, settings.components, settings.seed
    )
    return drawn


def _middles(made: Drawn) -> Callable[[Trial], Picture | None]:
    originals = made.images.arrays[made.deck.split, 0]
    if made.deck.what == "reconstructions":
        return lambda trial: in_colour(np.array(originals[trial.item.place]))
    if made.deck.what == "interpolations":
        first, second, _ = walks(made.params, made.images, made.deck.split)

        def ends(trial: Trial) -> Picture:
            size = originals.shape[1]
            column = np.full((STEPS * size, size, 3), SURROUND, dtype=np.uint8)
            column[:size] = originals[first[trial.item.place]]
            column[-size:] = originals[second[trial.item.place]]
            return column

        return ends
    return lambda trial: None
