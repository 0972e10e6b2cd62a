"""Runs in MLflow: one for each fingerprint, found again, filled without doubles."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from clarity.processes import since_boot
from clarity.score.registered import TAG_FINGERPRINT, TAG_NAME
from clarity.store import paged
from clarity.tracking import keys

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run, RunInfo

#: Most metrics that MLflow takes in one call.
BATCH = 1000
#: Runs that are read at once: each comes with all its metrics, some hundreds.
PAGE = 100
#: Most parameters or tags that MLflow takes in one call.
SMALL_BATCH = 100


def now() -> int:
    """Milliseconds since 1970, MLflow's clock."""
    return time.time_ns() // 1_000_000


def all_runs(
    client: MlflowClient, experiment: str, tags: Mapping[str, str | None] | None = None
) -> Iterator[Run]:
    """Runs that Clarity made in an experiment, newest first, deleted ones too, a page at a time.

    Args:
        tags: that they have; None: that they do not have.
    """
    from mlflow.entities import ViewType
    from mlflow.exceptions import MlflowException

    def found(asked: Iterable[str]) -> Iterator[Run]:
        return paged(
            lambda token: client.search_runs(
                [experiment],
                " AND ".join(asked),
                ViewType.ALL,
                max_results=PAGE,
                order_by=["attributes.start_time DESC"],
                page_token=token,
            )
        )

    wanted = (tags or {}).items()
    lacking = {key for key, value in wanted if value is None}
    asked = [f"tags.`{keys.KIND}` LIKE '%'"]
    asked += [f"tags.`{key}` = '{value}'" for key, value in wanted if value is not None]
    try:
        yield from found([*asked, *(f"tags.`{key}` IS NULL" for key in lacking)])
    except MlflowException as error:
        if not lacking or error.error_code != "INVALID_PARAMETER_VALUE":
            raise
        # A server from before March 2026, which cannot be asked for what is not there.
        yield from (run for run in found(asked) if lacking.isdisjoint(run.data.tags))


def of_fingerprint(
    client: MlflowClient, experiment: str, name: str, fingerprint: str
) -> Iterator[Run]:
    """Runs of one training, newest first; one of each project, unless two processes made it."""
    whose = {TAG_FINGERPRINT: fingerprint, TAG_NAME: name}
    return all_runs(client, experiment, {keys.KIND: keys.TRAINING, **whose})


def is_deleted(run: RunInfo) -> bool:
    """Whether a run lies in MLflow's trash."""
    return str(run.lifecycle_stage) == "deleted"


def log(
    client: MlflowClient,
    run_id: str,
    points: Iterable[tuple[int, Mapping[str, float]]] = (),
    params: Mapping[str, str] | None = None,
    tags: Mapping[str, str] | None = None,
    model_id: str | None = None,
) -> None:
    """Log (step, values) points, parameters and tags in as few calls as MLflow allows."""
    from mlflow.entities import Metric, Param, RunTag

    stamp = now()
    metrics = [
        Metric(key, value, stamp, step, model_id=model_id, run_id=run_id)
        for step, values in points
        for key, value in values.items()
    ]
    params_left = [Param(key, value[:6000]) for key, value in (params or {}).items()]
    tags_left = [RunTag(key, value[:8000]) for key, value in (tags or {}).items()]
    while metrics or params_left or tags_left:
        some_params, params_left = params_left[:SMALL_BATCH], params_left[SMALL_BATCH:]
        some_tags, tags_left = tags_left[:SMALL_BATCH], tags_left[SMALL_BATCH:]
        room = BATCH - len(some_params) - len(some_tags)
        some, metrics = metrics[:room], metrics[room:]
        client.log_batch(run_id, some, some_params, some_tags)


def new_params(run: Run, params: Mapping[str, str]) -> dict[str, str]:
    """Those that the run has not; MLflow refuses a second value, and ours are the same anyway."""
    return {key: value for key, value in params.items() if key not in run.data.params}


def history(client: MlflowClient, run: Run, prefix: str) -> dict[str, dict[int, float]]:
    """Logged values by metric and step, of the metrics that begin with ``prefix``."""
    return {
        key: {point.step: point.value for point in client.get_metric_history(run.info.run_id, key)}
        for key in run.data.metrics
        if key.startswith(prefix)
    }


def logged_steps(client: MlflowClient, run_id: str, key: str) -> set[int]:
    """Steps at which a picture of this key was logged."""
    steps = set()
    for file in client.list_artifacts(run_id, "images"):
        # images/KEY+step+STEP+timestamp+…: MLflow's naming, which its UI reads too.
        parts = Path(file.path).name.split("+")
        if parts[0] == key and len(parts) > 2 and parts[2].isdigit():
            steps.add(int(parts[2]))
    return steps


def log_picture(client: MlflowClient, run_id: str, path: Path, key: str, step: int) -> None:
    """Log a PNG under a key and step: what the UI's image grid shows side by side."""
    from PIL import Image

    with Image.open(path) as picture:
        client.log_image(run_id, picture.convert("RGB"), key=key, step=step)


#: Faces of a tile: with three rows of them it is nearly square, as the UI's tiles are.
TILE_FACES, ENLARGED = 4, 3


def log_tile(client: MlflowClient, run_id: str, strip: Path, key: str) -> None:
    """Log the first faces of a strip (original, reconstruction, error), enlarged without smoothing:
    a whole sheet leaves most of a square tile empty and its faces too small to judge."""
    from PIL import Image

    with Image.open(strip) as picture:
        side = picture.height // 3
        tile = picture.convert("RGB").crop((0, 0, min(picture.width, TILE_FACES * side), 3 * side))
    size = (tile.width * ENLARGED, tile.height * ENLARGED)
    client.log_image(run_id, tile.resize(size, Image.Resampling.NEAREST), key=key, step=0)


def this_process() -> str:
    """``host:pid:start`` of this process."""
    start = since_boot(os.getpid()) or f"{psutil.Process().create_time():.2f}"
    return f"{socket.gethostname()}:{os.getpid()}:{start}"


def is_alive(run: Run) -> bool:
    """Whether the process that mirrors into this run still runs; other hosts' are taken to."""
    host, _, rest = run.data.tags.get(keys.PROCESS, "").partition(":")
    number, _, started = rest.partition(":")
    if run.info.status != "RUNNING" or not number.isdigit():
        return False
    if host != socket.gethostname():
        return True
    if "/" in started:
        return since_boot(int(number)) == started
    try:
        return f"{psutil.Process(int(number)).create_time():.2f}" == started
    except psutil.Error:
        return False


def drop_artifact(client: MlflowClient, run_id: str, path: str) -> None:
    """Take an artifact of a run away, where it is there."""
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    folder = str(Path(path).parent)
    present = client.list_artifacts(run_id, None if folder == "." else folder)
    if any(file.path == path for file in present):
        uri = client.get_run(run_id).info.artifact_uri
        repository: Any = get_artifact_repository(uri, client.tracking_uri)
        repository.delete_artifacts(path)


def drop_pictures(client: MlflowClient, run_id: str, key: str) -> None:
    """Take the pictures of a key away."""
    for file in client.list_artifacts(run_id, "images"):
        if Path(file.path).name.split("+")[0] == key:
            drop_artifact(client, run_id, file.path)
