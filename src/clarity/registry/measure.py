"""A version on the gate split, and two versions timed side by side."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from clarity.choice import FUSED
from clarity.errors import ClarityError
from clarity.evaluate.panel import Panel, panel
from clarity.files import sha256_bytes
from clarity.layout import INDEX, anomalies, normals
from clarity.measures import MEASURES
from clarity.params import AUROC, UNSEEN, Gate
from clarity.registry.gate import Candidate
from clarity.registry.versions import Registry, Version
from clarity.score.detector import Detector

#: Single images timed for each of two versions, alternately, after a warm-up.
ROUNDS = 40
WARM_UP = 5


@dataclass(frozen=True)
class GateSplit:
    """The people kept for promotion: images in `index.csv`'s order, labels, and who it is."""

    images: NDArray[np.uint8]
    labels: NDArray[np.int8]
    groups: NDArray[np.str_]
    kinds: NDArray[np.str_]
    #: Pictures that nobody would call normal; the same as in the evaluation of a training.
    panel: Panel
    #: SHA-256 over the images' own: whether two questions were put to the same people.
    digest: str

    @property
    def known_kinds(self) -> tuple[str, ...]:
        """Kinds of anomaly among the images, sorted."""
        return tuple(sorted(set(self.kinds[self.labels == 1].tolist())))

    @classmethod
    def load(cls) -> GateSplit:
        """Read from data/processed; the images stay memory-mapped until a batch is scored."""
        for path in (INDEX, normals("gate"), anomalies("gate"), normals("val")):
            if not path.is_file():
                raise ClarityError(f"{path}: missing; `dvc checkout` or `dvc repro` brings it back")
        index = pd.read_csv(INDEX, dtype={"group": str, "id": str}, keep_default_na=False)
        rows = index[index["split"] == "gate"].sort_values(["label", "row"])
        parts = [np.load(path, mmap_mode="r") for path in (normals("gate"), anomalies("gate"))]
        if [len(part) for part in parts] != [int((rows["label"] == k).sum()) for k in (0, 1)]:
            raise ClarityError(f"{INDEX}: does not fit the gate arrays; run `dvc repro preprocess`")
        return cls(
            np.concatenate(parts),
            rows["label"].to_numpy(np.int8),
            rows["group"].to_numpy(str),
            rows["kind"].to_numpy(str),
            panel(np.load(normals("val"), mmap_mode="r")),
            sha256_bytes("".join(rows["sha256"]).encode()),
        )


@dataclass(frozen=True)
class Measured:
    """A version with its numbers and the detector they came from."""

    version: Version
    detector: Detector
    candidate: Candidate


def measure(registry: Registry, version: Version, split: GateSplit, gate: Gate) -> Measured:
    """Load a version from the store and score the gate split with it.

    Raises:
        ClarityError: it cannot be loaded, or a score is not finite.
    """
    files = registry.files(version)
    detector = Detector.load(files)
    if split.images.shape[1:] != detector.shape.stored:
        here = "×".join(map(str, split.images.shape[1:]))
        raise ClarityError(
            f"{version.label} reads images of {detector.shape}, the gate split holds {here}"
        )
    kinds = split.known_kinds if gate.metric == UNSEEN else ()
    detects = gate.metric in (AUROC, UNSEEN)
    verdict = detector.judge(split.images, metrics=not detects, kinds=kinds)
    if detects:
        raw = values = verdict.score
    elif gate.metric in verdict.metrics:
        raw = verdict.metrics[gate.metric]
        values = distances(gate.metric, raw)
    else:
        known = ", ".join((UNSEEN, AUROC, *verdict.metrics))
        raise ClarityError(
            f"gate.metric: {gate.metric} is not among what a model is measured by here ({known})"
        )
    if not (np.isfinite(values).all() and np.isfinite(verdict.score).all()):
        raise ClarityError(f"{version.label}: scores of the gate split are not all finite")
    normal = split.labels == 0
    obvious = split.panel.judged(detector.judge(split.panel.pictures).anomaly)
    return Measured(
        version,
        detector,
        Candidate(
            label=version.label,
            values=values,
            figure=_figure(raw, verdict.unseen, split, gate),
            false_alarm_rate=float(verdict.anomaly[normal].mean()),
            stated_rate=detector.stated_rate,
            latency=float(np.median(_seconds([detector], split)[0])),
            size=files.weights.stat().st_size,
            let_through=obvious["let_through"],
            panel=obvious["share"],
            unseen=verdict.unseen,
            fitted_to_all=bool(kinds) and _fitted_to_all(detector),
        ),
    )


def distances(metric: str, values: NDArray[np.float64]) -> NDArray[np.float64]:
    """A measure of N reconstructions as distances from the original, 0 at best.

    PSNR has no bound; its distance is the mean squared error that it is the logarithm of.
    """
    if metric == "psnr":
        found: NDArray[np.float64] = 10 ** (-values / 10)
        return found
    measure = MEASURES[metric]
    return values if measure.lower_is_better else (measure.perfect or 0.0) - values


def compare(a: Measured, b: Measured, split: GateSplit) -> tuple[Measured, Measured]:
    """The same two with latencies measured side by side.

    Alternately, image by image, so that whatever else the machine does slows both alike.
    """
    first, second = (float(np.median(times)) for times in _seconds([a.detector, b.detector], split))
    return (
        replace(a, candidate=replace(a.candidate, latency=first)),
        replace(b, candidate=replace(b.candidate, latency=second)),
    )


def _seconds(detectors: list[Detector], split: GateSplit) -> list[list[float]]:
    times: list[list[float]] = [[] for _ in detectors]
    for step in range(WARM_UP + ROUNDS):
        at = step % len(split.images)
        image = split.images[at : at + 1]
        for detector, seen in zip(detectors, times, strict=True):
            start = time.perf_counter()
            detector.judge(image)
            if step >= WARM_UP:
                seen.append(time.perf_counter() - start)
    return times


def _fitted_to_all(detector: Detector) -> bool:
    """Whether its score was weighed by anomalies and does not say what it is without a kind."""
    fused = detector.scorer.fused
    return detector.score_name == FUSED and fused is not None and not fused.without


def _figure(
    values: NDArray[np.float64],
    unseen: Mapping[str, NDArray[np.float64]],
    split: GateSplit,
    gate: Gate,
) -> float:
    if gate.metric == UNSEEN:
        from clarity.statistics import kinds_area

        return kinds_area(unseen, split.labels, split.kinds)
    if gate.metric == AUROC:
        from sklearn.metrics import roc_auc_score

        return float(roc_auc_score(split.labels, values))
    return float(values[split.labels == 0].mean())
