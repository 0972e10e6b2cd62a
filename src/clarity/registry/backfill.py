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
from clarity.store import open_store

Say = Callable[[str], None]


def publish() -> None:
    """Complete runs and versions from the outputs, with the numbers that the history remembers."""
    from clarity.tracking.publish import run as publish_outputs

    publish_outputs(History().numbers)


def run(*, say: Say = print) -> None:
    """Refill an empty or lost store, or complete one in which something is missing.

    Raises:
        ClarityError: outputs are missing, or the store holds other models under the history's
            numbers.
    """
    publish()
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
        gone = sorted(set(history.numbers) - set(versions))
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
