"""The flow behind :mod:`pipelines.reproduce`. Importing this imports Prefect."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from prefect import flow, get_run_logger, runtime, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, TaskRun
from prefect.futures import PrefectFuture
from prefect.states import Completed, Failed
from prefect.task_runners import ThreadPoolTaskRunner
from prefect.tasks import Task

from clarity.errors import ClarityError
from clarity.names import line
from pipelines.flows import show
from pipelines.processes.runs import carried, told
from pipelines.stages.at_once import fitting
from pipelines.stages.graph import NOTHING, Graph, read_graph
from pipelines.stages.lock import ordered_lock
from pipelines.stages.stage import DELAYS, StageBusy, StageFailed, run_stage
from pipelines.stages.walk import first_cause, walk


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

    def hear(text: str) -> None:
        log.info("%s", text)
        progress.read(text)

    try:
        run_stage(name, hear, timeout=timeout, env=told(str(runtime.flow_run.id)))
    except StageBusy:
        raise
    except StageFailed as error:
        return Failed(message=str(error))
    progress.done()
    return None


@flow(name="reproduce", validate_parameters=True)
def reproduce(
    max_parallel: int | None = None,
    stages: list[str] | None = None,
    timeout: float | None = None,
    pool: str | None = None,
) -> State:
    """Run every stage that changed and what depends on it; leave the rest alone.

    Args:
        max_parallel: Stages at once; fewer where that times `threads` exceeds the cores. Empty: as
            many as cores and memory have room for, or on a pool all that are ready.
        stages: Only these stages and what they need; `train` means every `train@…`. Empty: all.
        timeout: Seconds after which a stage is killed with all it started. Empty: no limit.
        pool: Work pool on whose machines the stages run (docs/scaling.md). Empty: this machine.

    Returns:
        Completed with what was done, or Failed with the first cause, as the state's message.
    """
    log = get_run_logger()
    with carried(log.info) as flow_run:
        try:
            graph = read_graph(say=log.info)
        except ClarityError as error:
            return Failed(message=line(str(error)))
        names = graph.to_run(stages)
        if not names:
            log.info(NOTHING)
            return Completed(message=NOTHING)
        ready = max_parallel or len(names)
        at_once = fitting(max_parallel, log.warning) if pool is None else ready
        for name in names:
            log.info("%s: %s", name, graph.stale.get(name, "what it depends on runs"))
        work = _work(graph, pool, timeout)
        with ordered_lock(graph):
            ended, failed = run_all(graph, names, at_once, work)
        show.summary(ended, failed, [n for n in names if n not in ended and n not in failed])
        show.results(flow_run)
        if cause := first_cause(names, ended, failed):
            return Failed(message=cause)
        return Completed(message=f"{len(ended)} stages: {', '.join(ended)}")


#: The task that runs a stage, and its parameters beside the stage's name.
Work = tuple[Task, dict[str, object]]


def _work(graph: Graph, pool: str | None, timeout: float | None) -> Callable[[str], Work]:
    """How each stage is run: here, or on a work pool where the run cache can bring it back."""
    here: Work = (stage, {"timeout": timeout})
    if pool is None:
        return lambda name: here
    from pipelines.flows.remote import checked_commit, remote_stage

    there: Work = (remote_stage, {"timeout": timeout, "pool": pool, **checked_commit()})
    return lambda name: here if name in graph.local else there


@dataclass(frozen=True)
class _Task:
    """A stage as a task run of Prefect."""

    name: str
    future: PrefectFuture

    def add_done_callback(self, call: Callable[[object], None], /) -> None:
        self.future.add_done_callback(call)

    def cause(self) -> str | None:
        self.future.wait()
        state = self.future.state
        return None if state.is_completed() else state.message or f"{self.name} failed"


def run_all(
    graph: Graph, names: list[str], max_parallel: int, work: Callable[[str], Work]
) -> tuple[list[str], dict[str, str]]:
    """Every stage as a task run, linked as the graph is (:func:`pipelines.stages.walk.walk`)."""
    futures: dict[str, PrefectFuture] = {}
    runner: ThreadPoolTaskRunner[State | None] = ThreadPoolTaskRunner(max_workers=max_parallel)
    with runner:

        def submit(name: str) -> _Task:
            how, parameters = work(name)
            futures[name] = runner.submit(
                how.with_options(name=name, task_run_name=name),
                {"name": name, **parameters},
                wait_for=[futures[other] for other in graph.upstream[name] if other in futures],
            )
            return _Task(name, futures[name])

        ended, failed = walk(graph, names, max_parallel, submit)
        # Submitted behind a failed future, a task run is marked NotReady without being run.
        left = [name for name in names if name not in futures]
        for name in left:
            submit(name)
        for name in left:
            futures[name].wait()
    return ended, failed
