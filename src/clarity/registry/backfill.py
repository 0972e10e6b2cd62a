"""`clarity backfill`: MLflow's store again, from the outputs and the history. Nothing is trained.

The workspace's trainings get the version numbers that the history remembers; numbers of versions
whose outputs are not here stay unused. Then the aliases and the gate's verdicts are put back.
"""

from __future__ import annotations

from collections.abc import Callable

from clarity.params import load_params
from clarity.registry.history import CHAMPION, History
from clarity.registry.moves import VERDICTS, settle, write_verdict
from clarity.registry.versions import Registry, registry_lock
from clarity.score.foreign import foreign
from clarity.store import open_store

Say = Callable[[str], None]


def publish(*, say: Say = print, mend: bool = False) -> None:
    """Complete runs and versions from the outputs, with the numbers that the history remembers."""
    from clarity.tracking.publish import publish as publish_outputs

    publish_outputs(History().numbers, mend=mend)
    if not mend:
        say(_next(Registry(open_store(), load_params().gate.name)))


def _next(registry: Registry) -> str:
    """What one types after publishing, and why: `dvc repro` itself moves no alias."""
    versions = registry.versions()
    champion = versions.get(registry.aliases().get(CHAMPION, 0))
    if champion is None:
        standing = "no champion stands yet"
    else:
        note = foreign(champion.tags)
        standing = f"champion is {champion.label}" + (f", which {note}" if note else "")
    return (
        f"{len(versions)} versions of {registry.name} in MLflow; {standing}; next: `clarity "
        "promote` puts the best of this data before the gate"
    )


def backfill(*, say: Say = print) -> None:
    """Refill an empty or lost store, or complete one in which something is missing.

    Raises:
        ClarityError: outputs are missing, or the store holds other models under the history's
            numbers.
    """
    publish(mend=True)
    with registry_lock():
        registry = Registry(open_store(), load_params().gate.name)
        history = History()
        settle(registry, history, say)
        versions = registry.versions()
        for one in history.entries:
            # A rollback's verdict is about the version that was left.
            about = one.before if one.event == "rollback" else one.after
            if one.event in VERDICTS and about in versions:
                assert about is not None
                write_verdict(registry, about, VERDICTS[one.event], one.why)
        there = {one.identity for one in versions.values()}
        gone = sorted(
            number
            for number, identity in history.numbers.items()
            if number not in versions and identity not in there
        )
        if gone:
            say(
                f"versions {', '.join(map(str, gone))}: their outputs are not in the workspace; "
                "the numbers stay unused (`git checkout` of their commit, `dvc checkout` and "
                "`clarity backfill` bring them back into an empty store)"
            )
        champion = history.alias(CHAMPION)
        if champion is not None and champion not in versions:
            say(f"champion version {champion} is among them: `clarity promote` chooses anew")
        standing = ", ".join(f"{k} is version {v}" for k, v in registry.aliases().items())
        say(f"{len(versions)} versions; {standing or 'no alias stands'}")
