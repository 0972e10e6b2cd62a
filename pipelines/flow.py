"""The flow behind :mod:`pipelines.reproduce`. Importing this imports Prefect."""

from __future__ import annotations

import queue
from collections.abc import Callable
from functools import partial
from itertools import islice

from prefect import flow, get_run_logger, runtime, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, TaskRun
from prefect.futures import PrefectFuture
from prefect.states import Completed, Failed
from prefect.task_runners import ThreadPoolTaskRunner
from prefect.tasks import Task

from clarity.files import read_json, write_json
from pipelines import groups, show
from pipelines.graph import Graph, locked_stages, order_lock, read_graph
from pipelines.home import home
from pipelines.reproduce import NOTHING, fitting
from pipelines.runs import carried
from pipelines.stage import StageBusy, StageFailed, run_stage

#: How the stage's processes learn which flow run they belong to; MLflow runs carry it as a tag.
FLOW_RUN = "CLARITY_FLOW_RUN_ID"
#: Seconds before a stage that met somebody else's lock is tried again: in all three quarters of an
#: hour, for a `dvc repro` beside the flow (Prefect allows 50 delays).
DELAYS = [2.0, 4.0, 8.0, 16.0, *[60.0] * 46]


def may_pass(task: Task, run: TaskRun, state: State) -> bool:
    """Whether trying again may help: a lock was held. Bad input and failed code won't mend."""
    return isinstance(state.result(raise_on_failure=False), StageBusy)


@task(
    cache_policy=NO_CACHE,
    persist_result=False,
    retries=len(DELAYS),
    retry_delay_seconds=DELAYS,
    retry_jitter_factor=0.5,
    retry_condition_fn=may_pass,
)
def stage(name: str, timeout: float | None = None) -> State | None:
    """One stage as ``dvc repro -s``; its output streams into the run's log.

    A failure is returned rather than raised: its cause is one line, not this file's traceback.
    """
    log = get_run_logger()
    progress = show.Progress(name)

    def line(text: str) -> None:
        log.info("%s", text)
        progress.read(text)

    try:
        run_stage(name, line, timeout=timeout, env={FLOW_RUN: str(runtime.flow_run.id)})
    except StageBusy:
        raise
    except StageFailed as error:
        return Failed(message=str(error))
    progress.done()
    return None


@flow(name="reproduce", validate_parameters=True)
def reproduce(
    max_parallel: int = 1,
    stages: list[str] | None = None,
    timeout: float | None = None,
    pool: str | None = None,
) -> State:
    """Run every stage that changed and what depends on it; leave the rest alone.

    Args:
        max_parallel: Stages at once; fewer where that times `threads` exceeds the cores.
        stages: Only these stages and what they need; `train` means every `train@…`. Empty: all.
        timeout: Seconds after which a stage is killed with all it started. Empty: no limit.
        pool: Work pool on whose machines the stages run (docs/scaling.md). Empty: this machine.

    Returns:
        Completed with what was done, or Failed with the first cause, as the state's message.
    """
    log = get_run_logger()
    with carried(log.info) as flow_run:
        if pool is None:
            max_parallel = fitting(max_parallel, log.warning)
        graph = read_graph(say=log.info)
        names = graph.to_run(stages)
        if not names:
            log.info(NOTHING)
            return Completed(message=NOTHING)
        for name in names:
            log.info("%s: %s", name, graph.stale.get(name, "what it depends on runs"))
        work = _work(graph, pool, timeout)
        before = _locked_before()
        ended, failed = run_all(graph, names, max_parallel, work)
        order_lock(graph, before)
        (home() / LOCKED).unlink(missing_ok=True)
        show.summary(ended, failed, [n for n in names if n not in ended and n not in failed])
        show.results(flow_run)
        if failed:
            left = len(names) - len(ended) - len(failed)
            more = f" ({left} stages behind it were not run)" if left else ""
            return Failed(message=next(iter(failed.values())) + more)
        return Completed(message=f"{len(ended)} stages: {', '.join(ended)}")


#: What dvc.lock held before a run that was cut off, so that the next one can still order it.
LOCKED = "locked.json"


def _locked_before() -> list[str]:
    """Stages in dvc.lock before this run, or before the one that it takes up."""
    note = home() / LOCKED
    if not note.exists():
        write_json(note, locked_stages())
    return list(read_json(note))


#: The task that runs a stage, and its parameters beside the stage's name.
Work = tuple[Task, dict[str, object]]


def _work(graph: Graph, pool: str | None, timeout: float | None) -> Callable[[str], Work]:
    """How each stage is run: here, or on a work pool where the run cache can bring it back."""
    here: Work = (stage, {"timeout": timeout})
    if pool is None:
        return lambda name: here
    from pipelines.remote import checked_commit, remote_stage

    there: Work = (remote_stage, {"timeout": timeout, "pool": pool, **checked_commit()})
    return lambda name: here if name in graph.local else there


def run_all(
    graph: Graph, names: list[str], max_parallel: int, work: Callable[[str], Work]
) -> tuple[list[str], dict[str, str]]:
    """Run ``names`` as their upstream ends, ``max_parallel`` at once.

    A stage waits here, not in the task runner's queue, where it would keep a worker from one that
    is ready. Failed stages keep their dependents from running and nothing else.

    Returns:
        The stages that ended well, in that order, and the cause for each that failed.
    """
    wanted = set(names)
    waiting = dict.fromkeys(names)
    futures: dict[str, PrefectFuture] = {}
    done: queue.SimpleQueue[str] = queue.SimpleQueue()
    ended: list[str] = []
    failed: dict[str, str] = {}
    running = 0
    runner: ThreadPoolTaskRunner[State | None] = ThreadPoolTaskRunner(max_workers=max_parallel)
    with runner:

        def submit(name: str) -> None:
            how, parameters = work(name)
            futures[name] = runner.submit(
                how.with_options(name=name, task_run_name=name),
                {"name": name, **parameters},
                wait_for=[futures[other] for other in graph.upstream[name] if other in futures],
            )

        try:
            while True:
                ready = (
                    name
                    for name in waiting
                    if all(other in ended for other in graph.upstream[name] if other in wanted)
                )
                for name in list(islice(ready, max_parallel - running)):
                    del waiting[name]
                    running += 1
                    submit(name)
                    futures[name].add_done_callback(partial(_put, done, name))
                if not running:
                    break
                name = done.get()
                running -= 1
                futures[name].wait()
                state = futures[name].state
                if state.is_completed():
                    ended.append(name)
                else:
                    failed[name] = state.message or f"{name} failed"
        except BaseException:
            # Told to end: leaving this block waits for the tasks, which wait for their stages.
            groups.stop_all()
            raise
        # Submitted behind a failed future, a task run is marked NotReady without being run.
        for name in waiting:
            submit(name)
        for name in waiting:
            futures[name].wait()
    return ended, failed


def _put(done: queue.SimpleQueue[str], name: str, _: PrefectFuture) -> None:
    done.put(name)
