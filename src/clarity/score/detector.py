"""A trained model with its scorer and threshold: images in, anomaly scores out."""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from clarity.choice import FUSED
from clarity.details import Details, read_details
from clarity.errors import ClarityError, in_a_line
from clarity.files import read_json, sha256_bytes, sha256_file
from clarity.layout import Outputs, Shape

if TYPE_CHECKING:
    from torch import Tensor

    from clarity.evaluate.scorer import Inspection, Scorer
    from clarity.models.base import Autoencoder
    from clarity.score.pictures import Images

#: Images (of 64×64×3; fewer larger ones) in one forward pass; what a caller hands over is cut into
#: batches of this size.
BATCH = 64


@dataclass(frozen=True)
class Files:
    """The four files a detector is made of: a training's and its evaluation's."""

    weights: Path
    description: Path
    details: Path
    scorer: Path

    @classmethod
    def of_training(cls, training: Outputs, root: Path = Path()) -> Files:
        """The files of a training or ensemble, here or in another checkout of the project."""
        scorer = training.evaluation / "scorer.safetensors"
        paths = (training.weights, training.description, training.details, scorer)
        return cls(*(root / path for path in paths))

    @classmethod
    def of_artifacts(cls, artifacts: dict[str, str]) -> Files:
        """The files of a logged model: MLflow's mapping of artifact name to path."""
        return cls(*(Path(artifacts[name]) for name in cls.__dataclass_fields__))

    def digests(self) -> tuple[str, str]:
        """SHA-256 of the weights (with their description) and of the evaluation.

        The evaluation counts with what a version is served and judged by: every figure and the
        scorer. Pictures do not count: drawing them anew makes no other model.
        """
        return _digest(self.weights, self.description), _digest(self.details, self.scorer)


def _digest(*paths: Path) -> str:
    return sha256_bytes("".join(f"{sha256_file(path)}\n" for path in paths).encode())


@dataclass(frozen=True)
class Verdict:
    """What the detector says of N images."""

    #: N float64; higher is more anomalous.
    score: NDArray[np.float64]
    #: Scores above it are called anomalous; set on validation normals.
    threshold: float
    #: N float64: the probability that a new normal scores as high; NaN where that is not known.
    p_value: NDArray[np.float64]
    #: Of each image, the signals that raised its score most, two at most.
    signals: list[tuple[str, ...]]
    #: N×H×H×C uint8, where asked for.
    reconstruction: Images | None = None
    #: Of each image, N float64: ``mse``, ``lsd``, … on [0, 1]; where asked for.
    metrics: dict[str, NDArray[np.float64]] = field(default_factory=dict)
    #: By kind, N float64: the score by the model that was not fitted to it; where asked for.
    unseen: dict[str, NDArray[np.float64]] = field(default_factory=dict)

    @property
    def anomaly(self) -> NDArray[np.bool_]:
        """N booleans."""
        return self.score > self.threshold

    def columns(self) -> dict[str, Any]:
        """What is told of every image, by column: N values each."""
        filled = [(*names, "", "")[:2] for names in self.signals]
        return {
            "score": self.score,
            "threshold": np.full(len(self.score), self.threshold),
            "anomaly": self.anomaly,
            "p_value": self.p_value,
            **{f"signal_{n + 1}": [row[n] for row in filled] for n in range(2)},
        }


class Detector:
    """The network, the scorer that was best on `val`, and that score's threshold.

    Thread-safe: scoring changes no state. Everything asked for comes from one forward
    pass.
    """

    def __init__(self, model: Autoencoder, scorer: Scorer, details: Details) -> None:
        self.model = model.eval()
        #: Of the images that it reads; others are brought to it as its training data were.
        self.shape: Shape = model.shape
        self.scorer = scorer
        self.details = details
        self.score_name = details.best_score
        #: ``preprocess.white`` of the data it was trained and judged on.
        self.white: int | None = details.white
        entry = details.threshold[self.score_name]
        self.threshold = math.nan if entry.value is None else float(entry.value)
        if not math.isfinite(self.threshold):
            raise ValueError(f"the threshold of {self.score_name} is {self.threshold}")
        #: Share of normals above the threshold that it was set for.
        self.stated_rate = entry.false_alarm_rate
        # PCA has buffers and no parameters.
        self.device = next(chain(model.parameters(), model.buffers())).device

    @classmethod
    def load(cls, files: Files, device: str = "cpu") -> Detector:
        """Rebuild from files; :class:`ClarityError` names the one that is missing or broken."""
        from safetensors.torch import load_file

        from clarity.ensembles.network import rebuild
        from clarity.evaluate.scorer import load_scorer

        for path in (files.weights, files.description, files.details, files.scorer):
            if not path.is_file():
                raise ClarityError(f"{path}: missing; `dvc checkout` or `dvc repro` brings it back")
        try:
            model = rebuild(read_json(files.description), load_file(files.weights)).to(device)
            detector = cls(model, load_scorer(files.scorer), read_details(files.details))
            # Files that do not fit each other are found out here, not by the first request.
            black = np.zeros((1, *detector.shape.stored), np.uint8)
            found, _ = detector.scores(black)
            if not found[detector.score_name].isfinite().all():
                raise ValueError("it gives a black image no score")
            return detector
        except ClarityError:
            raise
        except Exception as error:  # torn or invented files: whatever a parser or torch raises
            first = in_a_line(error, 200)
            raise ClarityError(
                f"{files.weights.parent}: cannot be loaded: {type(error).__name__}: {first}"
            ) from error

    def judge(
        self,
        images: Images,
        *,
        reconstruct: bool = False,
        metrics: bool = False,
        kinds: Collection[str] = (),
    ) -> Verdict:
        """Score N×H×H×C uint8 images; N may be any number, memory is that of one batch.

        Args:
            images: checked for shape and type.
            reconstruct: add the reconstructions.
            metrics: add every reconstruction metric of each image.
            kinds: add the score by models that were fitted without each of these kinds of anomaly.
        """
        check_images(images, self.shape)
        size = _batch(self.shape)
        scores: list[NDArray[np.float64]] = []
        signals: list[tuple[str, ...]] = []
        pictures: list[Images] = []
        measured: list[dict[str, NDArray[np.float64]]] = []
        unseen: list[dict[str, NDArray[np.float64]]] = []
        for start in range(0, len(images), size):
            batch = images[start : start + size]
            made: Tensor | None
            if metrics or kinds:
                seen = self.inspect(batch)
                found, made = seen.scores, seen.reconstruction
            else:
                found, made = self.scores(batch, reconstruct=reconstruct)
            if metrics:
                import torch

                from clarity.evaluate.perceptual import perceptual  # for the gate alone

                original = torch.from_numpy(batch).permute(0, 3, 1, 2).contiguous().float() / 255
                likeness = perceptual(
                    seen.reconstruction, original.to(seen.reconstruction.device), every=True
                )
                both = {**seen.metrics, **likeness}
                measured.append({k: v.double().cpu().numpy() for k, v in both.items()})
            unseen.append({kind: self._unseen(found, kind) for kind in kinds})
            scores.append(found[self.score_name].double().cpu().numpy())
            signals += self.leading(found)
            if reconstruct and made is not None:
                pictures.append(as_images(made))
        empty = np.empty((0, *self.shape.stored), np.uint8)
        score = np.concatenate([np.empty(0), *scores])
        known = self.scorer.calibration
        return Verdict(
            score,
            self.threshold,
            known.p_values(score) if known else np.full(len(score), np.nan),
            signals,
            np.concatenate([empty, *pictures]) if reconstruct else None,
            {k: np.concatenate([m[k] for m in measured]) for k in measured[0]} if measured else {},
            {kind: np.concatenate([one[kind] for one in unseen]) for kind in kinds},
        )

    def _unseen(self, scores: dict[str, Tensor], kind: str) -> NDArray[np.float64]:
        fused = self.scorer.fused
        if self.score_name != FUSED or fused is None:
            return scores[self.score_name].double().cpu().numpy()
        return fused.unseen(kind)(scores).cpu().numpy()

    def leading(self, scores: dict[str, Tensor]) -> list[tuple[str, ...]]:
        """Of each of N images, the signals that raised its score most."""
        fused = self.scorer.fused
        if self.score_name == FUSED and fused:
            return fused.leading(scores)
        return [(self.score_name,)] * len(scores[self.score_name])

    def scores(
        self, batch: Images, *, reconstruct: bool = False
    ) -> tuple[dict[str, Tensor], Tensor | None]:
        """The detector's own score (N) with those it is made of, and, on request, the
        reconstructions (N×C×H×H, [0, 1])."""
        import torch

        from clarity.score.one import scores_of

        with torch.inference_mode():
            tensor = torch.from_numpy(np.array(batch)).to(self.device)
            return scores_of(
                self.model, self.scorer, tensor, self.score_name, reconstruct=reconstruct
            )

    def inspect(self, batch: Images) -> Inspection:
        """Every score and metric of one batch, N×H×H×C uint8, from one forward pass."""
        import torch

        with torch.inference_mode():
            tensor = torch.from_numpy(np.array(batch))
            return self.scorer.inspect(self.model, tensor.to(self.device))


def as_images(made: Tensor) -> Images:
    """Reconstructions (N×C×H×H on [0, 1]) as N×H×H×C uint8, rounded."""
    import torch

    stored = (made.clamp(0, 1) * 255).round().to(torch.uint8)
    array: Images = stored.permute(0, 2, 3, 1).contiguous().cpu().numpy()
    return array


def _batch(shape: Shape) -> int:
    from clarity.models.base import at_most

    return at_most(BATCH, shape)


def check_images(images: NDArray[Any], shape: Shape) -> None:
    """Refuse what is not N×H×H×C uint8 of the model's shape."""
    expected = f"N×{shape}"
    if images.ndim != 4 or images.shape[1:] != shape.stored:
        found = "×".join(map(str, images.shape)) or "a single number"
        raise ClarityError(f"images: expected {expected}, found {found}")
    if images.dtype != np.uint8:
        raise ClarityError(f"images: expected {expected} of uint8 in 0…255, found {images.dtype}")
