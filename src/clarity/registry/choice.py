"""Which version goes before the gate: chosen on `val`, within the budgets."""

from __future__ import annotations

from collections.abc import Callable

from clarity.choice import val_figure as best_figure
from clarity.details import read_details
from clarity.errors import ClarityError
from clarity.layout import Outputs
from clarity.measures import MEASURES
from clarity.params import AUROC, UNSEEN, Gate, Params
from clarity.registry.gate import over_budget
from clarity.registry.measure import GateSplit, measure
from clarity.registry.versions import Registry, Version, workspace
from clarity.score.registered import identity_of

Say = Callable[[str], None]


def affordable(
    registry: Registry,
    ranked: list[Version],
    champion: int | None,
    split: GateSplit,
    gate: Gate,
    say: Say,
) -> Version | None:
    """The first of the ranked that is champion already, or within the budgets."""
    own = (gate.guards.milliseconds, gate.guards.megabytes, gate.guards.panel)
    if all(bound is None for bound in own):
        return ranked[0]
    for one in ranked:
        if one.number == champion:
            return one
        broken = over_budget(measure(registry, one, split, gate).candidate, gate)
        if not broken:
            return one
        say(f"{one.label} is passed over: {'; '.join(broken)}")
    return None


def challengers(
    params: Params, versions: dict[int, Version], withdrawn: set[int], say: Say
) -> list[Version]:
    """The workspace's published trainings, the best `val` figure of the gate's metric first.

    Chosen on `val` alone, so that the gate's people have no part in the choice. Versions that were
    rolled back are passed over: somebody had a reason; `clarity promote --version N` overrides it.
    """
    by_identity = {one.identity: one for one in versions.values() if one.identity}
    ranked: list[tuple[float, int, Version]] = []
    unpublished: list[str] = []
    for training in workspace(params.outputs):
        found = by_identity.get(identity_of(training))
        if found is None:
            unpublished.append(training.name)
            continue
        if found.number in withdrawn:
            say(f"{found.label} was rolled back and is passed over (--version overrides it)")
            continue
        ranked.append((val_figure(training, params.gate), -found.number, found))
    if unpublished:
        # Were they left out, a worse one that happens to be published would get the post.
        raise ClarityError(
            f"{', '.join(unpublished)}: not among {params.gate.name}'s versions in MLflow's store "
            "as the workspace has it; `dvc repro` publishes it, and where all is up to date, "
            "`clarity backfill` (`--version N` asks about another)"
        )
    if not ranked:
        raise ClarityError(
            "no published training of params.yaml's `models` is in the workspace; "
            "run `dvc repro`, which ends with publishing"
        )
    metric = params.gate.metric
    sign = -1 if metric not in (AUROC, UNSEEN) and MEASURES[metric].lower_is_better else 1
    # Among equals the older version: it has been looked at longer.
    ranked.sort(key=lambda one: (sign * one[0], one[1]), reverse=True)
    return [one[2] for one in ranked]


def val_figure(training: Outputs, gate: Gate) -> float:
    """The gate's metric on `val`, as `evaluate` wrote it."""
    details = read_details(training.details, training.evaluated_by)
    try:
        if gate.metric in (AUROC, UNSEEN):
            found = best_figure(details, details.best_score)
        else:
            found = details.reconstruction["val"][gate.metric]
        if found is None:
            raise KeyError(gate.metric)
        return float(found)
    except KeyError:
        raise ClarityError(
            f"{training.details}: no {gate.metric} on val to choose a challenger by; "
            "choose another gate.metric, or evaluate again"
        ) from None
