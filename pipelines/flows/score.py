"""The flow ``score``: what arrived is scored with the champion, and its drift followed."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from prefect import flow, get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.states import Completed, Failed

from clarity.errors import ClarityError
from clarity.files import read_json, write_json
from clarity.machine import in_one_line
from clarity.names import line
from clarity.params import load_params
from pipelines.arrivals.events import DRIFT_LASTS, INCOMING
from pipelines.arrivals.incoming import check_watched, put_aside, take, watched
from pipelines.flows import show
from pipelines.processes.events import delivered
from pipelines.processes.runs import carried

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
        incoming: Folder to watch: pictures (sub-folders are groups) and `.npy` arrays.
        handled: Folder to which scored files are moved, a sub-folder a batch.
        output: Folder for the tables, a sub-folder a batch.
        model: Alias or version of the registered model that scores.
        settle: Seconds a file must have lain unchanged before it is taken.
    """
    log = get_run_logger()
    with carried(log.info) as flow_run:
        try:
            params = load_params()
            check_watched(Path(incoming), Path(handled), Path(output), params.data)
            with watched(Path(incoming)) as alone:
                if not alone:
                    return Completed(message=f"another run handles what arrives in {incoming}")
                work = partial(score_batch, model=model, flow_run=flow_run)
                told, failed = handle(Path(incoming), Path(handled), Path(output), settle, work)
            raise_event(Path(output), params.drift.lasting, log.info)
        except ClarityError as error:
            return Failed(message=line(str(error)))
    if failed:
        return Failed(message=line("; ".join(failed + told)))
    return Completed(message="; ".join(told) or f"nothing arrived in {incoming}")


def handle(
    incoming: Path,
    handled: Path,
    output: Path,
    settle: float,
    work: Callable[..., State],
) -> tuple[list[str], list[str]]:
    """Score every batch and put it aside; one that fails stays for the next run and stops none.

    Args:
        incoming, handled, output, settle: as the flow's.
        work: scores a batch into a folder.

    Returns:
        What was scored, and what could not be, a sentence each.
    """
    told: list[str] = []
    stuck: list[str] = []
    failed: list[str] = []
    for batch in take(incoming, settle, stuck.append):
        state = work(batch, output / batch.name, return_state=True)
        if not state.is_completed():
            failed.append(f"{batch.name}: {state.message}")
            continue
        try:
            put_aside(batch, handled)
        except ClarityError as error:
            failed.append(str(error))
        else:
            told.append(str(state.message))
    if stuck:
        more = f" (and {len(stuck) - 1} more)" if len(stuck) > 1 else ""
        failed.append(stuck[0] + more)
    return told, failed


@task(
    name="score batch",
    task_run_name="score {batch.name}",
    cache_policy=NO_CACHE,
    persist_result=False,
)
def score_batch(batch: Path, output: Path, model: str, flow_run: str) -> State:
    """Score one batch and measure its drift; doing it again after a kill adds nothing twice."""
    try:
        with in_one_line():
            return Completed(message=_score(batch, output, model, flow_run))
    except ClarityError as error:
        return Failed(message=line(str(error)))
    except OSError as error:
        return Failed(message=line(f"{error.filename or output}: {error.strerror}"))


def _score(batch: Path, output: Path, model: str, flow_run: str) -> str:
    from clarity.score import batch as scoring
    from clarity.score.sources import SUMMARY
    from clarity.score.watch import drift_of, record

    log = get_run_logger()
    try:
        scoring.score_images(batch, output, model)
    except ClarityError as error:
        if not (output / SUMMARY).exists():
            raise
        log.warning("%s", line(str(error)))  # nothing usable in it: rejected.csv says why
    summary = scoring.read_summary(output)
    show.scored(batch.name, output)
    if summary["scored"]:
        report = drift_of(batch, model)
        show.drift(report, f"Batch {batch.name}, seen by version {summary['version']}")
        run = record(
            report,
            batch.name,
            str(summary["version"]),
            anomalous=int(str(summary["anomalous"])),
            flow_run=flow_run,
        )
        log.info("%s", report.sentence)
        content = {**report.as_dict(), "version": summary["version"], "mlflow": run}
        write_json(output / DRIFT, {**_kept(output / DRIFT), **content})
    return (
        f"{batch.name}: {summary['scored']} scored with version {summary['version']}, "
        f"{summary['anomalous']} anomalous, {summary['rejected']} rejected"
    )


def _kept(path: Path) -> dict[str, bool]:
    """That the event was raised already, where this batch is done again."""
    return {"raised": True} if path.exists() and read_json(path).get("raised") else {}


def raise_event(output: Path, lasting: int, log: Any) -> bool:
    """Raise the event when the last batches drifted all, once in each row of such batches."""
    row: list[tuple[Path, dict[str, Any]]] = []
    for path in sorted(output.rglob(DRIFT), key=lambda path: path.parts, reverse=True):
        content = read_json(path)
        if not content["tests"]:
            continue
        other = bool(row) and content["version"] != row[0][1]["version"]
        if not content["drifted"] or other:
            break
        row.append((path, content))
    if len(row) < lasting or any(content.get("raised") for _, content in row):
        return False
    path, content = row[0]
    about = {"prefect.resource.id": INCOMING, "prefect.resource.name": "arriving pictures"}
    said = {"batches": len(row), "sentence": content["sentence"]}
    if not delivered(DRIFT_LASTS, about, said):
        log(
            f"event {DRIFT_LASTS}: the Prefect server did not take it; the next run raises it again"
        )
        return False
    # Written after the event: a kill in between raises it twice, which starts one retraining.
    write_json(path, {**content, "raised": True})
    log(f"drift lasts for {len(row)} batches: event {DRIFT_LASTS} raised")
    return True
