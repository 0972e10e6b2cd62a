"""What a training's outputs say, in the words in which MLflow shows it. Reads files, no MLflow."""

from __future__ import annotations

import csv
import math
import os
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from clarity.compare.style import name_families, shade
from clarity.details import Details, read_details
from clarity.errors import ClarityError
from clarity.files import read_json, sha256_bytes, sha256_file, sha256_tree
from clarity.layout import GRAPH, INDEX, NETWORKS, PARAMS, SOURCE, Outputs, Shape, Training
from clarity.params import ENSEMBLE, Params
from clarity.score.foreign import training_data
from clarity.score.registered import (
    TAG_COMMIT,
    TAG_DATA,
    TAG_EVALUATION,
    TAG_FAMILY,
    TAG_FINGERPRINT,
    TAG_FLOW_RUN,
    TAG_IDENTITY,
    TAG_MODEL,
    TAG_NAME,
    TAG_REGISTERED,
    TAG_SEED,
    TAG_STAGE,
    TAG_WEIGHTS,
    digests_of,
    identity_of,
)
from clarity.tracking import keys

#: Raise when the same outputs are to be shown differently, so that they are published anew.
FORMAT = 2
#: What a commit has to hold for a training to be had again from it.
CODE = ("src", "pipelines", NETWORKS.as_posix(), PARAMS.as_posix(), GRAPH.as_posix())
#: Columns of curves.csv that are axes, not curves.
AXES = ("epoch", "step")


def flatten(tree: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Leaves of nested mappings, as (dotted path, value)."""
    if isinstance(tree, Mapping):
        for key, value in tree.items():
            yield from flatten(value, f"{prefix}.{key}" if prefix else str(key))
    else:
        yield prefix, tree


def recipe(provenance: Mapping[str, Any]) -> dict[str, str]:
    """A run's parameters: the model's entry, its recipe, and what else its bytes depend on.

    Args:
        provenance: the content of provenance.json.
    """
    parameters = provenance.get("parameters", {})
    values: dict[str, Any] = {
        **parameters.get("model", {}),
        "seed": parameters.get("seed"),
        **{name: provenance.get(name) for name in ("device", "threads", "processes", "torch")},
        **dict(flatten(parameters.get("train", {}), "train")),
    }
    return {
        key: ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
        for key, value in values.items()
        if value is not None and value != []
    }


def size(model: str, family: str) -> str:
    """``small`` of ``conv-small``: what distinguishes a model within its family."""
    return model.removeprefix(f"{family}-")


def commit() -> dict[str, str]:
    """Tags of git's HEAD, flagged where code or parameters differ from it; empty without git.

    ``dvc.lock`` does not count: every run of the pipeline changes it. A project that git ignores
    (``.quick/``) is in no commit, and the one around it is not its origin.
    """
    command = ["git", "rev-parse", "HEAD"]
    ignored = ["git", "check-ignore", "--quiet", PARAMS.as_posix()]
    status = ["git", "status", "--porcelain", "--", *CODE]
    try:
        if subprocess.run(ignored, capture_output=True, timeout=20, check=False).returncode == 0:
            return {}
        head = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True)
        dirty = subprocess.run(status, capture_output=True, text=True, timeout=60, check=True)
    except (OSError, subprocess.SubprocessError):
        return {}
    tags = {TAG_COMMIT: head.stdout.strip(), keys.DIRTY: str(bool(dirty.stdout.strip())).lower()}
    return {**tags, "mlflow.source.git.commit": head.stdout.strip()}


def flow_run() -> dict[str, str]:
    """Tag of the orchestrator's run that this process is part of, if any."""
    for name in ("CLARITY_FLOW_RUN_ID", "PREFECT__FLOW_RUN_ID"):
        if value := os.environ.get(name):
            return {TAG_FLOW_RUN: value}
    return {}


def identity_tags(params: Params, training: Outputs, fingerprint: str) -> dict[str, str]:
    """Tags known when a training starts; those by which runs are found and grouped."""
    if isinstance(training, Training):
        family, seed = params.model(training.model).family, f"{training.seed}"
    else:
        family, seed = ENSEMBLE, " ".join(map(str, params.seeds))
    place = list(params.detectors).index(training.model)
    return {
        keys.KIND: keys.TRAINING,
        TAG_REGISTERED: params.gate.name,
        TAG_NAME: training.name,
        TAG_MODEL: training.model,
        TAG_FAMILY: family,
        keys.SIZE: size(training.model, family),
        keys.ORDER: f"{place:04}-{seed:>010}",
        TAG_SEED: seed,
        TAG_STAGE: training.made_by,
        TAG_FINGERPRINT: fingerprint,
        TAG_DATA: sha256_file(INDEX),
        "mlflow.source.name": f"dvc repro {training.made_by}",
        "mlflow.source.type": "PROJECT",
        "mlflow.runName": training.name,
        keys.COLOUR: _colour(params, training.model),
    }


def _colour(params: Params, model: str) -> str:
    """A run's colour in MLflow's charts: the report's; MLflow itself draws one at random."""
    if model in params.ensembles:
        return shade(ENSEMBLE, list(params.ensembles).index(model), len(params.ensembles))
    name_families(sorted({one.family for one in params.models.values()}))
    family = params.model(model).family
    members = [name for name in params.models if params.model(name).family == family]
    return shade(family, members.index(model), len(members))


@dataclass(frozen=True)
class Dataset:
    """The packed images, as MLflow's dataset entry shows them.

    Attributes:
        digest: SHA-256 of index.csv, which lists the SHA-256 of every image.
        seen: digest of the images that trainings see, by which a version is foreign or not.
        rows: images by split, normals and anomalies apart.
    """

    name: str
    digest: str
    seen: str
    rows: dict[str, int]
    source: dict[str, Any]

    @classmethod
    def read(cls, params: Params) -> Dataset:
        """Read index.csv, and source.json where it is."""
        rows: dict[str, int] = {}
        with INDEX.open(newline="") as handle:
            for row in csv.DictReader(handle):
                name = row["split"] + ("_anomalies" if row["label"] == "1" else "")
                rows[name] = rows.get(name, 0) + 1
        source = read_json(SOURCE) if SOURCE.is_file() else {}
        name = params.data.name or params.data.source
        source = source if isinstance(source, dict) else {}
        return cls(name, sha256_file(INDEX), training_data(), rows, source)


@dataclass(frozen=True)
class Facts:
    """Everything that MLflow will show of one training, read from its outputs."""

    training: Outputs
    params: dict[str, str]
    tags: dict[str, str]
    details: Details
    description: dict[str, Any]
    timings: dict[str, Any]

    @classmethod
    def read(cls, params: Params, training: Outputs) -> Facts:
        """Read the outputs of `train` and `evaluate`; ClarityError names what is missing."""
        needed = [training.weights, training.provenance, training.details]
        if isinstance(training, Training):
            needed.append(training.curves)
        for path in needed:
            if not path.is_file():
                raise ClarityError(f"{path}: missing; `dvc checkout` or `dvc repro` brings it back")
        provenance = read_json(training.provenance)
        weights, evaluation = digests_of(training)
        tags = {
            **identity_tags(params, training, str(provenance["fingerprint"])),
            TAG_WEIGHTS: weights,
            TAG_EVALUATION: evaluation,
            TAG_IDENTITY: identity_of(training),
        }
        timings = read_json(training.timings) if training.timings.is_file() else {}
        details = read_details(training.details, training.evaluated_by)
        description = read_json(training.description)
        # Known only when the network is built: the bottleneck of a convolutional one, the size.
        counts = {name: str(description[name]) for name in ("latent", "parameters")}
        return cls(training, recipe(provenance) | counts, tags, details, description, timings)

    @property
    def shape(self) -> Shape:
        """Of the images that the model reads."""
        return Shape.described(self.description)

    @property
    def fingerprint(self) -> str:
        """Of the training: what it was computed from."""
        return self.tags[TAG_FINGERPRINT]

    @property
    def identity(self) -> str:
        """Of the model version: weights and evaluation."""
        return self.tags[TAG_IDENTITY]

    @cached_property
    def content(self) -> str:
        """Digest of all that is shown; equal means that nothing is left to publish."""
        parts = [
            str(FORMAT),
            self.fingerprint,
            self.tags[TAG_DATA],
            sha256_tree(self.training.directory),
            sha256_tree(self.training.evaluation),
            repr(sorted(flatten(self.timings))),
        ]
        return sha256_bytes("\n".join(parts).encode())

    @cached_property
    def metrics(self) -> dict[str, float]:
        """Final figures: ``test/mse``, ``test/auroc``, ``test by kind/auroc cutpaste``, ``cost/…``.

        AUROC and its like are those of the score that was best on `val`; the other scores' stand
        under ``SPLIT by score``.
        """
        found: dict[str, Any] = {}
        for split, values in self.details.reconstruction.items():
            found |= {f"{split}/{name}": value for name, value in flatten(values)}
        best = self.details.best_score
        for score, splits in self.details.anomaly.items():
            for split, kinds in splits.items():
                for kind, values in kinds.items():
                    for name, value in flatten(values):
                        if kind == "all" and name != "n":
                            found[f"{split} by score/{name} {score}"] = value
                        if score == best and kind == "all":
                            found[f"{split}/{name if name != 'n' else 'judged_images'}"] = value
                        elif score == best and name != "n":
                            found[f"{split} by kind/{name} {kind}"] = value
        known = self.details.known()
        for name, value in known["threshold"].get(best, {}).items():
            found[f"threshold/{name}"] = value
        unseen = self.details.unseen_kind.get(best, {})
        for split, areas in unseen.items():
            for kind, value in areas.items():
                name = f"{split}/auroc_unseen_kind"
                found[name if kind == "mean" else f"{split} unseen kind/auroc {kind}"] = value
        if best in self.details.panel:
            found["panel/let_through"] = self.details.panel[best].share
        for signal, weight in (self.details.fused_weights or {}).items():
            found[f"fused/weight {signal}"] = weight
        for group in ("latent_space", "samples"):
            found |= {f"{group}/{k}": v for k, v in flatten(known.get(group, {}))}
        for name in ("parameters", "flops", "weight_bytes", "latent"):
            found[f"cost/{name}"] = known[name]
        if parameters := found["cost/parameters"]:
            # The UI's scatter plots have no logarithmic axis.
            found["cost/log10_parameters"] = math.log10(parameters)
        found |= {f"time/{name}": value for name, value in flatten(self.timings)}
        return {
            key: float(value)
            for key, value in found.items()
            if isinstance(value, int | float) and math.isfinite(value)
        }

    @cached_property
    def curves(self) -> list[tuple[int, dict[str, float]]]:
        """(epoch, values by metric key) for every row of curves.csv."""
        if not isinstance(self.training, Training):
            return []
        with self.training.curves.open(newline="") as handle:
            return [(int(row["epoch"]), curve_values(row)) for row in csv.DictReader(handle)]

    @cached_property
    def epochs(self) -> dict[int, Path]:
        """Epochs at which a grid of reconstructions was kept, and where it is."""
        paths = sorted(self.training.progress.glob("epoch-*.png"))
        return {int(path.stem.rpartition("-")[2]): path for path in paths}

    def pictures(self, epochs: Iterable[int]) -> Iterator[tuple[int, Path]]:
        """(epoch, path) of the grid that stands at each of the epochs: the last one kept by then.

        So a model that stopped early, or PCA, has a picture wherever another has one, and the UI
        shows all side by side at any epoch.
        """
        for epoch in sorted({*epochs, *self.epochs}):
            if until := [kept for kept in self.epochs if kept <= epoch]:
                yield epoch, self.epochs[max(until)]

    def seconds(self) -> float | None:
        """How long training took, where it was measured."""
        for name in ("train.seconds", "train_seconds", "seconds", "training_seconds"):
            value = dict(flatten(self.timings)).get(name)
            if isinstance(value, int | float):
                return float(value)
        return None


def curve_values(row: Mapping[str, Any]) -> dict[str, float]:
    """A row of curves.csv as metrics; empty and non-finite cells are left out.

    Validation comes first: the UI's compare page opens with the metric that was logged first.
    """
    values: dict[str, float] = {}
    for column, value in sorted(row.items(), key=lambda cell: cell[0] != "val_mse"):
        if column not in AXES and value not in ("", None) and math.isfinite(float(value)):
            values[keys.curve(column)] = float(value)
    return values
