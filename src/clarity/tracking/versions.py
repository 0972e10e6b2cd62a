"""Versions of the registered model: one for each identity, logged as code and safetensors."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import clarity
from clarity.errors import ClarityError
from clarity.machine import artifacts_away
from clarity.score.detector import Files
from clarity.score.registered import TAG_IDENTITY, TAG_TRAINING_DATA, files_of
from clarity.store import all_versions
from clarity.tracking import keys, notes
from clarity.tracking.facts import Dataset, Facts

if TYPE_CHECKING:
    from mlflow import MlflowClient

#: The evaluation's figures that a version carries as tags.
NUMBERS = (
    "test/haarpsi", "test/mse", "test/ssim", "test/auroc_unseen_kind", "test/auroc", "test/ap",
    "cost/parameters",
)  # fmt: skip


@dataclass(frozen=True)
class Published:
    """A version there is: its number and the logged model that its metrics belong to."""

    number: int
    model_id: str | None
    run_id: str


def existing(client: MlflowClient, name: str) -> dict[str, Published]:
    """Versions by identity; of two with one identity, the older."""
    found: dict[str, Published] = {}
    for version in sorted(all_versions(client, name), key=lambda one: int(one.version)):
        if identity := version.tags.get(TAG_IDENTITY):
            one = Published(int(version.version), version.model_id, version.run_id or "")
            found.setdefault(identity, one)
    return found


def in_order(facts: list[Facts], numbers: Mapping[int, str]) -> list[tuple[Facts, int | None]]:
    """Trainings with the number that each had, in the order that gives them back.

    MLflow counts on from the highest number there ever was, so the lowest comes first; trainings
    that never had a number come last, behind all numbers that were ever given.
    """
    place = {identity: number for number, identity in numbers.items()}
    fresh = max(numbers, default=0) + 1
    ordered = sorted(facts, key=lambda one: place.get(one.identity, fresh))
    return [(one, place.get(one.identity, fresh if numbers else None)) for one in ordered]


def reserve(client: MlflowClient, name: str, number: int, run_id: str, model_id: str) -> None:
    """Use up the numbers below ``number`` by versions made and deleted again.

    A server takes no version whose source is a logged model without that model's id.
    """
    while highest(client, name) < number - 1:
        blank = client.create_model_version(
            name, source=f"models:/{model_id}", run_id=run_id, model_id=model_id
        )
        client.delete_model_version(name, blank.version)
        if int(blank.version) >= number - 1:
            return


def highest(client: MlflowClient, name: str) -> int:
    """The highest version number in use; 0 where there is none."""
    page = client.search_model_versions(
        f"name='{name}'", max_results=1, order_by=["version_number DESC"]
    )
    return max((int(one.version) for one in page), default=0)


def register(
    client: MlflowClient,
    name: str,
    facts: Facts,
    data: Dataset,
    run_id: str,
    commit: Mapping[str, str],
    number: int | None = None,
) -> Published:
    """Log the scoring model into the run and make it a version of ``name``.

    Code as a file, weights as safetensors: nothing is pickled. ``number`` is the version's number
    where it had one before.
    """
    import mlflow
    from mlflow.exceptions import MlflowException

    package = Path(clarity.__file__).parent
    card = notes.model_card(facts, data)
    tags = {
        key: value
        for key, value in {**facts.tags, **commit}.items()
        if not key.startswith("mlflow.") and key != keys.KIND
    }
    tags[TAG_TRAINING_DATA] = data.seen
    figures = {key: f"{facts.metrics[key]:.6g}" for key in NUMBERS if key in facts.metrics}
    with quiet():
        info = _log_model(mlflow, run_id, facts, package, tags)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model_card.md"
        path.write_text(card, encoding="utf-8")
        client.log_model_artifact(info.model_id, str(path))
    try:
        if number is not None:
            reserve(client, name, number, run_id, info.model_id)
        version = client.create_model_version(
            name,
            source=f"models:/{info.model_id}",
            run_id=run_id,
            tags={**tags, **figures},
            description=card,
            model_id=info.model_id,
        )
    except MlflowException:
        # The next try logs it anew: models that are nobody's version would pile up.
        with suppress(MlflowException):
            client.delete_logged_model(info.model_id)
        raise
    return Published(int(version.version), info.model_id, run_id)


def mend(client: MlflowClient, name: str, number: int, facts: Facts) -> bool:
    """Put a version's files back where the store has lost or changed them; whether it had.

    They go where the version says its files are, so that its number and its aliases stay.
    """
    import mlflow
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    try:
        files_of(name, number, facts.tags)
    except ClarityError:
        pass
    else:
        return False
    place = client.get_model_version_download_uri(name, str(number))
    if place.startswith("models:/"):
        place = client.get_logged_model(place.removeprefix("models:/")).artifact_location
    package = Path(clarity.__file__).parent
    with quiet(), tempfile.TemporaryDirectory() as folder:
        model = Path(folder) / "model"
        mlflow.pyfunc.save_model(str(model), **_model(facts, package))
        repository: Any = get_artifact_repository(place, client.tracking_uri)
        repository.log_artifacts(str(model))
    files_of(name, number, facts.tags)
    return True


def _log_model(
    mlflow: Any, run_id: str, facts: Facts, package: Path, tags: Mapping[str, str]
) -> Any:
    """Log the model into the run, and see that what was logged scores its own example."""
    from clarity.score.signature import input_example

    mlflow.start_run(run_id=run_id, log_system_metrics=False)
    try:
        info = mlflow.pyfunc.log_model(
            name=facts.training.name,
            **_model(facts, package),
            params=facts.params,
            tags=tags,
            model_type="anomaly detector",
        )
    finally:
        mlflow.end_run()
    try:
        with quiet():
            mlflow.pyfunc.load_model(info.model_uri).predict(input_example(facts.shape))
    except Exception as error:
        if artifacts_away(error):
            raise
        first = (str(error).splitlines() or [type(error).__name__])[0]
        raise ClarityError(
            f"{facts.training.name}: the logged model does not score its own example ({first}); "
            f"`dvc repro -f {facts.training.evaluated_by}` makes the scorer anew"
        ) from error
    return info


def _model(facts: Facts, package: Path) -> dict[str, Any]:
    """What MLflow is to write of a model, wherever it writes it."""
    from clarity.score.signature import input_example, pip_requirements, signature

    files = Files.of_training(facts.training)
    weights, evaluation = files.digests()
    return {
        "python_model": str(package / "score" / "pyfunc_model.py"),
        "artifacts": {name: str(getattr(files, name)) for name in Files.__dataclass_fields__},
        "code_paths": [str(package)],
        "pip_requirements": pip_requirements(),
        "signature": signature(),
        "input_example": input_example(facts.shape),
        # Checked wherever the model is loaded, also by MLflow alone.
        "model_config": {"weights": weights, "evaluation": evaluation},
    }


@contextmanager
def quiet() -> Iterator[None]:
    """MLflow without its advice and its progress bars; its errors still come as exceptions."""
    import logging
    import warnings

    os.environ["MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR"] = "false"
    logger = logging.getLogger("mlflow")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        # Recorded, not filtered: libraries imported meanwhile set filters of their own.
        with warnings.catch_warnings(record=True):
            yield
    finally:
        logger.setLevel(before)
