"""`clarity gc`: what nobody needs any more in MLflow's store and among the checkpoints.

Needed is what an alias or the way back of `clarity rollback` names, what a ``dvc.lock`` of any
branch, tag or other reference names, the workspace's own, and whatever a running job works at.
Runs and versions of another project in the same store are not looked at.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clarity.address import project_root
from clarity.commands import git
from clarity.errors import ClarityError
from clarity.files import md5_file
from clarity.layout import CHECKPOINTS, LOCK
from clarity.params import Params, load_params
from clarity.processes import busy
from clarity.redact import printable
from clarity.registry.history import History
from clarity.registry.versions import Registry, Version, registry_lock, workspace
from clarity.score import owner
from clarity.score.registered import identity_of
from clarity.store import experiment_id, open_store, paged
from clarity.tracking import keys, runs
from clarity.tracking.publish import publish_lock

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import RunInfo

#: A weights file in a dvc.lock, and its digest.
_WEIGHTS = re.compile(
    r"(?:models|ensembles)/[^\n]+/weights\.safetensors\s+(?:hash: md5\s+)?md5: (\w{32})\b"
)

Say = Callable[[str], None]


@dataclass
class Plan:
    """What would be deleted."""

    versions: list[Version] = field(default_factory=list)
    runs: list[RunInfo] = field(default_factory=list)
    models: list[str] = field(default_factory=list)
    checkpoints: list[Path] = field(default_factory=list)


def collect(*, force: bool = False, say: Say = print) -> None:
    """Say what nobody needs; with ``force``, delete it.

    Raises:
        ClarityError: there is no git repository, which alone knows what is needed.
    """
    root = project_root()
    needed = set(_named(root))
    params = load_params()
    with registry_lock(), publish_lock(root):
        client = open_store()
        registry = Registry(client, params.gate.name)
        plan = _plan(registry, needed, params)
        for line in _told(plan):
            say(line)
        if not force:
            if any((plan.versions, plan.runs, plan.models, plan.checkpoints)):
                say("nothing was deleted; `clarity gc --force` deletes this")
            return
        _delete(client, registry, plan, say)


def _plan(registry: Registry, needed: set[str], params: Params) -> Plan:
    client, plan = registry.client, Plan()
    history = History()
    standing = {*registry.all_aliases().values(), *history.champions, *history.aliases.values()}
    here = {identity_of(training) for training in workspace(params.outputs)}
    # A run may have become a version of another registered model too.
    kept = {run for run, by in owner.models_of_runs(client).items() if by != {registry.name}}
    for number, version in registry.versions().items():
        wanted = number in standing or version.identity in here
        if wanted or _weights(registry, version) in (None, *needed):
            kept.add(version.run_id)
        else:
            plan.versions.append(version)
    going = {version.run_id for version in plan.versions} - kept
    known = runs.all_runs(client, experiment_id(client), {keys.KIND: keys.TRAINING})
    for run in owner.own(client, registry.name, known):
        tags, run_id = run.data.tags, run.info.run_id
        if run_id in kept or runs.is_alive(run):
            continue
        current = tags.get(keys.CURRENT) == "true" and run_id not in going
        if not current or runs.is_deleted(run.info):
            plan.runs.append(run.info)
    gone = {run.run_id for run in plan.runs} | going
    plan.models = [model for model, run_id in _models(client) if run_id in gone]
    plan.checkpoints = list(_checkpoints(params))
    return plan


def _named(root: Path) -> Iterator[str]:
    """DVC's digests of the weights that any reference's dvc.lock names, or the workspace's."""
    try:
        references = git(root, "for-each-ref", "--format=%(objectname)").split()
        references += git(root, "rev-list", "--max-count=1", "HEAD").split()
    except ClarityError as error:
        raise ClarityError(
            f"{root}: what is needed is known by git's branches and tags alone ({error})"
        ) from None
    texts = [git(root, "show", f"{one}:./{LOCK}", check=False) for one in dict.fromkeys(references)]
    with suppress(FileNotFoundError):
        texts.append((root / LOCK).read_text(encoding="utf-8"))
    for text in texts:
        yield from _WEIGHTS.findall(text)


def _weights(registry: Registry, version: Version) -> str | None:
    """DVC's digest of a version's weights; None where its files cannot be read."""
    try:
        return md5_file(registry.files(version).weights)
    except (ClarityError, OSError):
        return None


def _models(client: MlflowClient) -> Iterator[tuple[str, str | None]]:
    """Logged models and the runs that made them."""
    experiments = [experiment_id(client)]
    for one in paged(lambda token: client.search_logged_models(experiments, page_token=token)):
        yield one.model_id, one.source_run_id


def _checkpoints(params: Params) -> Iterator[Path]:
    """Folders that no training of params.yaml would go on from; none while one is at work."""
    if not CHECKPOINTS.is_dir() or any(map(busy, CHECKPOINTS.glob("*.lock"))):
        return
    from clarity.models.device import prepare
    from clarity.train.fingerprint import fingerprint, whoever_trains
    from clarity.train.setup import resolve_precision

    device = prepare(params.device, params.threads)
    wanted = set()
    for model in params.models:
        for seed in params.seeds:
            with suppress(OSError, ClarityError):  # no data yet: nothing goes on either
                kind = resolve_precision(params.recipe(model).precision, device)
                wanted.add(whoever_trains(fingerprint(params, model, seed, device, kind)))
    for path in sorted(CHECKPOINTS.iterdir()):
        if path.is_dir() and path.name not in wanted:
            yield path


def _told(plan: Plan) -> Iterator[str]:
    for version in plan.versions:
        yield f"version {version.number} ({version.name}): no alias, no {LOCK} names its weights"
    for run in plan.runs:
        name = printable(run.run_name or "?")
        yield f"run {run.run_id[:12]} ({name}): superseded or never finished"
    for path in plan.checkpoints:
        size = sum(one.stat().st_size for one in path.rglob("*") if one.is_file())
        yield f"{path}: {size / 1e6:,.1f} MB, of no training of params.yaml"
    yield (
        f"{len(plan.versions)} versions, {len(plan.runs)} runs and {len(plan.checkpoints)} "
        "checkpoints are needed by nobody"
    )


def _delete(client: MlflowClient, registry: Registry, plan: Plan, say: Say) -> None:
    for version in plan.versions:
        client.delete_model_version(registry.name, str(version.number))
    for model in plan.models:
        client.delete_logged_model(model)
    for run in plan.runs:
        if not runs.is_deleted(run):
            client.delete_run(run.run_id)
    for path in plan.checkpoints:
        shutil.rmtree(path, ignore_errors=True)
    say(
        "deleted"
        if _free(client, plan)
        else "deleted; the server's own `mlflow gc` frees its space"
    )


def _free(client: MlflowClient, plan: Plan) -> bool:
    """Remove what was deleted from MLflow's trash too, with its files; whether this store can.

    `mlflow gc` would empty the whole trash, other people's experiments in it included.
    """
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    store: Any = client._tracking_client.store
    if not hasattr(store, "_hard_delete_run"):
        return False
    places = [run.artifact_uri for run in plan.runs]
    places += [
        store.get_logged_model(model, allow_deleted=True).artifact_location for model in plan.models
    ]
    for place in places:
        repository: Any = get_artifact_repository(place, client.tracking_uri)
        with suppress(OSError):  # its files are gone already
            repository.delete_artifacts()
    for model in plan.models:
        store._hard_delete_logged_model(model)
    for run in plan.runs:
        store._hard_delete_run(run.run_id)
    return True
