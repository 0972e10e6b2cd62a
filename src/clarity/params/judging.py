"""Sections ``evaluate``, ``compare``, ``gate`` and ``drift``: what results are judged by."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import Field, field_validator

from clarity.measures import DISTANCES, MEASURES
from clarity.params.section import Positive, Section, Seed, among

#: The gate's metric that is no measure of reconstruction: the area under the detector's ROC curve.
AUROC = "auroc"
#: The same against kinds of anomaly that the detector's score was not fitted to, mean over kinds.
UNSEEN = "auroc_unseen_kind"


class Evaluate(Section):
    """What is measured of each model."""

    batch_size: Positive
    #: Faces in the grids; the same for every model.
    faces: Annotated[int, Field(ge=1, le=32)]
    #: Share of validation normals above the anomaly threshold.
    false_alarm_rate: Annotated[float, Field(gt=0, lt=1)]
    #: Pairs of faces whose interpolation is measured, and the steps between them.
    pairs: Positive
    steps: Annotated[int, Field(ge=2, le=10_000)]
    #: Samples drawn from prior or fitted mixture, and the mixture's components.
    samples: Positive
    components: Positive
    seed: Seed


class Margins(Section):
    """Smallest difference that counts, per claim; docs/verdicts.md says in which units."""

    clearer: Annotated[float, Field(ge=0)]
    smoother: Annotated[float, Field(ge=0)]
    blurrier: Annotated[float, Field(ge=0)]


class Compare(Section):
    """Intervals, verdicts and the report."""

    #: What "clearer" is judged by: a key of `clarity.measures.MEASURES` that is a distance.
    measure: Annotated[str, among(DISTANCES, "clearer cannot be judged by it; ")]
    confidence: Annotated[float, Field(gt=0, lt=1)]
    resamples: Annotated[int, Field(ge=100, le=1_000_000)]
    seed: Seed
    margins: Margins
    dpi: Annotated[int, Field(ge=50, le=400)]


class Guards(Section):
    """Bounds on a challenger, however good it is; null, or left out: no bound."""

    #: Budgets: median milliseconds of one image, and megabytes (10⁶ bytes) of the weights.
    milliseconds: Annotated[float, Field(gt=0)] | None = None
    megabytes: Annotated[float, Field(gt=0)] | None = None
    #: Largest share of the panel of obvious pictures that may pass as normal (docs/registry.md).
    panel: Annotated[float, Field(ge=0, le=1)] | None = None
    #: Against a champion of the same data: largest rise of the false-alarm rate (difference of
    #: shares), largest ratio of latencies and of weight files.
    false_alarms: Annotated[float, Field(ge=0)] | None = None
    latency: Annotated[float, Field(gt=0)] | None = None
    size: Annotated[float, Field(gt=0)] | None = None


class Gate(Section):
    """When a challenger becomes champion."""

    #: Of the registered model in MLflow.
    name: str = Field(max_length=200)
    #: ``auroc_unseen_kind``, ``auroc``, or a key of `clarity.measures`.
    metric: str
    margin: Annotated[float, Field(ge=0)]
    confidence: Annotated[float, Field(gt=0.5, lt=1)]
    #: Ask for more confidence with every question put to the same people; docs/registry.md.
    spend: bool
    guards: Guards

    @field_validator("name")
    @classmethod
    def _plain(cls, value: str) -> str:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", value):
            raise ValueError(
                "a registered model's name begins with a letter or a digit; letters, digits, dots, "
                "underscores and hyphens follow"
            )
        return value

    @field_validator("metric")
    @classmethod
    def _known(cls, value: str) -> str:
        known = (UNSEEN, AUROC, *(key for key, measure in MEASURES.items() if measure.every))
        if value not in known:
            raise ValueError(f"not measured of every image; there are {', '.join(known)}")
        return value


class Drift(Section):
    """When pictures that arrive are called different; read by the flows, by no stage."""

    #: Level of all tests of one look together.
    alpha: Annotated[float, Field(gt=0, lt=1)]
    #: Smallest effect that counts: standard deviations of the reference (MMD for latent codes).
    effect: Annotated[float, Field(ge=0)]
    #: Fewest images that are judged.
    minimum: Annotated[int, Field(ge=5, le=1_000_000)]
    #: Of the latent codes' test; with k the smallest p-value is 1 / (k + 1), before adjustment.
    permutations: Annotated[int, Field(ge=99, le=1_000_000)]
    seed: Seed
    #: Batches in a row that have to drift before anybody is called.
    lasting: Positive
