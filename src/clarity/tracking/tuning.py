"""A search in MLflow: a run for it, and nested in that a run for each candidate."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from clarity.measures import MEASURES
from clarity.score import owner
from clarity.score.registered import TAG_REGISTERED
from clarity.store import experiment_id, open_store
from clarity.tracking import keys, runs, view
from clarity.tune.space import changes
from clarity.tune.study import Search, ended, summary

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from optuna import Study

#: Tags: the study that a run belongs to, and a candidate's number in it.
STUDY, CANDIDATE = "clarity.study", "clarity.candidate"


def publish(study: Study, search: Search) -> str:
    """Log what is not logged yet; the id of the search's run.

    A candidate has its values as parameters, its curve, and its distance on ``val``. Views that
    show trainings do not show these runs; in a list of all runs candidates unfold below the search.
    """
    client = open_store()
    experiment = experiment_id(client)
    found = _of_study(client, experiment, search)
    parent = found.pop("", None)
    if parent is None:
        tags = {
            keys.KIND: keys.TUNING,
            TAG_REGISTERED: search.params.gate.name,
            STUDY: search.name,
            "mlflow.runName": f"tune {search.model}",
        }
        first = min((t.datetime_start for t in study.trials if t.datetime_start), default=None)
        made = client.create_run(experiment, _milliseconds(first), tags=tags)
        parent = str(made.info.run_id)
        runs.log(client, parent, params={"model": search.model, "seed": str(search.seed)})
    measure = search.params.compare.measure
    for trial in ended(study):
        if str(trial.number) in found:
            continue
        tags = {
            keys.KIND: keys.TUNING,
            TAG_REGISTERED: search.params.gate.name,
            STUDY: search.name,
            CANDIDATE: str(trial.number),
            "mlflow.parentRunId": parent,
            "mlflow.runName": f"{search.model}, candidate {trial.number}",
        }
        began, over = (_milliseconds(at) for at in (trial.datetime_start, trial.datetime_complete))
        run_id = str(client.create_run(experiment, began, tags=tags).info.run_id)
        curve = [
            (epoch, {keys.curve("val_mse"): value})
            for epoch, value in sorted(trial.intermediate_values.items())
        ]
        whole = trial.state.name == "COMPLETE"
        if whole and trial.value is not None:
            value = MEASURES[measure].distance(trial.value)  # the distance's own value again
            curve.append((0, {f"val/{measure}_distance": trial.value, f"val/{measure}": value}))
        values = {name: str(value).strip('"') for name, value in trial.params.items()}
        values["changes"] = str(changes(search.params, search.model, trial.params))
        runs.log(client, run_id, curve, values)
        client.set_terminated(run_id, "FINISHED" if whole else "KILLED", over)
    runs.log(client, parent, tags={"mlflow.note.content": summary(study, search)})
    client.set_terminated(parent)
    view.publish_searches(client, search.params.gate.name, measure, search.knobs)
    return parent


def _milliseconds(at: datetime | None) -> int | None:
    """As MLflow counts them; runs are written when a search has ended, and say when they ran."""
    return None if at is None else round(1000 * at.timestamp())


def _of_study(client: MlflowClient, experiment: str, search: Search) -> dict[str, str]:
    """Run ids by candidate; the search's own under the empty name."""
    known = runs.all_runs(client, experiment, {keys.KIND: keys.TUNING})
    name = search.params.gate.name
    own = [run for run in owner.own(client, name, known) if STUDY in run.data.tags]
    for run in own:  # from before the tag, by which the view finds them
        if TAG_REGISTERED not in run.data.tags and not runs.is_deleted(run.info):
            runs.log(client, run.info.run_id, tags={TAG_REGISTERED: name})
    mine = [run for run in own if run.data.tags[STUDY] == search.name]
    return {run.data.tags.get(CANDIDATE, ""): run.info.run_id for run in mine}
