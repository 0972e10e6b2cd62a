"""What the measures say of the pictures that were shown: read from the evaluations."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from clarity.details import read_details
from clarity.errors import ClarityError, in_a_line
from clarity.eye.draw import Deck, Trial
from clarity.layout import Training
from clarity.measures import MEASURES

#: By training: the value of each measure, by the place of the item.
Values = dict[Training, dict[str, dict[int, float]]]


@dataclass(frozen=True)
class Asked:
    """A measure as it is put beside the eye."""

    key: str
    label: str
    lower_is_better: bool

    def prefers_left(self, left: float, right: float) -> float:
        """1 or 0; 1/2 where both are equal, NaN where one is not known."""
        if math.isnan(left) or math.isnan(right):
            return math.nan
        if left == right:
            return 0.5
        return float((left < right) == self.lower_is_better)


#: Of a walk between two faces; docs/metrics/latent-space.md. Lower is taken for smoother.
OF_WALKS = [
    Asked("path_length", "Path length", True),
    Asked("jump", "Largest step", True),
    Asked("jump_haarpsi", "Largest step, HaarPSI", True),
    Asked("crossfade", "Cross-fade", True),
]
#: Of samples; docs/metrics/samples.md. All but the sharpness are a model's, not a picture's.
OF_SAMPLES = [
    Asked("sharpness", "Sharpness", False),
    Asked("high_frequency_db", "High frequencies", False),
    Asked("frechet", "Fréchet distance", True),
    Asked("precision", "Precision", False),
    Asked("recall", "Recall", False),
]


def read(deck: Deck, trials: Sequence[Trial]) -> tuple[list[Asked], Values]:
    """The measures of what the deck shows, and their values for every training in it.

    Raises:
        ClarityError: an evaluation is missing or broken.
    """
    trainings = sorted({t for trial in trials for t in (trial.left, trial.right)}, key=_name)
    if deck.what == "reconstructions":
        candidates = [Asked(m.key, m.label, m.lower_is_better) for m in MEASURES.values()]
        values = {training: _per_image(training, deck.split) for training in trainings}
    else:
        candidates = OF_WALKS if deck.what == "interpolations" else OF_SAMPLES
        places = range(max(trial.item.place for trial in trials) + 1)
        values = {
            training: _of_details(training, deck, [asked.key for asked in candidates], places)
            for training in trainings
        }
    known = {key for columns in values.values() for key in columns}
    return [asked for asked in candidates if asked.key in known], values


def _name(training: Training) -> str:
    return training.name


def _per_image(training: Training, split: str) -> dict[str, dict[int, float]]:
    path = training.per_image
    try:
        table = pd.read_parquet(path)
        table = table[(table["split"] == split) & (table["label"] == 0)]
        rows = table["row"].to_numpy()
    except FileNotFoundError:
        raise ClarityError(f"{path}: no such file; evaluate the model (dvc repro)") from None
    except (OSError, ValueError, KeyError) as error:
        reason = in_a_line(error, 200)
        raise ClarityError(f"{path}: broken ({reason}); restore it with dvc checkout") from None
    return {
        key: dict(zip(rows.tolist(), table[key].astype(float).tolist(), strict=True))
        for key in MEASURES
        if key in table
    }


def _of_details(
    training: Training, deck: Deck, keys: Sequence[str], places: range
) -> dict[str, dict[int, float]]:
    """Figures of details.json by place; one number for all places where the model has only one."""
    content = read_details(training.details)
    walks = deck.what == "interpolations"
    found: dict[str, dict[int, float]] = {}
    for key in keys:
        figures = getattr(content.latent_space if walks else content.samples, key)
        if isinstance(figures, Mapping):
            figures = figures.get(deck.split)
        if isinstance(figures, list):
            found[key] = {place: float(figure) for place, figure in enumerate(figures)}
        elif figures is not None:
            found[key] = dict.fromkeys(places, float(figures))
    return found


def value(values: Values, training: Training, key: str, place: int) -> float:
    """One value; NaN where the measure was not taken of it."""
    return values[training].get(key, {}).get(place, math.nan)
