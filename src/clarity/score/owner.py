"""Whose a run is, where several projects keep their runs in one store.

All share one experiment; ``gate.name``, the registered model, tells them apart, and every run
carries it as a tag. A project marks, supersedes, trashes and collects its own runs alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from clarity.score.registered import TAG_REGISTERED
from clarity.store import paged

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run


def own(client: MlflowClient, name: str, found: Iterable[Run]) -> Iterator[Run]:
    """Those of the runs that belong to the registered model ``name``, in their order.

    A run from before the tag belongs to every model that has a version of it. One that is nobody's
    version (a training that never finished, the comparison) belongs to the only registered model
    there is; with several nobody knows, and it is left alone.
    """
    makers: dict[str, set[str]] | None = None
    alone = True
    for run in found:
        said = run.data.tags.get(TAG_REGISTERED)
        if said is None:
            if makers is None:
                makers, alone = models_of_runs(client), not others(client, name)
            models = makers.get(run.info.run_id)
            mine = alone if models is None else name in models
        else:
            mine = said == name
        if mine:
            yield run


def models_of_runs(client: MlflowClient) -> dict[str, set[str]]:
    """Run id → the registered models that have versions of it, over the whole store."""
    found: dict[str, set[str]] = {}
    for version in paged(
        lambda token: client.search_model_versions(max_results=1000, page_token=token)
    ):
        if version.run_id:
            found.setdefault(version.run_id, set()).add(version.name)
    return found


def others(client: MlflowClient, name: str) -> bool:
    """Whether the store registers another model than ``name``."""
    models = paged(lambda token: client.search_registered_models(page_token=token))
    return any(model.name != name for model in models)
