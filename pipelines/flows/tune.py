"""The flow behind :mod:`pipelines.tune`. Importing this imports Prefect."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from prefect import flow, get_run_logger, task
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.futures import PrefectFuture, wait
from prefect.states import Completed, Failed

from clarity.errors import ClarityError
from clarity.layout import normals
from clarity.params import load_params, loss_words
from clarity.tracking import tuning
from clarity.tune import study as studies
from clarity.tune.space import USUAL, changes, distributions
from pipelines.flows import show
from pipelines.processes import groups
from pipelines.stages.at_once import fitting

if TYPE_CHECKING:
    from optuna import Study
    from optuna.trial import Trial

#: Candidates in the table that Prefect shows.
SHOWN = 10


def train(trial: Trial, search: studies.Search) -> State | float | None:
    """Train one candidate in a process of its own; its distance, or None where it was cut short
    or diverged.

    A failure is returned rather than raised: its cause is one line, not this file's traceback.
    """
    log = get_run_logger()
    wanted = changes(search.params, search.model, trial.params)
    log.info("%s", words(wanted))
    command = ["-m", "clarity.tune.trial", search.model, str(search.seed), json.dumps(wanted)]
    group = groups.start([sys.executable, *command], f"tune {search.model} {trial.number}")
    distance, checkpoint, cut, last = None, "", False, "no output"
    try:
        for text in group.lines():
            try:
                row = json.loads(text)
            except ValueError:
                last = text.strip() or last
                continue
            checkpoint = row.get("checkpoint", checkpoint)
            distance = row.get("distance", distance)
            if "diverged" in row:
                log.info("%s", row["diverged"])
                cut = True
            if "val_mse" in row and not cut:
                trial.report(row["val_mse"], row["epoch"])
                cut = trial.should_prune()
                if cut:
                    log.info("cut short after epoch %d", row["epoch"])
                    group.stop()
    except BaseException:
        group.stop()
        raise
    finally:
        code = group.wait()
    if cut:
        shutil.rmtree(checkpoint, ignore_errors=True)
        return None
    if code or distance is None:
        return Failed(message=last.removeprefix("clarity: "))
    log.info("%s", studies.told(search, distance))
    return float(distance)


@flow(name="tune", flow_run_name="tune-{model}", validate_parameters=True)
def tune(
    model: str,
    trials: int = 30,
    seed: int = 0,
    knobs: Sequence[str] = USUAL,
    max_parallel: int = 1,
) -> State:
    """Search a better recipe for one model on `val`, and write it to `presets/tuned-MODEL.yaml`.

    Args:
        model: A key of `models` in params.yaml.
        trials: Candidates in all; those of an earlier run of the same search count.
        seed: Of the trainings and of what is proposed.
        knobs: What may change: learning_rate, batch_size, loss, widths, latent.
        max_parallel: Candidates at once; fewer where that times `threads` exceeds the cores.

    Returns:
        Completed with what was found, or Failed with the cause, as the state's message.
    """
    log = get_run_logger()
    try:
        max_parallel = fitting(max_parallel, log.warning)
        search = _search(model, seed, tuple(knobs))
        with studies.alone(search):
            study = studies.open_study(search)
            cause = _work(study, search, trials, max_parallel)
            preset = None if cause else studies.write_preset(study, search)
    except ClarityError as error:
        return Failed(message=str(error))
    if cause:
        return Failed(message=cause)
    found = studies.summary(study, search)
    if preset:
        found += f"; {preset}: `clarity preset {preset.stem}` puts it into params.yaml"
    return Completed(message=found)


def _search(model: str, seed: int, knobs: tuple[str, ...]) -> studies.Search:
    """What is asked, with the digest of all that shapes the committed training.

    Raises:
        ClarityError: no such model or knob, or no data yet.
    """
    import numpy as np

    from clarity.models.device import prepare
    from clarity.train.fingerprint import fingerprint
    from clarity.train.setup import resolve_precision

    params = load_params()
    path = normals("train")
    try:
        images = len(np.load(path, mmap_mode="r", allow_pickle=False))
    except FileNotFoundError:
        raise ClarityError(f"{path}: no such file; run `dvc repro preprocess` first") from None
    space = distributions(params, model, knobs, images)
    device = prepare(params.device, params.threads)
    precision = resolve_precision(params.recipe(model).precision, device)
    whose = fingerprint(params, model, seed, device, precision)["fingerprint"]
    return studies.Search(params, model, seed, knobs, space, whose)


def _work(study: Study, search: studies.Search, trials: int, max_parallel: int) -> str | None:
    """Train candidates until there are so many; why not, if not."""
    import optuna

    asked: dict[int, Trial] = {}

    # Its argument is all that Prefect copies and shows.
    @task(name="candidate", cache_policy=NO_CACHE, persist_result=False)
    def candidate(number: int) -> State | float | None:
        return train(asked[number], search)

    while (missing := trials - len(studies.ended(study))) > 0:
        some = [studies.ask(study, search) for _ in range(min(missing, max_parallel))]
        asked |= {trial.number: trial for trial in some}
        # Of few choices the same comes twice; two processes would share one checkpoint.
        wanted = {t.number: str(changes(search.params, search.model, t.params)) for t in some}
        futures: dict[str, PrefectFuture[Any]] = {}
        for number, text in wanted.items():
            if text not in futures:
                named = candidate.with_options(task_run_name=f"candidate {number}")
                futures[text] = named.submit(number)
        # All of them, before a failed one ends the search and lets another begin.
        wait(list(futures.values()))
        for trial in some:
            future = futures[wanted[trial.number]]
            if not future.state.is_completed():
                return f"candidate {trial.number}: {future.state.message}"
            distance = future.result()
            if isinstance(distance, float):
                study.tell(trial.number, distance)
            else:
                study.tell(trial.number, state=optuna.trial.TrialState.PRUNED)
        tuning.publish(study, search)
        _show(study, search)
    return None


def words(wanted: Mapping[str, Any]) -> str:
    """What a candidate changes, for people: ``learning_rate 0.0007, loss MS-SSIM``."""
    flat = {**wanted, **wanted.get("train", {})}
    flat.pop("train", None)
    if "loss" in flat:
        flat["loss"] = loss_words(flat["loss"])
    if "widths" in flat:
        flat["widths"] = "-".join(map(str, flat["widths"]))
    return ", ".join(f"{key} {value}" for key, value in flat.items()) or "params.yaml's own recipe"


def _show(study: Study, search: studies.Search) -> None:
    """The best candidates as a table in Prefect's UI."""
    rows = [
        f"| {t.number} | {studies.told(search, t.value or 0.0)} | "
        f"{words(changes(search.params, search.model, t.params))} |"
        for t in studies.ranked(study)[:SHOWN]
    ]
    text = "\n".join(["| candidate | on val | other than in params.yaml |", show.TABLE, *rows])
    with suppress(Exception):  # a view: where it cannot be made the search goes on
        create_markdown_artifact(
            f"{studies.summary(study, search)}\n\n{text}", key=show.key(f"tune-{search.model}")
        )
