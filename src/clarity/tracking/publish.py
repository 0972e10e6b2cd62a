"""The last stage: completes MLflow's runs and model versions from the outputs alone.

DVC may have restored outputs from its cache and run no training, a server may have been away, the
store may be new: whatever is missing is added, what is there is left, publishing twice changes
nothing.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock

from clarity.address import project_root, sqlite_file
from clarity.errors import ClarityError
from clarity.files import sha256_bytes, write_json
from clarity.layout import MLRUNS, PUBLISHED, Shape
from clarity.machine import refusal
from clarity.params import Params, load_params
from clarity.redact import redact
from clarity.score import owner
from clarity.score.registered import (
    TAG_EVALUATION,
    TAG_FINGERPRINT,
    TAG_REGISTERED,
    TAG_WEIGHTS,
)
from clarity.store import experiment_id, open_store
from clarity.tracking import comparison, facts, keys, notes, runs, versions
from clarity.tracking.facts import Dataset, Facts

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

#: Most rows of the table that MLflow shows; the whole table is an artifact beside it.
TABLE_ROWS = 2000
TABLE = "test_images.json"
#: Of the registered model; what somebody wrote in its place is left.
DESCRIPTION = (
    "Every evaluated training is a version. `champion` is the one that scores and serves: the "
    "first took the post with nobody to compare it with, each later one because `clarity promote` "
    "found it measurably better on the gate split. `clarity history` says which and why."
)
FORMER_DESCRIPTION = (
    "Every evaluated training is a version; `champion` is the one that `clarity promote` found "
    "measurably better on the gate split."
)
#: Curves in MLflow and curves.csv are the same when they differ by less than this share.
TOLERANCE = 1e-6


def publish_lock(root: Path) -> FileLock:
    """Held by whoever writes a project's runs and versions."""
    path = root / MLRUNS / ".publish.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    return FileLock(path)


def publish(numbers: Mapping[int, str] | None = None, *, mend: bool = False) -> None:
    """Publish every training and ensemble of params.yaml, and the comparison.

    Args:
        numbers: version number → identity of the versions there ever were, so that a lost store
            gets the same numbers again; None where nobody remembers.
        mend: look into every version's files too, and put back what is lost or changed.

    Raises:
        ClarityError: an output is missing, or MLflow's store does not answer.
    """
    from mlflow.exceptions import MlflowException

    params = load_params()
    data = Dataset.read(params)
    everything = [Facts.read(params, training) for training in params.outputs]
    with publish_lock(project_root()):
        client = open_store()
        try:
            Publisher(client, params, data, numbers or {}, mend=mend).publish(everything)
        except MlflowException as error:
            reason = redact(" ".join(str(error.message).split()))[:300]
            said = refusal(error, str(sqlite_file(client.tracking_uri) or client.tracking_uri))
            raise ClarityError(said or f"MLflow refused a part of the results: {reason}") from error
    write_json(PUBLISHED, receipt(params, data, everything))


def receipt(params: Params, data: Dataset, everything: list[Facts]) -> dict[str, Any]:
    """What was published, by digests alone: the same for the same outputs, wherever."""
    return {
        "data": data.digest,
        "registered_model": params.gate.name,
        "trainings": {
            one.training.name: {
                "fingerprint": one.tags[TAG_FINGERPRINT],
                "weights": one.tags[TAG_WEIGHTS],
                "evaluation": one.tags[TAG_EVALUATION],
                "identity": one.identity,
            }
            for one in everything
        },
    }


class Publisher:
    """One pass over all trainings, against one store."""

    def __init__(
        self,
        client: MlflowClient,
        params: Params,
        data: Dataset,
        numbers: Mapping[int, str],
        *,
        mend: bool = False,
    ) -> None:
        self.mend = mend
        self.client = client
        self.experiment = experiment_id(client)
        self.model = params.gate.name
        self.data = data
        self.numbers = numbers
        self.commit = facts.commit()
        self.versions: dict[str, versions.Published] = {}
        self.epochs: list[int] = []

    def publish(self, everything: list[Facts]) -> None:
        """Publish in the order that gives versions their old numbers, then tidy up."""
        from rich.progress import track

        self._registered_model()
        self.versions = versions.existing(self.client, self.model)
        self.epochs = sorted({epoch for one in everything for epoch in one.epochs})
        kept: dict[str, str] = {}
        order = versions.in_order(everything, self.numbers)
        for one, number in track(order, "publishing", transient=True, disable=not _terminal()):
            kept[one.training.name] = self._training(one, number)
            if self.mend:
                versions.mend(self.client, self.model, self.versions[one.identity].number, one)
        self._supersede(kept)
        comparison.publish(
            self.client,
            self.experiment,
            self.model,
            list(self._made(keys.COMPARISON)),
            everything,
            self.commit,
        )

    def _made(self, kind: str, **tags: str | None) -> Iterator[Run]:
        """This project's runs of a kind, in a store that others may share."""
        found = runs.all_runs(self.client, self.experiment, {keys.KIND: kind, **tags})
        return owner.own(self.client, self.model, found)

    def _registered_model(self) -> None:
        from mlflow.exceptions import MlflowException

        try:
            known = self.client.get_registered_model(self.model).description
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
            self.client.create_registered_model(self.model, description=DESCRIPTION)
        else:
            if known == FORMER_DESCRIPTION:
                self.client.update_registered_model(self.model, DESCRIPTION)

    def _training(self, one: Facts, number: int | None) -> str:
        """Complete the run of one training, and its version; return the run's id."""
        run = self._run(one)
        run_id = str(run.info.run_id)
        version = self.versions.get(one.identity)
        tags = run.data.tags
        content = sha256_bytes(f"{one.content} {self.epochs}".encode())
        number_there = None if version is None else str(version.number)
        if tags.get(keys.CONTENT) == content and tags.get(keys.VERSION) == number_there:
            self._make_current(run, one)
            return run_id
        runs.log(self.client, run_id, params=runs.new_params(run, one.params))
        self._curves(run, one)
        self._dataset(run, one)
        self._pictures(run_id, one)
        self._files(run_id, one)
        if version is None:
            version = versions.register(
                self.client, self.model, one, self.data, run_id, self.commit, number
            )
            self.versions[one.identity] = version
        runs.log(self.client, run_id, [(0, one.metrics)], model_id=version.model_id)
        self._end(run, one)
        self._make_current(run, one)
        done = {
            **one.tags,
            keys.VERSION: str(version.number),
            "mlflow.note.content": notes.run_note(one, run_id, str(version.number)),
            keys.CONTENT: content,  # last: only a complete run carries it
        }
        runs.log(self.client, run_id, tags=done)
        return run_id

    def _run(self, one: Facts) -> Run:
        """The run of a training's fingerprint: found, brought back from the trash, or made."""
        whose = one.training.name, one.tags[TAG_FINGERPRINT]
        same = runs.of_fingerprint(self.client, self.experiment, *whose)
        for run in owner.own(self.client, self.model, same):
            if runs.is_alive(run):
                continue
            if run.data.tags.get(keys.CONTENT) is None and not self._agrees(run, one):
                continue  # a live mirror of other numbers; it is tidied away below
            if runs.is_deleted(run.info):
                self.client.restore_run(run.info.run_id)
            return run
        seconds = one.seconds()
        return self.client.create_run(
            self.experiment,
            start_time=runs.now() - round(1000 * seconds) if seconds else None,
            tags={**one.tags, **facts.flow_run(), **self.commit},
            run_name=one.training.name,
        )

    def _make_current(self, run: Run, one: Facts) -> None:
        """Mark a run as one of what params.yaml asks for now, in its colour among these models."""
        tags, run_id = run.data.tags, run.info.run_id
        marks = {
            keys.CURRENT: "true",
            keys.COLOUR: one.tags[keys.COLOUR],
            TAG_REGISTERED: self.model,  # a run from before this tag gets it
        }
        if any(tags.get(key) != value for key, value in marks.items()):
            runs.log(self.client, run_id, tags=marks)
        if keys.SUPERSEDED_BY in tags:
            self.client.delete_tag(run_id, keys.SUPERSEDED_BY)

    def _agrees(self, run: Run, one: Facts) -> bool:
        """Whether what was mirrored live is what the outputs say."""
        truth = dict(one.curves)
        for key, points in runs.history(self.client, run, f"{keys.CURVES}/").items():
            if key == keys.IMAGES_PER_SECOND:
                continue
            for step, value in points.items():
                said = truth.get(step, {}).get(key)
                if said is None or abs(said - value) > TOLERANCE * max(abs(said), abs(value)):
                    return False
        return True

    def _curves(self, run: Run, one: Facts) -> None:
        """Add the epochs that were not mirrored live."""
        logged = runs.history(self.client, run, f"{keys.CURVES}/")
        missing = [
            (step, {key: v for key, v in values.items() if step not in logged.get(key, {})})
            for step, values in one.curves
        ]
        runs.log(self.client, run.info.run_id, missing)

    def _dataset(self, run: Run, one: Facts) -> None:
        """Say which images, through MLflow's dataset API; once."""
        import json

        from mlflow.entities import Dataset as Entity
        from mlflow.entities import DatasetInput, InputTag

        if run.inputs is not None and run.inputs.dataset_inputs:
            return
        schema = {
            "mlflow_tensorspec": {"features": json.dumps(_tensor(one.shape)), "targets": None}
        }
        entity = Entity(
            name=self.data.name,
            # MLflow keeps at most 36 characters; the tag of the run has all 64.
            digest=self.data.digest[:32],
            source_type="local",
            source=json.dumps({"uri": "data/processed", "sha256 of index.csv": self.data.digest}),
            schema=json.dumps(schema),
            profile=json.dumps(self.data.rows),
        )
        context = InputTag("mlflow.data.context", "training")
        self.client.log_inputs(run.info.run_id, [DatasetInput(entity, [context])])

    def _pictures(self, run_id: str, one: Facts) -> None:
        """Progress grids not yet mirrored, and the evaluation's pictures anew."""
        logged = runs.logged_steps(self.client, run_id, keys.PROGRESS)
        for epoch, path in one.pictures(self.epochs):
            if epoch not in logged:
                runs.log_picture(self.client, run_id, path, keys.PROGRESS, epoch)
        for stem, key in keys.PICTURES.items():
            path = one.training.figures / f"{stem}.png"
            strip = one.training.figures / "strip.png"
            if stem == "grid" and strip.is_file():
                runs.drop_pictures(self.client, run_id, key)
                runs.log_tile(self.client, run_id, strip, key)
            elif path.is_file():
                runs.drop_pictures(self.client, run_id, key)
                runs.log_picture(self.client, run_id, path, key, 0)

    def _files(self, run_id: str, one: Facts) -> None:
        """Figures, tables, provenance and card as artifacts; a second time they are replaced."""
        training = one.training
        with tempfile.TemporaryDirectory() as folder:
            root = Path(folder)
            if training.figures.is_dir():
                shutil.copytree(training.figures, root / "figures")
            for path in (training.curves, training.provenance, training.details):
                if path.is_file():
                    shutil.copy(path, root)
            if training.per_image.is_file():
                shutil.copy(training.per_image, root)
            (root / "model_card.md").write_text(notes.model_card(one, self.data))
            self.client.log_artifacts(run_id, folder)
        if training.per_image.is_file():
            runs.drop_artifact(self.client, run_id, TABLE)
            self.client.log_table(run_id, _test_table(one), TABLE)

    def _end(self, run: Run, one: Facts) -> None:
        """Close the run; its duration is the training's where a clock measured it."""
        seconds = one.seconds()
        start = run.info.start_time or runs.now()
        if run.info.status == "FINISHED" and run.info.end_time:
            end = run.info.end_time
        elif seconds is not None:
            end = start + round(1000 * seconds)
        else:
            end = runs.now()
        self.client.set_terminated(run.info.run_id, "FINISHED", end)

    def _supersede(self, kept: Mapping[str, str]) -> None:
        """Mark older runs as such; what never finished goes to MLflow's trash."""
        # Marked ones leave the pages behind them shorter: all are read first.
        for run in list(self._made(keys.TRAINING, **{keys.SUPERSEDED_BY: None})):
            tags, run_id = run.data.tags, run.info.run_id
            if run_id in kept.values():
                continue
            if runs.is_deleted(run.info) or runs.is_alive(run):
                continue
            marks = {keys.CURRENT: "false", TAG_REGISTERED: self.model}
            if successor := kept.get(tags.get("mlflow.runName", "")):
                marks[keys.SUPERSEDED_BY] = successor
            if any(tags.get(key) != value for key, value in marks.items()):
                runs.log(self.client, run_id, tags=marks)
            if tags.get(keys.CONTENT) is None and keys.SUPERSEDED_BY in marks:
                if run.info.status == "RUNNING":
                    self.client.set_terminated(run_id, "KILLED")
                self.client.delete_run(run_id)


def _tensor(shape: Shape) -> list[dict[str, Any]]:
    spec = {"dtype": "uint8", "shape": [-1, *shape.stored]}
    return [{"type": "tensor", "tensor-spec": spec}]


def _test_table(one: Facts) -> Any:
    """Per-image figures of the test split for the UI's table view, row for row in every model."""
    import pandas as pd

    frame = pd.read_parquet(one.training.per_image)
    frame = frame[frame["split"] == "test"]
    score = f"score_{one.details.best_score}"
    columns = [c for c in ("haarpsi", "mse", "ssim", "psnr", "kind") if c in frame]
    shown = frame[["id"]].copy()
    if score in frame:
        shown["score"] = frame[score]
    shown[columns] = frame[columns]
    return shown.iloc[:TABLE_ROWS].round(6).reset_index(drop=True)


def _terminal() -> bool:
    import sys

    return sys.stderr.isatty()
