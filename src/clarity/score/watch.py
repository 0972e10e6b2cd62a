"""Drift of pictures that arrive, as a registered model sees them, and its course in MLflow."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from clarity.errors import ClarityError
from clarity.layout import PROCESSED, Shape, normals
from clarity.params import load_params
from clarity.score import owner
from clarity.score.drift import Images, Report, Sample, measure
from clarity.score.registered import TAG_REGISTERED

if TYPE_CHECKING:
    from clarity.score.detector import Detector

#: MLflow's experiment with one run per registered version: the course of drift, batch by batch.
EXPERIMENT = "clarity-incoming"
#: Splits of people that no model was fitted to.
REFERENCE = ("val", "gate")
#: Pictures of a batch, and of the reference, that are looked at, spread evenly over it.
LOOKED_AT = 2000
BATCH = 256


def drift_of(path: Path, model: str | None) -> Report:
    """Test the pictures at ``path`` against unseen people of the training data.

    Args:
        path: folder of pictures, ``.npy`` or one picture; what cannot be decoded is left out.
        model: alias or version of the registered model; None: image statistics only.

    Raises:
        ClarityError: there is no processed data, or no such model.
    """
    detector = None
    if model is not None:
        from clarity.score.registered import load_registered

        detector = load_registered(model).detector
    images, params = reference_images(), load_params()
    shape = Shape(images.shape[1], images.shape[3])
    white = detector.white if detector else params.preprocess.white
    reference, arrived = look(images, detector), look(images_at(path, shape, white), detector)
    return measure(reference, arrived, params.drift)


def reference_images() -> Images:
    """Up to ``LOOKED_AT`` normals of the splits whose people no model was fitted to, evenly spread.

    N×H×H×C uint8.
    """
    paths = [normals(split) for split in REFERENCE]
    for path in paths:
        if not path.is_file():
            raise ClarityError(f"{path}: missing; `dvc repro` or `dvc checkout` brings it")
    splits = [np.load(path, mmap_mode="r", allow_pickle=False) for path in paths]
    rows = spread(sum(map(len, splits)))
    found, start = [], 0
    for images in splits:
        mine = rows[(rows >= start) & (rows < start + len(images))]
        found.append(images[mine - start])
        start += len(images)
    return np.concatenate(found)


def spread(count: int, most: int = LOOKED_AT) -> NDArray[np.int64]:
    """``most`` of so many places, evenly spread; all of them where there are no more."""
    return np.arange(count) if count <= most else np.linspace(0, count - 1, most).astype(np.int64)


def images_at(path: Path, shape: Shape, white: int | None = None) -> Images:
    """Up to ``LOOKED_AT`` usable images of a folder or array, evenly spread, N×H×H×C uint8."""
    from clarity.score.sources import Reading, open_source

    source = open_source(path)
    source.reading = Reading(shape, white)
    if len(source) <= LOOKED_AT:
        read = [source.read(start, start + BATCH).images for start in range(0, len(source), BATCH)]
    else:
        read = [source.read(int(place), int(place) + 1).images for place in spread(len(source))]
    return np.concatenate([np.empty((0, *shape.stored), np.uint8), *read])


def look(images: Images, detector: Detector | None) -> Sample:
    """Reconstruction errors (MSE on [0, 1]) and latent codes of images, a batch at a time."""
    if detector is None:
        return Sample(images)
    check_shape(images, detector)
    errors, codes = [np.empty(0)], []
    for start in range(0, len(images), BATCH):
        seen = detector.inspect(np.ascontiguousarray(images[start : start + BATCH]))
        errors.append(seen.metrics["mse"].double().cpu().numpy())
        codes.append(seen.latent.flatten(1).float().cpu().numpy())
    return Sample(images, np.concatenate(errors), np.concatenate(codes) if codes else None)


def check_shape(images: Images, detector: Detector) -> None:
    """Refuse a model that was trained on images of another shape than the workspace's.

    Raises:
        ClarityError: it was.
    """
    here = Shape(images.shape[1], images.shape[3])
    if detector.shape != here:
        raise ClarityError(
            f"the model reads images of {detector.shape}, {PROCESSED} holds {here}; train and "
            "promote a model of these (`dvc repro`, `clarity promote`)"
        )


def record(report: Report, batch: str, version: str, *, anomalous: int, flow_run: str) -> str:
    """Add a batch to the course of drift in MLflow; a batch already there is not added again.

    Args:
        report: what :func:`drift_of` found.
        batch: the batch's name.
        version: the registered version that scored it.
        anomalous: pictures that it flagged.
        flow_run: Prefect's flow run, for the tag.

    Returns:
        The id of the MLflow run.
    """
    from mlflow.entities import Metric

    from clarity.store import experiment_id, open_store

    client, name = open_store(), load_params().gate.name
    experiment = experiment_id(client, EXPERIMENT)
    # Another project in the same store has a version of this number too.
    same = client.search_runs([experiment], f"tags.`clarity.version` = '{version}'")
    known = next(owner.own(client, name, same), None)
    tags = {"clarity.version": version, TAG_REGISTERED: name}
    run = known or client.create_run(experiment, run_name=f"version {version}", tags=tags)
    mark = f"batch.{batch}"
    if mark in run.data.tags:
        return str(run.info.run_id)
    step = sum(tag.startswith("batch.") for tag in run.data.tags)
    values = {
        "drifted": float(report.drifted),
        "images": float(report.arrived),
        "anomalous_share": anomalous / max(1, report.arrived),
    }
    for test in report.tests:
        name = test.quantity.replace(" ", "_")
        values[f"effect/{name}"] = test.effect
        values[f"p/{name}"] = test.p_adjusted
    metrics = [Metric(name, value, 0, step) for name, value in values.items()]
    client.log_batch(run.info.run_id, metrics=metrics)
    client.set_tag(run.info.run_id, "clarity.flow_run", flow_run)
    client.set_tag(run.info.run_id, mark, str(step))
    if not known:
        client.set_terminated(run.info.run_id)
    return str(run.info.run_id)
