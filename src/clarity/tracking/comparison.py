"""The run ``comparison``: the report, the tables and the verdicts over all models, in one place."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clarity.files import read_json, sha256_bytes, sha256_tree
from clarity.layout import REPORTS
from clarity.score.registered import TAG_DATA, TAG_NAME, TAG_REGISTERED, TAG_STAGE
from clarity.tracking import keys, notes, runs, view
from clarity.tracking.facts import Facts

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

NAME = "comparison"
#: What `compare` leaves and the run carries, where it is there.
FILES = ("index.html", "table.md", "table.csv", "table.json", "verdicts.json", "curves.csv")


def publish(
    client: MlflowClient,
    experiment: str,
    registered: str,
    known: list[Run],
    everything: list[Facts],
    commit: Mapping[str, str],
) -> None:
    """Bring the project's one comparison run up to date, and the experiment's note and views.

    Args:
        experiment: its id.
        registered: the registered model, whose project this is.
        known: the project's own runs.
        everything: what was compared.
        commit: tags of git's state.
    """
    verdicts = _json(REPORTS / "verdicts.json")
    table = _text(REPORTS / "table.md")
    last = max((epoch for one in everything for epoch in one.epochs), default=0)
    view.publish(client, registered, last)
    note = notes.experiment_note(verdicts, table, view.query(client, registered))
    current = client.get_experiment(experiment).tags
    if current.get("mlflow.note.content") != note:
        client.set_experiment_tag(experiment, "mlflow.note.content", note)
    if not REPORTS.is_dir():
        return
    content = sha256_bytes(f"{sha256_tree(REPORTS)}\n{everything[0].tags[TAG_DATA]}".encode())
    mine = [run for run in known if run.data.tags.get(keys.KIND) == keys.COMPARISON]
    for extra in mine[1:]:
        if not runs.is_deleted(extra.info):
            client.delete_run(extra.info.run_id)
    if mine:
        run = mine[0]
        if runs.is_deleted(run.info):
            client.restore_run(run.info.run_id)
        if run.data.tags.get(keys.CONTENT) == content:
            if TAG_REGISTERED not in run.data.tags:
                runs.log(client, run.info.run_id, tags={TAG_REGISTERED: registered})
            return
    else:
        run = client.create_run(experiment, run_name=NAME)
    run_id = run.info.run_id
    with tempfile.TemporaryDirectory() as folder:
        for name in FILES:
            if (REPORTS / name).is_file():
                shutil.copy(REPORTS / name, folder)
        if (REPORTS / "figures").is_dir():
            shutil.copytree(REPORTS / "figures", Path(folder) / "figures")
        client.log_artifacts(run_id, folder)
    lines = [f"- {line}" for line in notes.sentences(verdicts)]
    tags = {
        keys.KIND: keys.COMPARISON,
        TAG_REGISTERED: registered,
        keys.CURRENT: "true",
        TAG_NAME: NAME,
        TAG_STAGE: "compare",
        TAG_DATA: everything[0].tags[TAG_DATA],
        "mlflow.source.name": "dvc repro compare",
        "mlflow.source.type": "PROJECT",
        "mlflow.runName": NAME,
        "mlflow.note.content": "\n".join(lines) + "\n\nThe report is `index.html` among the "
        "artifacts.\n\n" + table,
        keys.CONTENT: content,
        **commit,
    }
    runs.log(client, run_id, tags=tags)
    client.set_terminated(run_id, "FINISHED")


def _json(path: Path) -> Any:
    return read_json(path) if path.is_file() else {}


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.is_file() else ""
