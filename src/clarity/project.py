"""A project from Python, wherever it lies: its trainings, its champion, its tables.

``clarity.open(path)`` returns one. docs/python.md shows every call. Nothing here writes into the
project, but that the first question to MLflow makes its store where there is none.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image, ImageOps

from clarity.address import project_root
from clarity.errors import ClarityError
from clarity.files import read_json
from clarity.layout import (
    GRAPH,
    INDEX,
    PARAMS,
    REPORTS,
    SPLITS,
    Ensemble,
    Outputs,
    Training,
    anomalies,
    normals,
)
from clarity.params import Params, load_params
from clarity.preprocess.images import ImageProblem, from_array, to_square
from clarity.score.batch import PIECE
from clarity.score.detector import BATCH, Detector, Files
from clarity.score.sources import Reading, open_source

if TYPE_CHECKING:
    from mlflow import MlflowClient

    from clarity.models.base import Autoencoder

Picture = NDArray[Any] | Image.Image
#: What stands for images: one picture or several, or the path of a folder or a file.
Given = Picture | Sequence[Picture] | str | os.PathLike[str]
Pixels = NDArray[np.uint8]
#: Pillow's modes whose samples are no shades of grey, RGB or RGBA.
OTHER_MODES = ("P", "PA", "LA", "La", "RGBa", "CMYK", "YCbCr", "LAB", "HSV")


class Trained:
    """A trained network with the scorer and threshold that its evaluation fitted, on the CPU.

    Images are uint8 (or bool, uint16, floats in [0, 1]; grey, RGB or RGBA): N×height×width×3, one
    picture of height×width×3 or of Pillow's, or a list of pictures of any sizes. They are cut and
    resized to the network's size (64×64×3 by default) as `preprocess` does it.

    Attributes:
        label: ``conv-small-0``, or ``clarity version 3 (conv-small-0)``.
        network: reads and writes N×C×H×H in [-1, 1] (`clarity.models.base`).
        details: everything that `evaluate` measured (docs/architecture.md).
    """

    def __init__(self, label: str, detector: Detector) -> None:
        self.label = label
        self.detector = detector
        self.network: Autoencoder = detector.model
        self.details: dict[str, Any] = detector.details.known()

    def __repr__(self) -> str:
        return f"<{self.label}, anomalous above {self.detector.threshold:.4g}>"

    def reconstruct(self, images: Given) -> Pixels:
        """What the network makes of images: N×H×H×C uint8."""
        made = self.detector.judge(self.images(images), reconstruct=True).reconstruction
        assert made is not None
        return made

    def encode(self, images: Given) -> NDArray[np.float32]:
        """The images' codes, N×D; of a VAE their means."""
        import torch

        from clarity.evaluate.forward import encode

        given = self.images(images)
        parts = [given[start : start + BATCH] for start in range(0, len(given), BATCH)]
        codes = [encode(self.network, torch.from_numpy(part)).numpy() for part in parts]
        return np.concatenate(codes)

    def score(self, images: Given) -> pd.DataFrame:
        """Anomaly scores: a row an image, ``score``, ``threshold``, ``anomaly``, ``p_value``,
        ``signal_1``, ``signal_2`` (docs/scoring.md); a higher score is more anomalous.

        Of a folder or a file it is what `clarity score` says, without writing anything: ``id``
        first, and ``reason`` where a file is no image.
        """
        if isinstance(images, str | os.PathLike):
            return self._score_files(Path(images))
        verdict = self.detector.judge(self.images(images))
        return pd.DataFrame(verdict.columns())

    def images(self, given: Given) -> Pixels:
        """What the network gets to see of images: N×H×H×C uint8.

        Raises:
            ClarityError: one of them is no image.
        """
        white, shape = self.detector.white, self.detector.shape
        if isinstance(given, str | os.PathLike):
            source = open_source(Path(given))
            source.reading = Reading(shape, white)
            piece = source.read(0, len(source))
            if piece.rejected:
                _, name, reason = piece.rejected[0]
                raise ClarityError(f"{given}: {name}: {reason}")
            return piece.images
        if isinstance(given, Image.Image) or (isinstance(given, np.ndarray) and given.ndim < 4):
            given = [given]
        if not isinstance(given, Iterable):
            raise ClarityError(
                f"images: {type(given).__name__} is none; an array or a picture of Pillow's, "
                "several of them, or a path"
            )
        squared = []
        for row, image in enumerate(given):
            try:
                squared.append(to_square(from_array(_samples(image), white), shape))
            except ImageProblem as problem:
                raise ClarityError(f"images, row {row}: {problem}") from None
        return np.stack(squared) if squared else np.empty((0, *shape.stored), np.uint8)

    def _score_files(self, path: Path) -> pd.DataFrame:
        source = open_source(path)
        source.reading = Reading(self.detector.shape, self.detector.white)
        rows: list[dict[Any, Any]] = []
        for start in range(0, len(source), PIECE):
            piece = source.read(start, start + PIECE)
            verdict = self.detector.judge(piece.images)
            known = {"position": piece.positions, "id": piece.ids, **verdict.columns()}
            scored = pd.DataFrame(known).assign(reason="").to_dict("records")
            rows += [{str(key): value for key, value in row.items()} for row in scored]
            blank: dict[Any, Any] = {**dict.fromkeys(known, None), "signal_1": "", "signal_2": ""}
            rows += [
                {**blank, "position": at, "id": name, "reason": reason}
                for at, name, reason in piece.rejected
            ]
        table = pd.DataFrame(rows).sort_values("position", ignore_index=True)
        table["threshold"] = self.detector.threshold
        return table.drop(columns="position").astype(
            {"score": float, "p_value": float, "anomaly": "boolean"}
        )


def _samples(image: Picture) -> NDArray[Any]:
    """The samples of one picture, upright."""
    if isinstance(image, Image.Image):
        image = ImageOps.exif_transpose(image)
        if image.mode in OTHER_MODES:
            image = image.convert("RGBA" if image.has_transparency_data else "RGB")
    return np.asarray(image)


class Project:
    """A project's folder, read.

    Attributes:
        root: absolute.
        params: ``params.yaml``, checked.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.params: Params = load_params(root / PARAMS)

    def __repr__(self) -> str:
        return f"<project {self.root}>"

    @property
    def trainings(self) -> list[str]:
        """The trainings and ensembles that params.yaml names: ``conv-small-0``, …"""
        return [one.name for one in self.params.outputs]

    def load(self, name: str, seed: int | None = None) -> Trained:
        """The network of ``name`` (``conv-small``), trained from ``seed``; the first if None.

        Raises:
            ClarityError: params.yaml has no such model, or its files are missing or broken.
        """
        training = self._training(name, seed)
        return Trained(training.name, Detector.load(Files.of_training(training, self.root)))

    def version(self, wanted: str | int = "champion") -> Trained:
        """A registered version, by alias (``champion``, ``challenger``) or number.

        Raises:
            ClarityError: there is none, or its files are gone or changed.
        """
        from clarity.score.registered import load_registered

        found = load_registered(str(wanted), root=self.root)
        return Trained(found.label, found.detector)

    def champion(self) -> Trained:
        """The version that `clarity score` and `clarity serve` use."""
        return self.version("champion")

    def images(self, split: str, *, anomalous: bool = False) -> Pixels:
        """The packed images of ``train``, ``val``, ``gate`` or ``test``: N×H×H×C uint8,
        memory-mapped; its anomalies with ``anomalous`` (``train`` has none)."""
        if split not in SPLITS:
            raise ClarityError(f"{split}: no split; one of {', '.join(SPLITS)}")
        path = self._there(anomalies(split) if anomalous else normals(split))
        packed: Pixels = np.load(path, mmap_mode="r", allow_pickle=False)
        return packed

    def index(self) -> pd.DataFrame:
        """A row a packed image: where it stands, whose it is, what kind it is."""
        # Somebody may be called NA.
        text = {"id": str, "group": str}
        return pd.read_csv(self._there(INDEX), dtype=text, keep_default_na=False)

    def comparison(self) -> pd.DataFrame:
        """The report's table, full precision: a row a model, every figure with its interval."""
        return pd.DataFrame(read_json(self._there(REPORTS / "table.json"))["models"])

    def verdicts(self) -> dict[str, Any]:
        """The answer, the claims and the findings, with the numbers that they follow from."""
        content: dict[str, Any] = read_json(self._there(REPORTS / "verdicts.json"))
        return content

    def curves(self) -> pd.DataFrame:
        """Learning curves of all models: ``model``, ``family``, ``seed``, ``epoch`` and errors."""
        return pd.read_csv(self._there(REPORTS / "curves.csv"))

    def per_image(self, name: str, seed: int | None = None) -> pd.DataFrame:
        """Every measure and score of one training: a row an image of every split."""
        return pd.read_parquet(self._there(self._training(name, seed).per_image))

    def store(self) -> MlflowClient:
        """A client of the project's MLflow store (``MLFLOW_TRACKING_URI``'s, where that is set).

        From then on MLflow's own functions mean that store in this process.
        """
        from clarity.store import open_store

        return open_store(self.root)

    @property
    def _seeds(self) -> tuple[int, ...]:
        return self.params.seeds

    def _training(self, name: str, seed: int | None) -> Outputs:
        if name in self.params.ensembles:
            return Ensemble(name)
        if name not in self.params.models:
            known = ", ".join([*self.params.models, *self.params.ensembles])
            raise ClarityError(f"{name}: no model of {self.root / PARAMS}; it has {known}")
        return Training(name, self._seeds[0] if seed is None else seed)

    def _there(self, path: Path) -> Path:
        found = self.root / path
        if not found.is_file():
            raise ClarityError(f"{found}: not there; `dvc repro` or `dvc pull` brings it")
        return found


def open_project(path: str | os.PathLike[str] | None = None) -> Project:
    """The project at ``path`` or above it; None: the one we stand in.

    Raises:
        ClarityError: there is none, or its params.yaml has a mistake.
    """
    root = project_root(None if path is None else Path(path).expanduser())
    if not (root / GRAPH).is_file():
        where = Path.cwd() if path is None else path
        raise ClarityError(f"{where}: no project here (no {GRAPH} here or above)")
    return Project(root)
