"""Names under which MLflow shows things: the same for every model, or nothing compares.

docs/tracking.md lists them. The UI groups charts by what stands before the slash of a metric.
"""

from __future__ import annotations

#: Tag ``clarity.kind`` of a run: one training, the comparison of all, or a search and its
#: candidates.
KIND = "clarity.kind"
TRAINING = "training"
COMPARISON = "comparison"
TUNING = "tuning"
#: "true" for the runs of what params.yaml asks for now, "false" for older ones.
CURRENT = "clarity.current"
#: Run id of the run that took an older run's place.
SUPERSEDED_BY = "clarity.superseded_by"
#: Digest of everything a run shows; equal means nothing to publish.
CONTENT = "clarity.content"
#: Who mirrors live: ``host:pid:start``; tells a crashed training from a running one.
PROCESS = "clarity.process"
SIZE = "clarity.size"
#: Place in params.yaml: what the UI's view is sorted by, so that sizes stand in order.
ORDER = "clarity.order"
#: MLflow's own: what its charts draw a run in.
COLOUR = "mlflow.runColor"
DIRTY = "clarity.commit_dirty"
#: The model version that a run's training became.
VERSION = "clarity.version"

#: Image key of the grids that improve with training; the step is the epoch.
PROGRESS = "reconstructions"
#: Image keys of the evaluation's pictures, at step 0; the same faces in every model.
PICTURES = {"grid": "test images", "extremes": "most and least anomalous"}

#: Curves: metrics with one value an epoch.
CURVES = "curves"
IMAGES_PER_SECOND = f"{CURVES}/images_per_second"


def curve(column: str) -> str:
    """Metric key of a column of curves.csv."""
    return f"{CURVES}/{column}"
