"""Stages on other machines: a work pool decides where, DVC's remote carries data and results.

Whoever asks submits the flow ``run-stage`` to a pool for each stage (:func:`remote_stage`); a
worker clones the commit, takes what the stage depends on from the run cache, runs the stage, and
pushes outputs and run cache (:func:`run_stage_here`). The asker then finds the stage done.
There is no shared file system and no message beside a name and a commit.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from filelock import FileLock
from prefect import flow, get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterState,
    FlowRunFilterStateType,
    FlowRunFilterTags,
)
from prefect.client.schemas.objects import FlowRun, State, StateType, TaskRun
from prefect.deployments import run_deployment
from prefect.flow_runs import wait_for_flow_run
from prefect.states import Completed, Failed
from prefect.tasks import Task, exponential_backoff
from prefect.utilities.asyncutils import run_coro_as_sync

from clarity.errors import ClarityError
from clarity.layout import LOCK
from pipelines.processes.home import home, project_root
from pipelines.processes.runs import carried, told
from pipelines.stages.graph import graph_of, repository
from pipelines.stages.stage import StageBusy, StageFailed, run_stage

#: How often a stage is given to another worker after one was lost with it.
ATTEMPTS = 4


class WorkerLost(StageBusy):
    """The machine that ran the stage is gone; another may take it."""


def _git(*arguments: str, cwd: Path | None = None) -> str:
    """Output of a git command.

    Raises:
        ClarityError: git's last line.
    """
    finished = subprocess.run(["git", *arguments], cwd=cwd, capture_output=True, text=True)
    if finished.returncode:
        said = finished.stderr.strip().splitlines() or ["no output"]
        raise ClarityError(f"git {' '.join(arguments)}: {said[-1]}")
    return finished.stdout


def checked_commit() -> dict[str, str]:
    """The repository and commit that workers are to clone.

    Raises:
        ClarityError: something a stage reads is in neither git nor DVC, or there is no remote.
    """
    with repository() as repo:
        if not repo.config["core"].get("remote"):
            raise ClarityError(
                "no default DVC remote: `dvc remote add -d NAME URL`, commit .dvc/config; workers "
                "exchange data through it"
            )
        outputs = {Path(out.fs_path).resolve() for out in repo.index.outs}
        sources = {str(dep) for dep in repo.index.deps if Path(dep.fs_path) not in outputs}
    root = project_root()

    def produced(line: str) -> bool:
        path = (root / line).resolve()
        return any(path == out or out in path.parents for out in outputs)

    changed = [line[3:] for line in _git("status", "--porcelain", "-uno").splitlines()]
    changed = [path for path in changed if path != LOCK and not produced(path)]
    if changed:
        raise ClarityError(f"{changed[0]}: not committed; workers clone the commit, so commit it")
    unasked = ("-x", "__pycache__", "-x", ".gitignore")
    loose = _git("ls-files", "--others", *unasked, "--", *sorted(sources)).splitlines()
    loose = [path for path in loose if not produced(path)]
    if loose:
        raise ClarityError(f"{loose[0]}: neither in git nor in DVC; `dvc add` and push it, commit")
    try:
        origin = _git("remote", "get-url", "origin").strip()
    except ClarityError:
        raise ClarityError("no git remote `origin`; workers clone the commit from it") from None
    if _account(origin):
        raise ClarityError(
            f"{origin}: the remote `origin` names an account, which every worker and Prefect's UI "
            "would be shown; `git remote set-url origin` without it, and let each machine's "
            "credential helper (`git config credential.helper`) answer for it"
        )
    return {"repository": origin, "commit": _git("rev-parse", "HEAD").strip()}


def _account(address: str) -> bool:
    """Whether a git address carries what may be a secret; ``git@`` of SSH is none."""
    scheme, mark, rest = address.partition("://")
    account = rest.partition("/")[0].rpartition("@")[0] if mark else ""
    return ":" in account or (bool(account) and "ssh" not in scheme.lower())


def _lost(task: Task, run: TaskRun, state: State) -> bool:
    return isinstance(state.result(raise_on_failure=False), StageBusy)


@task(
    cache_policy=NO_CACHE,
    persist_result=False,
    retries=ATTEMPTS - 1,
    retry_delay_seconds=exponential_backoff(backoff_factor=1),
    retry_condition_fn=_lost,
)
def remote_stage(
    name: str, pool: str, repository: str, commit: str, timeout: float | None = None
) -> State | None:
    """One stage on a machine of the pool; its result is pulled from DVC's remote afterwards."""
    log = get_run_logger()
    tags = [f"stage:{name}", f"commit:{commit[:12]}"]
    earlier = _unfinished(tags)
    if earlier is not None:  # asked for by somebody else, or by us before a crash
        log.info("%s already runs as %s", name, earlier.name)
        run = run_coro_as_sync(wait_for_flow_run(earlier.id, poll_interval=1))
    else:
        log.info("%s goes to pool %s", name, pool)
        run = run_deployment(  # type: ignore[assignment]
            f"run-stage/{pool}",
            parameters={
                "name": name,
                "repository": repository,
                "commit": commit,
                "timeout": timeout,
            },
            flow_run_name=name,
            tags=tags,
            poll_interval=1,
        )
    assert run is not None
    assert run.state is not None
    if run.state.is_crashed() or run.state.is_cancelled():
        raise WorkerLost(f"{name}: {run.state.message or 'its worker is gone'}")
    if not run.state.is_completed():
        return Failed(message=run.state.message or f"{name} failed")
    try:
        run_stage(name, lambda line: log.info("%s", line), options=("--pull",))
    except StageBusy:
        raise
    except StageFailed as error:
        return Failed(message=str(error))
    return None


def _unfinished(tags: list[str]) -> FlowRun | None:
    """A run of this very stage and commit that has not ended."""
    states = [StateType.SCHEDULED, StateType.PENDING, StateType.RUNNING]
    with get_client(sync_client=True) as client:
        runs = client.read_flow_runs(
            flow_run_filter=FlowRunFilter(
                tags=FlowRunFilterTags(all_=tags),
                state=FlowRunFilterState(type=FlowRunFilterStateType(any_=states)),
            ),
            limit=1,
        )
    return runs[0] if runs else None


@flow(name="run-stage", flow_run_name="{name}")
def run_stage_here(
    name: str, repository: str, commit: str, timeout: float | None = None
) -> State | None:
    """Run one stage of a commit on this machine and push its results to DVC's remote.

    Args:
        name: The stage, as DVC names it: `train@conv-small-0`.
        repository: Where the commit is cloned from.
        commit: The full commit.
        timeout: Seconds after which the stage is killed with all it started. Empty: no limit.
    """
    log = get_run_logger()
    with carried(log.info) as flow_run:
        try:
            clone = checkout(repository, commit)
            for restored in restore_ancestors(clone, name):
                log.info("%s: from the run cache", restored)
            env = {
                # The commit's code, not the code this worker was installed from.
                "PYTHONPATH": os.pathsep.join([str(clone / "src"), str(clone)]),
                **told(flow_run),
            }

            def say(line: str) -> None:
                log.info("%s", line)

            run_stage(name, say, timeout=timeout, env=env, cwd=clone, options=("--pull",))
            log.info("pushed: %d objects", push(clone, name))
        except (ClarityError, StageFailed) as error:
            return Failed(message=str(error))
    return Completed(message=f"{name} done and pushed")


def checkout(repository: str, commit: str) -> Path:
    """A clone of the commit under Prefect's home, made once; DVC's cache is shared between them."""
    clone = home() / "clones" / commit[:16]
    clone.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(clone.with_suffix(".lock")):
        if not clone.exists():
            building = clone.with_suffix(".building")
            shutil.rmtree(building, ignore_errors=True)
            _git("clone", "--quiet", "--no-checkout", repository, str(building))
            try:
                _git("checkout", "--quiet", "--detach", commit, cwd=building)
            except ClarityError:
                raise ClarityError(
                    f"{repository} has no commit {commit[:12]}; push it there"
                ) from None
            local = project_root() / ".dvc" / "config.local"
            if local.exists():  # this machine's credentials for the remote
                shutil.copy(local, building / ".dvc" / "config.local")
            cache = ["config", "--local", "cache.dir", str(home() / "dvc-cache")]
            subprocess.run([sys.executable, "-m", "dvc", *cache], cwd=building, check=True)
            building.rename(clone)
    return clone


def restore_ancestors(clone: Path, name: str) -> list[str]:
    """Bring what a stage depends on into the clone, from DVC's remote; the stages restored.

    Raises:
        ClarityError: the run cache does not know one of them: it has to run first.
    """
    restored = []
    with repository(clone) as repo:
        graph = graph_of(repo)
        above = graph.ancestors(name)
        chosen = [stage for stage in graph.to_run([name]) if stage in above]
        if not chosen:
            return []
        with repo.lock:
            repo.stage_cache.pull(None)
        for stage in chosen:
            # `repro` runs what it cannot restore, so what is not there is refused beforehand.
            if stage.endswith(".dvc"):
                repo.pull([stage])
            elif not _known(repo, stage):
                raise ClarityError(f"{name}: {stage} is not in the run cache; run that first")
            else:
                repo.reproduce(stage, single_item=True, pull=True)
            restored.append(stage)
    return restored


def _known(repo: Any, name: str) -> bool:
    """Whether the run cache holds a stage's outputs for its present dependencies."""
    (stage,) = repo.stage.collect(name)
    with repo.lock:
        stage.save_deps()
        return bool(repo.stage_cache._load(stage))


def push(clone: Path, name: str) -> int:
    """Push a stage's outputs, then the run cache; how many objects of the stage went out.

    In this order, so that nobody finds an entry without its objects. ``dvc push --run-cache``
    leaves out what git keeps (metrics with ``cache: false``); without them the stage would run
    again.

    Raises:
        ClarityError: the stage is not in the run cache, or the remote does not take it.
    """
    with repository(clone) as repo, repo.lock:
        (stage,) = repo.stage.collect(name)
        stage.save_deps()
        entry = repo.stage_cache._load(stage)
        if entry is None:
            raise ClarityError(f"{name}: not in the run cache after it ran; nothing to push")
        objects = repo.stage_cache._create_stage(entry, wdir=stage.wdir).get_used_objs()
        count = 0
        for found in objects.values():
            result = repo.cloud.push(found)
            if result.failed:
                raise ClarityError(f"{name}: {len(result.failed)} results could not be pushed")
            count += len(result.transferred)
        repo.stage_cache.push(None)
    return count
