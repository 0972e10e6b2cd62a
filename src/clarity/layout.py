"""The one place that knows the name of a file that stages hand over.

All paths are relative to the project's root, where DVC runs every stage. docs/architecture.md
describes what is in each file.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

#: Splits, in the order in which they are reported. People appear in exactly one of them.
SPLITS = ("train", "val", "gate", "test")
#: Splits that also carry anomalies.
JUDGED_SPLITS = ("val", "gate", "test")

PARAMS = Path("params.yaml")
#: What DVC ran, with which digests.
LOCK = "dvc.lock"
GRAPH = Path("dvc.yaml")

OWN = Path("data/own")
#: Files of networks of one's own; and where it is noted what code of them has run here.
NETWORKS = Path("networks")
KNOWN_NETWORKS = Path("mlruns/networks")
RAW = Path("data/raw")
ITEMS = RAW / "items.parquet"
SOURCE = RAW / "source.json"

PROCESSED = Path("data/processed")
INDEX = PROCESSED / "index.csv"
REJECTED = PROCESSED / "rejected.csv"

MODELS = Path("models")
EVALUATIONS = Path("evaluations")
ENSEMBLES = Path("ensembles")
REPORTS = Path("reports")
CHECKPOINTS = Path(".checkpoints")
MLRUNS = Path("mlruns")
PUBLISHED = MLRUNS / "published.json"
#: Undeclared: what a clock measured, per training. Read by `publish` and by the report's side file.
TIMINGS = MLRUNS / "timings"
HISTORY = Path("registry/history.jsonl")


@dataclass(frozen=True)
class Shape:
    """Of every image of a data set, and of the networks that were trained on it.

    Attributes:
        size: height and width in pixels: ``preprocess.size``.
        channels: 1 (grey) or 3 (RGB): ``preprocess.channels``.
    """

    size: int
    channels: int

    @classmethod
    def described(cls, description: Mapping[str, Any]) -> Shape:
        """What model.json says; channels are left out there where they are three.

        Raises:
            KeyError, TypeError, ValueError: it says nothing.
        """
        return cls(int(description["image_size"]), int(description.get("channels", 3)))

    def __str__(self) -> str:
        """``64×64×3``."""
        return f"{self.size}×{self.size}×{self.channels}"

    @property
    def stored(self) -> tuple[int, int, int]:
        """Of a stored image: height, width, channels."""
        return self.size, self.size, self.channels

    @property
    def planes(self) -> tuple[int, int, int]:
        """Of a network's input and output: channels, height, width."""
        return self.channels, self.size, self.size

    @property
    def elements(self) -> int:
        """Numbers in an image."""
        return self.size * self.size * self.channels


def normals(split: str) -> Path:
    """Packed normal images of a split: uint8, N×H×H×C."""
    return PROCESSED / f"{split}.npy"


def anomalies(split: str) -> Path:
    """Packed anomalies of a judged split: uint8, N×H×H×C."""
    return PROCESSED / f"{split}_anomalies.npy"


def masks(split: str) -> Path:
    """Masks of a judged split's anomalies: uint8 0/1, N×H×H; all zero where a kind has none."""
    return PROCESSED / f"{split}_masks.npy"


def synthetic_id(source: str, kind: str) -> str:
    """Of the anomaly of a kind that is made of an image."""
    return f"{source}#{kind}"


def made_of(anomaly: str, kind: str) -> str:
    """The image that a synthetic anomaly is made of; the id itself of any other."""
    return anomaly.removesuffix(synthetic_id("", kind))


def network_code(model: str) -> Path:
    """JSON with the code of a model's network; empty where the network is Clarity's."""
    return Path("data/networks") / f"{model}.json"


class Outputs(ABC):
    """The files of one evaluated network: of a training, or of an ensemble of trainings.

    Attributes:
        model: a key of ``models`` or ``ensembles`` in params.yaml.
    """

    model: str

    @property
    @abstractmethod
    def name(self) -> str:
        """The suffix of its DVC stages and the name of its folders."""

    @property
    @abstractmethod
    def directory(self) -> Path:
        """Holds the weights and what they mean."""

    @property
    def evaluation(self) -> Path:
        """Holds what was measured."""
        return self.directory

    @property
    @abstractmethod
    def made_by(self) -> str:
        """The DVC stage that writes the weights."""

    @property
    def evaluated_by(self) -> str:
        """The DVC stage that writes the evaluation."""
        return self.made_by

    @property
    def weights(self) -> Path:
        """Weights of the best epoch within ``train.epochs``, as safetensors."""
        return self.directory / "weights.safetensors"

    @property
    def same_compute(self) -> Path:
        """Weights of the best epoch within ``train.compute``; no tensors where that is null."""
        return self.directory / "same_compute.safetensors"

    @property
    def description(self) -> Path:
        """JSON that rebuilds the network for the weights."""
        return self.directory / "model.json"

    @property
    def curves(self) -> Path:
        """A row per epoch: epoch, step, learning_rate, train_mse, val_mse, the family's own."""
        return self.directory / "curves.csv"

    @property
    def provenance(self) -> Path:
        """The fingerprint and everything it was computed from."""
        return self.directory / "provenance.json"

    @property
    def progress(self) -> Path:
        """Folder of reconstruction grids, ``epoch-0000.png``, as training improves them."""
        return self.directory / "progress"

    @property
    def metrics(self) -> Path:
        """The few figures that `dvc metrics` shows."""
        return self.evaluation / "metrics.json"

    @property
    def details(self) -> Path:
        """Every figure, by split, score and kind."""
        return self.evaluation / "details.json"

    @property
    def per_image(self) -> Path:
        """One row per image: metrics and anomaly scores."""
        return self.evaluation / "per_image.parquet"

    @property
    def same_compute_table(self) -> Path:
        """The same for the weights of ``train.compute``; no rows where that is null."""
        return self.evaluation / "same_compute.parquet"

    @property
    def frequency(self) -> Path:
        """Power of originals and of errors by spatial frequency, as safetensors."""
        return self.evaluation / "frequency.safetensors"

    @property
    def scorer(self) -> Path:
        """The fitted anomaly scorer, with its thresholds, as safetensors."""
        return self.evaluation / "scorer.safetensors"

    @property
    def figures(self) -> Path:
        """Folder of pictures: grid.png, extremes.png and the family's own."""
        return self.evaluation / "figures"

    @property
    def timings(self) -> Path:
        """Undeclared: measured seconds and throughput."""
        return TIMINGS / f"{self.name}.json"


@dataclass(frozen=True)
class Training(Outputs):
    """One model trained from one seed, and the files that its stages write."""

    model: str
    seed: int

    @property
    def name(self) -> str:
        """``conv-small-0``."""
        return f"{self.model}-{self.seed}"

    @property
    def directory(self) -> Path:
        """Outputs of ``train``."""
        return MODELS / self.name

    @property
    def evaluation(self) -> Path:
        """Outputs of ``evaluate``."""
        return EVALUATIONS / self.name

    @property
    def made_by(self) -> str:
        """``train@conv-small-0``."""
        return f"train@{self.name}"

    @property
    def evaluated_by(self) -> str:
        """``evaluate@conv-small-0``."""
        return f"evaluate@{self.name}"


@dataclass(frozen=True)
class Ensemble(Outputs):
    """Several trainings as one network, and the files that its stage writes."""

    model: str

    @property
    def name(self) -> str:
        """``all-conv``: it has no seed; its members are of all."""
        return self.model

    @property
    def directory(self) -> Path:
        """All outputs of ``ensemble``, which makes and evaluates it."""
        return ENSEMBLES / self.name

    @property
    def made_by(self) -> str:
        """``ensemble@all-conv``."""
        return f"ensemble@{self.name}"
