"""The flow ``score``: what arrived is scored with the champion, and its drift followed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from prefect import flow, get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.events import emit_event
from prefect.states import Completed, Failed

from clarity.errors import ClarityError
from clarity.files import read_json, write_json
from clarity.params import load_params
from pipelines import show
from pipelines.events import DRIFT_LASTS, INCOMING
from pipelines.incoming import put_aside, take
from pipelines.runs import carried

DRIFT = "drift.json"


@flow(name="score")
def score(
    incoming: str = "data/incoming",
    handled: str = "data/handled",
    output: str = "scores",
    model: str = "champion",
    settle: float = 10.0,
) -> State:
    """Score the pictures that arrived, flag anomalies, follow the drift.

    Args:
        incoming: Folder to watch: pictures (sub-folders are groups) or `.npy` arrays.
        handled: Folder to which scored files are moved, a sub-folder a batch.
        output: Folder for the tables, a sub-folder a batch.
        model: Alias or version of the registered model that scores.
        settle: Seconds a file must have lain unchanged before it is taken.
    """
    log = get_run_logger()
    with carried(log.info) as flow_run:
        try:
            batches = take(Path(incoming), settle)
            if not batches:
                return Completed(message=f"nothing arrived in {incoming}")
            told = []
            for batch in batches:
                name = f"score {batch.name}"
                work = score_batch.with_options(task_run_name=name)
                told.append(work(batch, Path(output) / batch.name, model, flow_run))
                put_aside(batch, Path(handled))
            raise_event(Path(output), load_params().drift.lasting, log.info)
        except ClarityError as error:
            return Failed(message=str(error))
    return Completed(message="; ".join(told))


@task(name="score batch", cache_policy=NO_CACHE, persist_result=False)
def score_batch(batch: Path, output: Path, model: str, flow_run: str) -> str:
    """Score one batch and measure its drift; doing it again after a kill adds nothing twice."""
    from clarity.score import batch as scoring
    from clarity.score.watch import drift_of, record

    log = get_run_logger()
    sources = sorted(path for path in batch.rglob("*.npy")) or [batch]
    summary: dict[str, Any] = {}
    for source in sources:
        own = output if source == batch else output / source.stem
        try:
            scoring.run(source, own, model)
        except ClarityError as error:
            if not (own / scoring.SUMMARY).exists():
                raise
            log.warning("%s", error)  # nothing usable in it: rejected.csv says why
        found = scoring.read_summary(own)
        for key in ("images", "scored", "rejected", "anomalous"):
            summary[key] = summary.get(key, 0) + found[key]
        summary["version"] = found["version"]
        show.scored(batch.name, own)
        if not found["scored"]:
            continue
        report = drift_of(source, model)
        run = record(
            report,
            batch.name if source == batch else f"{batch.name}.{source.stem}",
            str(found["version"]),
            anomalous=int(str(found["anomalous"])),
            flow_run=flow_run,
        )
        log.info("%s", report.sentence)
        write_json(own / DRIFT, {**report.as_dict(), "version": found["version"], "mlflow": run})
    return (
        f"{batch.name}: {summary['scored']} scored with version {summary['version']}, "
        f"{summary['anomalous']} anomalous, {summary['rejected']} rejected"
    )


def raise_event(output: Path, lasting: int, log: Any) -> bool:
    """Raise the event when the last batches drifted all, once in each row of such batches."""
    reports = [
        (path, content)
        for path in sorted(output.rglob(DRIFT), key=lambda path: path.parts, reverse=True)
        if (content := read_json(path))["tests"]
    ]
    row = []
    for path, content in reports:
        if not content["drifted"] or content["version"] != reports[0][1]["version"]:
            break
        row.append((path, content))
    if len(row) < lasting or any(content.get("raised") for _, content in row):
        return False
    path, content = row[0]
    emit_event(
        DRIFT_LASTS,
        resource={"prefect.resource.id": INCOMING, "prefect.resource.name": "arriving pictures"},
        payload={"batches": len(row), "sentence": content["sentence"]},
    )
    # Written after the event: a kill in between raises it twice, which starts one retraining.
    write_json(path, {**content, "raised": True})
    log(f"drift lasts for {len(row)} batches: event {DRIFT_LASTS} raised")
    return True
