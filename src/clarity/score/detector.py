"""A trained model with its scorer and threshold: images in, anomaly scores out."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from clarity.errors import ClarityError
from clarity.files import read_json
from clarity.layout import CHANNELS, IMAGE_SIZE, Training

if TYPE_CHECKING:
    from clarity.score.pictures import Images

#: Images in one forward pass; what a caller hands over is cut into batches of this size.
BATCH = 256


@dataclass(frozen=True)
class Files:
    """The four files a detector is made of: a training's and its evaluation's."""

    weights: Path
    description: Path
    details: Path
    scorer: Path

    @classmethod
    def of_training(cls, training: Training) -> Files:
        """The files of a training in the workspace."""
        scorer = training.evaluation / "scorer.safetensors"
        return cls(training.weights, training.description, training.details, scorer)

    @classmethod
    def of_artifacts(cls, artifacts: dict[str, str]) -> Files:
        """The files of a logged model: MLflow's mapping of artifact name to path."""
        return cls(*(Path(artifacts[name]) for name in cls.__dataclass_fields__))


@dataclass(frozen=True)
class Verdict:
    """What the detector says of N images."""

    #: N float64; higher is more anomalous.
    score: NDArray[np.float64]
    #: Scores above it are called anomalous; set on validation normals.
    threshold: float
    #: N×64×64×3 uint8, where asked for.
    reconstruction: Images | None = None

    @property
    def anomaly(self) -> NDArray[np.bool_]:
        """N booleans."""
        return self.score > self.threshold


class Detector:
    """The network, the scorer that was best on `val`, and that score's threshold.

    Thread-safe: scoring changes no state. One forward pass an image batch, also where the
    reconstruction is asked for.
    """

    def __init__(self, model: Any, scorer: Any, details: dict[str, Any]) -> None:
        self.model = model.eval()
        self.scorer = scorer
        self.name: str = details["best_score"]
        self.threshold = float(details["threshold"][self.name]["value"])
        self.details = details

    @classmethod
    def load(cls, files: Files, device: str = "cpu") -> Detector:
        """Rebuild from files; :class:`ClarityError` names the one that is missing or broken."""
        from clarity.evaluate.scorer import load_scorer
        from clarity.models import load

        for path in (files.weights, files.description, files.details, files.scorer):
            if not path.is_file():
                raise ClarityError(f"{path}: missing; `dvc checkout` or `dvc repro` brings it back")
        try:
            model = load(files.description, files.weights).to(device)
            return cls(model, load_scorer(files.scorer), read_json(files.details))
        except ClarityError:
            raise
        except Exception as error:
            first = (str(error).splitlines() or [type(error).__name__])[0]
            raise ClarityError(f"{files.weights}: cannot be loaded: {first}") from error

    def judge(self, images: Images, *, reconstruct: bool = False) -> Verdict:
        """Score N×64×64×3 uint8 images; N may be any number, memory is that of one batch."""
        check_images(images)
        scores: list[NDArray[np.float64]] = []
        reconstructions: list[Images] = []
        for start in range(0, len(images), BATCH):
            batch = np.ascontiguousarray(images[start : start + BATCH])
            values, pictures = self._batch(batch, reconstruct)
            scores.append(values)
            if pictures is not None:
                reconstructions.append(pictures)
        empty = np.empty((0, IMAGE_SIZE, IMAGE_SIZE, CHANNELS), np.uint8)
        return Verdict(
            np.concatenate(scores) if scores else np.empty(0),
            self.threshold,
            np.concatenate([empty, *reconstructions]) if reconstruct else None,
        )

    def _batch(self, batch: Images, reconstruct: bool) -> tuple[NDArray[np.float64], Images | None]:
        import torch

        from clarity.models import from_uint8, to_unit

        with torch.inference_mode():
            device = next(self.model.parameters()).device
            tensor = from_uint8(torch.from_numpy(batch)).to(device)
            values = self.scorer.scores(self.model, tensor)[self.name]
            pictures = None
            if reconstruct:
                unit = to_unit(self.model(tensor)).clamp(0, 1) * 255
                pictures = unit.round().to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()
        return np.asarray(values, dtype=np.float64), pictures


def check_images(images: NDArray[Any]) -> None:
    """Refuse what is not N×64×64×3 uint8."""
    shape = "×".join(map(str, images.shape)) or "a single number"
    if images.ndim != 4 or images.shape[1:] != (IMAGE_SIZE, IMAGE_SIZE, CHANNELS):
        raise ClarityError(
            f"images: expected N×{IMAGE_SIZE}×{IMAGE_SIZE}×{CHANNELS}, found {shape}"
        )
    if images.dtype != np.uint8:
        raise ClarityError(f"images: expected uint8 in 0…255, found {images.dtype}")
