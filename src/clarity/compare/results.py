"""What `train` and `evaluate` left behind, read and checked: the trainings in params.yaml."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import pandera.pandas as pa
from numpy.typing import NDArray

from clarity.errors import ClarityError
from clarity.files import read_json, sha256_file
from clarity.layout import INDEX, Training
from clarity.params import Params

Floats = NDArray[np.float64]
Population = Literal["train", "test"]

#: The two populations that every claim is tested on, apart.
POPULATIONS: tuple[Population, ...] = ("train", "test")
#: Families in the order in which they are reported.
FAMILIES = ("fcn", "conv", "ae", "vae", "pca")
METRICS = ("mse", "psnr", "ssim", "lsd")
#: PSNR of a perfect reconstruction is infinite; means stop here (dB).
_MOST_PSNR = 100.0
_KEYS = ["split", "label", "row", "id", "group", "kind"]


@dataclass(frozen=True)
class ModelResults:
    """One model over its seeds.

    Attributes:
        widths: of the encoder's hidden layers or channels; empty for PCA.
        latent: elements of the bottleneck.
        flops: of one reconstruction.
        metrics: ``metrics[split][metric]``, S×N on the normals of the split, rows as in the index.
        scores: ``scores[name]``, S×N on all test images, higher is more anomalous.
        best_score: the score with the largest AUROC on ``val``, averaged over seeds.
        val_auroc: its AUROC there.
        details: ``details.json`` of each seed.
        curves: ``curves.csv`` of each seed.
    """

    name: str
    family: str
    widths: tuple[int, ...]
    latent: int
    parameters: int
    flops: int
    weight_bytes: int
    trainings: tuple[Training, ...]
    metrics: Mapping[Population, Mapping[str, Floats]]
    scores: Mapping[str, Floats]
    best_score: str
    val_auroc: float
    details: tuple[dict[str, Any], ...]
    curves: tuple[pd.DataFrame, ...]

    @property
    def deterministic(self) -> bool:
        """PCA has no seed: its trainings are one."""
        return self.family == "pca"

    def mean(self, split: Population, metric: str) -> float:
        """Mean over seeds and images."""
        return float(self.metrics[split][metric].mean())

    def known(self, *keys: str) -> float:
        """Mean over seeds of a number in ``details.json``; 0 where a seed has none."""
        values = []
        for content in self.details:
            value: Any = content
            for key in keys:
                value = value.get(key) if isinstance(value, dict) else None
            if not isinstance(value, int | float):
                return 0.0
            values.append(value)
        return float(np.mean(values))

    def listed(self, *keys: str) -> Floats | None:
        """S×K from lists in ``details.json`` under ``keys``; None where a seed has none."""
        rows = []
        for content in self.details:
            value: Any = content
            for key in keys:
                value = value.get(key) if isinstance(value, dict) else None
            if not isinstance(value, list) or not value or None in value:
                return None
            rows.append(np.asarray(value, dtype=np.float64))
        return np.stack(rows) if len({len(row) for row in rows}) == 1 else None


@dataclass(frozen=True)
class Results:
    """All models of one run, on the same images.

    Attributes:
        index: ``index.csv``; one row a packed image.
        digest: its SHA-256, the digest of the data.
        test: ``label``, ``group``, ``kind`` of all test images, row for row with the scores.
    """

    models: tuple[ModelResults, ...]
    seeds: tuple[int, ...]
    index: pd.DataFrame
    digest: str
    test: pd.DataFrame

    @cached_property
    def kinds(self) -> tuple[str, ...]:
        """Kinds of anomaly in the test split, sorted."""
        return tuple(sorted(set(self.test.loc[self.test["label"] == 1, "kind"])))

    @cached_property
    def grouped(self) -> bool:
        """Whether images come in groups (people)."""
        normals = self.index[self.index["label"] == 0]
        return bool(normals["group"].duplicated().any())

    def groups(self, split: str) -> NDArray[Any]:
        """Group of each normal image of a split."""
        rows = (self.index["split"] == split) & (self.index["label"] == 0)
        return self.index.loc[rows, "group"].to_numpy()

    def people(self, population: Population) -> str:
        """What a population is called in sentences."""
        if population == "train":
            return "training faces" if self.grouped else "training images"
        return "unseen people" if self.grouped else "unseen images"

    def family(self, family: str) -> list[ModelResults]:
        """Its models, from the fewest parameters to the most."""
        return [model for model in self.models if model.family == family]

    @cached_property
    def families(self) -> tuple[str, ...]:
        """Families that have a model here, in order."""
        return tuple(family for family in FAMILIES if self.family(family))

    def by_name(self, name: str) -> ModelResults:
        """The model of that name."""
        return next(model for model in self.models if model.name == name)


def load_results(params: Params) -> Results:
    """Read the trainings that ``params`` names; a folder of any other training is ignored.

    Raises:
        ClarityError: a file is missing, lacks a column, or was measured on other images.
    """
    index = _index()
    keys = index[_KEYS]
    judged = (index["split"] == "test").to_numpy()
    test = index.loc[judged, ["label", "group", "kind"]].reset_index(drop=True)
    models = [_model(name, params.seeds, keys) for name in params.models]
    order = {family: place for place, family in enumerate(FAMILIES)}
    models.sort(key=lambda m: (order[m.family], m.parameters, m.name))
    return Results(tuple(models), tuple(params.seeds), index, sha256_file(INDEX), test)


def _index() -> pd.DataFrame:
    text = dict.fromkeys(("split", "id", "group", "kind", "sha256"), str)
    try:
        index = pd.read_csv(INDEX, dtype=text, keep_default_na=False)
    except FileNotFoundError:
        raise ClarityError(f"{INDEX}: no such file; run `dvc repro preprocess`") from None
    missing = [name for name in _KEYS if name not in index]
    if missing:
        raise ClarityError(f"{INDEX}: column {missing[0]} is missing; run `dvc repro preprocess`")
    for split, label in (("train", 0), ("test", 0), ("test", 1)):
        if not ((index["split"] == split) & (index["label"] == label)).any():
            what = "anomaly" if label else "normal image"
            raise ClarityError(f"{INDEX}: no {what} in {split}; give the split a larger share")
    return index


def _model(name: str, seeds: Sequence[int], keys: pd.DataFrame) -> ModelResults:
    trainings = tuple(Training(name, seed) for seed in seeds)
    details = tuple(_details(training) for training in trainings)
    frames = [_per_image(training, keys) for training in trainings]
    scores = sorted(str(c) for c in frames[0] if str(c).startswith("score_"))
    if not scores:
        raise ClarityError(f"{trainings[0].per_image}: no column score_*; run `dvc repro evaluate`")
    normal = (keys["label"] == 0).to_numpy()
    judged = (keys["split"] == "test").to_numpy()
    metrics = {
        split: {
            metric: _stack(frames, metric, normal & (keys["split"] == split).to_numpy())
            for metric in METRICS
        }
        for split in POPULATIONS
    }
    best, area = _best_score(details, [name.removeprefix("score_") for name in scores])
    first = details[0]
    return ModelResults(
        name=name,
        family=str(first["family"]),
        widths=tuple(int(width) for width in first.get("widths") or ()),
        latent=int(first["latent"]),
        parameters=int(first["parameters"]),
        flops=int(first["flops"]),
        weight_bytes=int(first["weight_bytes"]),
        trainings=trainings,
        metrics=metrics,
        scores={s.removeprefix("score_"): _stack(frames, s, judged) for s in scores},
        best_score=best,
        val_auroc=area,
        details=details,
        curves=tuple(_curves(training) for training in trainings),
    )


def _stack(frames: Sequence[pd.DataFrame], column: str, rows: NDArray[np.bool_]) -> Floats:
    values = np.stack([frame[column].to_numpy(np.float64)[rows] for frame in frames])
    return np.minimum(values, _MOST_PSNR) if column == "psnr" else values


def _best_score(details: Sequence[dict[str, Any]], scores: Sequence[str]) -> tuple[str, float]:
    """The score with the largest AUROC on val, all kinds together, averaged over seeds."""
    areas = {}
    for score in scores:
        values = [
            (content["anomaly"].get(score) or content["anomaly"].get(f"score_{score}") or {})
            .get("val", {})
            .get("all", {})
            .get("auroc")
            for content in details
        ]
        if all(value is not None for value in values):
            areas[score] = float(np.mean(values))
    if areas:
        best = max(areas, key=lambda score: (areas[score], score))
        return best, areas[best]
    return str(details[0]["best_score"]).removeprefix("score_"), float("nan")


def _details(training: Training) -> dict[str, Any]:
    content = _json(training.details, f"evaluate@{training.name}")
    wanted = ("family", "latent", "parameters", "flops", "weight_bytes", "anomaly", "best_score")
    for key in wanted:
        if key not in content:
            raise ClarityError(
                f"{training.details}: {key} is missing; run `dvc repro -f evaluate@{training.name}`"
            )
    if content["family"] not in FAMILIES:
        raise ClarityError(f"{training.details}: family {content['family']!r} is not known")
    return content


def _json(path: Path, stage: str) -> dict[str, Any]:
    try:
        content = read_json(path)
    except FileNotFoundError:
        raise ClarityError(f"{path}: no such file; run `dvc repro {stage}`") from None
    except ValueError:
        raise ClarityError(f"{path}: not valid JSON; run `dvc repro -f {stage}`") from None
    if not isinstance(content, dict):
        raise ClarityError(f"{path}: expected a mapping; run `dvc repro -f {stage}`")
    return content


def _per_image(training: Training, keys: pd.DataFrame) -> pd.DataFrame:
    path, mend = training.per_image, f"run `dvc repro -f evaluate@{training.name}`"
    try:
        frame = pd.read_parquet(path)
    except FileNotFoundError:
        raise ClarityError(f"{path}: no such file; {mend}") from None
    except (ValueError, OSError) as error:
        raise ClarityError(
            f"{path}: not readable as Parquet ({type(error).__name__}); {mend}"
        ) from None
    finite = pa.Check(lambda column: np.isfinite(column), error="not finite")
    schema = pa.DataFrameSchema(
        {
            **{name: pa.Column(None) for name in _KEYS},
            **{name: pa.Column(float, finite) for name in ("mse", "ssim", "lsd")},
            "psnr": pa.Column(float, pa.Check(lambda c: ~np.isnan(c), error="not a number")),
            "score_.*": pa.Column(float, finite, regex=True),
        }
    )
    try:
        frame = schema.validate(frame)
    except pa.errors.SchemaError as error:
        reason = str(error).splitlines()[0]
        raise ClarityError(f"{path}: {reason}; {mend}") from None
    for name in _KEYS:
        ours = frame[name].astype(str).to_numpy()
        if len(frame) != len(keys) or not np.array_equal(ours, keys[name].astype(str).to_numpy()):
            raise ClarityError(f"{path}: not the images of {INDEX} (column {name}); {mend}")
    return frame


def _curves(training: Training) -> pd.DataFrame:
    try:
        curves = pd.read_csv(training.curves)
    except FileNotFoundError:
        stage = f"train@{training.name}"
        raise ClarityError(f"{training.curves}: no such file; run `dvc repro {stage}`") from None
    for name in ("epoch", "train_mse", "val_mse"):
        if name not in curves:
            raise ClarityError(
                f"{training.curves}: column {name} is missing; "
                f"run `dvc repro -f train@{training.name}`"
            )
    return curves
