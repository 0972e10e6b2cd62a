"""What `train` and `evaluate` left behind of the trainings in params.yaml, ready to be compared."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from clarity.details import Details
from clarity.layout import Outputs
from clarity.measures import MEASURES, Measure
from clarity.params import FAMILIES, SYNTHETIC, Family, family_of

Floats = NDArray[np.float64]
Rows = NDArray[np.int64]
Population = Literal["train", "test"]
Question = Literal["alike", "compute"]

#: The two populations that every claim is tested on, apart.
POPULATIONS: tuple[Population, ...] = ("train", "test")
#: Under which budget the sizes of a family are compared (docs/verdicts.md).
QUESTIONS: tuple[Question, ...] = ("alike", "compute")


@dataclass(frozen=True)
class Budget:
    """Where a training's budget ended.

    Attributes:
        epoch: after which the weights were kept.
        epochs: how often each training image was seen when it ended; a fraction within an epoch.
        gflop: spent on each training image until then, forward and backward.
    """

    epoch: float
    epochs: float
    gflop: float


@dataclass(frozen=True)
class Spectrum:
    """Power by ring of one cycle an image on the normals of a split, from one cycle on.

    Attributes:
        rows: n, which normals of the split.
        error: S×n×R, of the difference between reconstruction and original.
        power: n×R, of the original.
    """

    rows: Rows
    error: Floats
    power: Floats


@dataclass(frozen=True)
class ModelResults:
    """One model over its seeds.

    Attributes:
        widths: of the encoder's hidden layers or channels; empty for PCA.
        latent: elements of the bottleneck.
        loss: what training minimised, in words; of several seeds the first one's.
        optimizer: what its matrices were stepped by, ``adamw`` or ``muon``; the first one's too.
        flops: of one reconstruction.
        metrics: ``metrics[split][measure]``, S×n on ``Results.rows[split][measure]``, of the
            weights of the budget "alike".
        same_compute: the same of the weights of the budget "compute"; None where there are none.
        budgets: where each budget ended, by seed; empty for PCA, which has none.
        spectra: by split.
        scores: ``scores[name]``, S×N on all test images, higher is more anomalous.
        unseen: by kind of anomaly, S×N on all test images: the best score, fitted without the kind.
        best_score: the score with the largest figure on ``val`` (`clarity.choice`).
        val_auroc: that figure: mean AUROC over kinds, each left out of the fit.
        details: ``details.json`` of each seed.
        curves: ``curves.csv`` of each seed.
    """

    name: str
    family: str
    widths: tuple[int, ...]
    latent: int
    parameters: int
    loss: str
    optimizer: str
    flops: int
    weight_bytes: int
    trainings: tuple[Outputs, ...]
    metrics: Mapping[Population, Mapping[str, Floats]]
    same_compute: Mapping[Population, Mapping[str, Floats]] | None
    budgets: tuple[Mapping[Question, Budget | None], ...]
    spectra: Mapping[Population, Spectrum]
    scores: Mapping[str, Floats]
    unseen: Mapping[str, Floats]
    best_score: str
    val_auroc: float
    details: tuple[Details, ...]
    curves: tuple[pd.DataFrame, ...]

    @property
    def deterministic(self) -> bool:
        """PCA has no seed: its trainings are one."""
        return self.traits.fitted

    @property
    def traits(self) -> Family:
        """What its family is like."""
        return family_of(self.family)

    def measured(self, question: Question) -> Mapping[Population, Mapping[str, Floats]] | None:
        """What was measured of the weights of a budget; None where there are none."""
        return self.metrics if question == "alike" else self.same_compute

    def spent(self, question: Question) -> list[Budget]:
        """Where the budget ended, a seed each; empty where a training has none."""
        found = [seed.get(question) for seed in self.budgets]
        return [] if None in found else [budget for budget in found if budget]

    def known(self, *keys: str) -> float:
        """Mean over seeds of a number in ``details.json``; 0 where a seed has none."""
        values = [number(content, keys) for content in self.details]
        known = [value for value in values if value is not None]
        return float(np.mean(known)) if len(known) == len(values) else 0.0

    def listed(self, *keys: str) -> Floats | None:
        """S×K from lists in ``details.json`` under ``keys``; None where a seed has none."""
        rows = []
        for content in self.details:
            value = inside(content, keys)
            if not isinstance(value, list) or not value or None in value:
                return None
            rows.append(np.asarray(value, dtype=np.float64))
        return np.stack(rows) if len({len(row) for row in rows}) == 1 else None


def number(content: Details, keys: tuple[str, ...]) -> float | None:
    """A number under ``keys`` of ``details.json``; None where there is none."""
    value = inside(content, keys)
    return float(value) if isinstance(value, int | float) else None


def inside(content: Details, keys: tuple[str, ...]) -> Any:
    """What lies under ``keys`` of ``details.json``: figures by name, then by split; or None."""
    found: Any = content
    for key in keys:
        if isinstance(found, Mapping):
            found = found.get(key)
        else:
            found = None if found is None else getattr(found, key)
    return found


@dataclass(frozen=True)
class Results:
    """All models of one run, on the same images.

    Attributes:
        primary: what "clearer" is judged by.
        measures: keys of the measures that there are, the primary first.
        index: ``index.csv``; one row a packed image.
        digest: its SHA-256, the digest of the data.
        rows: ``rows[split][measure]``, which normals of a split a measure was taken of.
        test: ``label``, ``group``, ``kind`` of all test images, row for row with the scores.
        source: ``source.json``: where the images come from.
        ensembles: several models in one, each as a model of one training; no family's sizes.
    """

    models: tuple[ModelResults, ...]
    seeds: tuple[int, ...]
    primary: Measure
    measures: tuple[str, ...]
    index: pd.DataFrame
    digest: str
    rows: Mapping[Population, Mapping[str, Rows]]
    test: pd.DataFrame
    source: Mapping[str, Any] = field(default_factory=dict)
    ensembles: tuple[ModelResults, ...] = ()

    @cached_property
    def kinds(self) -> tuple[str, ...]:
        """Kinds of anomaly in the test split, sorted."""
        return tuple(self.kinds_of("test"))

    @cached_property
    def kinds_in_val(self) -> list[str]:
        """Those of them that ``val`` had, by which scores are fitted and chosen."""
        return [kind for kind in self.kinds_of("val") if kind in self.kinds]

    def kinds_of(self, split: str) -> list[str]:
        """Kinds of anomaly in a split, sorted."""
        index = self.index
        return sorted(set(index.loc[(index["split"] == split) & (index["label"] == 1), "kind"]))

    @cached_property
    def masked(self) -> tuple[str, ...]:
        """Kinds of anomaly in the test split whose masks the source brought."""
        own = (self.index["has_mask"] == 1) & ~self.index["kind"].isin(SYNTHETIC)
        return tuple(sorted(set(self.index.loc[own & (self.index["split"] == "test"), "kind"])))

    @cached_property
    def grouped(self) -> bool:
        """Whether images come in groups."""
        normals = self.index[self.index["label"] == 0]
        return bool(normals["group"].duplicated().any())

    @property
    def size(self) -> int:
        """Pixels of an image's side: of a spectrum's rings there are half as many."""
        return 2 * int(self.models[0].spectra["train"].power.shape[1])

    @property
    def left_out(self) -> tuple[Measure, ...]:
        """Measures that need larger images than these."""
        return tuple(one for one in MEASURES.values() if one.smallest > self.size)

    @property
    def faces(self) -> bool:
        """Whether the source says that its images are faces and its groups people."""
        return self.source.get("source") == "faces"

    @property
    def who(self) -> str:
        """What the clusters are called."""
        if self.faces:
            return "people"
        return "groups" if self.grouped else "images"

    @property
    def things(self) -> str:
        """What the images are called."""
        return "faces" if self.faces else "images"

    def groups(self, split: Population, measure: str | None = None) -> NDArray[Any]:
        """Group of each normal image of a split, or of those that a measure was taken of."""
        mine = (self.index["split"] == split) & (self.index["label"] == 0)
        groups = self.index.loc[mine, "group"].to_numpy()
        return groups if measure is None else groups[self.rows[split][measure]]

    def people(self, population: Population) -> str:
        """What a population is called in sentences."""
        if population == "train":
            return f"training {self.things}"
        if self.faces:
            return "unseen people"
        return "images of unseen groups" if self.grouped else "unseen images"

    def family(self, family: str) -> list[ModelResults]:
        """Its models, from the fewest parameters to the most."""
        return [model for model in self.models if model.family == family]

    @cached_property
    def families(self) -> tuple[str, ...]:
        """Families that have a model here, in order."""
        return tuple(sorted({model.family for model in self.models}, key=family_order))

    @property
    def linear(self) -> tuple[ModelResults, ...]:
        """Linear models: what networks have to be better than."""
        return tuple(model for model in self.models if model.traits.linear)

    @property
    def with_prior(self) -> tuple[ModelResults, ...]:
        """Models that samples can be drawn from: VAEs."""
        return tuple(model for model in self.models if model.traits.prior)

    @property
    def detectors(self) -> tuple[ModelResults, ...]:
        """All that detect anomalies: models, then ensembles of them."""
        return self.models + self.ensembles

    def by_name(self, name: str) -> ModelResults:
        """The model or ensemble of that name."""
        return next(model for model in self.detectors if model.name == name)


def family_order(family: str) -> tuple[int, str]:
    """Clarity's own families first, in their order; then the user's, by name."""
    return (list(FAMILIES).index(family), "") if family in FAMILIES else (len(FAMILIES), family)


def distances(key: str, values: Floats) -> Floats:
    """A measure's values as distances from the original: 0 at best, larger is worse."""
    measure = MEASURES[key]
    if measure.lower_is_better:
        return values
    assert measure.perfect is not None
    return measure.perfect - values
