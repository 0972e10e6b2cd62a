"""Moving aliases so that store and history agree, whatever happens in between."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass

from clarity.errors import ClarityError
from clarity.files import read_json, write_json
from clarity.layout import MLRUNS
from clarity.machine import denied
from clarity.registry.history import CHALLENGER, CHAMPION, Entry, History, entry
from clarity.registry.versions import Registry

#: A move that was decided and is being carried out. It is written first and removed last, so that
#: the next command completes what a killed one began.
PENDING = MLRUNS / "registry-move.json"
TAG_VERDICT = "gate"
TAG_REASON = "gate.reason"
#: Between what `publish` wrote in a version's description and what the gate adds.
HEADING = "\n\n### Gate\n"
#: What an event of the history says of its version.
VERDICTS = {"promote": "promoted", "challenge": "refused", "rollback": "rolled back"}
#: MLflow refuses longer tag values.
LONGEST = 4000

Say = Callable[[str], None]


@dataclass(frozen=True)
class Move:
    """An alias, and the version it goes to; None takes it away."""

    alias: str
    to: int | None


def carry_out(
    registry: Registry,
    history: History,
    moves: list[Move],
    lines: list[Entry],
    *,
    verdict: tuple[int, str, str] | None = None,
) -> None:
    """Move aliases, write the verdict on its version and the lines in the history; all or, after a
    kill, at the next command. Hold the registry's lock.

    What an account may not do is not left for somebody else's next command to do.
    """
    standing = registry.aliases()
    write_json(
        PENDING,
        {
            "moves": [asdict(move) for move in moves],
            "lines": [line.model_dump(by_alias=True) for line in lines],
            "verdict": list(verdict) if verdict else None,
        },
    )
    try:
        _complete(registry, history)
    except Exception as error:
        if denied(error) and registry.aliases() == standing:
            PENDING.unlink()
        raise


def _complete(registry: Registry, history: History) -> None:
    try:
        pending = read_json(PENDING)
        moves = [Move(str(one["alias"]), one["to"]) for one in pending["moves"]]
        lines = [Entry.model_validate(line) for line in pending["lines"]]
        number, outcome, reason = pending["verdict"] or (None, "", "")
    except (ValueError, KeyError, TypeError, RecursionError):
        raise ClarityError(
            f"{PENDING}: not what an interrupted move leaves; look at it and remove it, then "
            "`clarity promote` decides anew"
        ) from None
    standing = registry.aliases()
    versions = registry.versions()
    for move in moves:
        alias, to = move.alias, move.to
        if standing.get(alias) != to and (to is None or to in versions):
            registry.set_alias(alias, to)
    if number in versions:
        write_verdict(registry, number, outcome, reason)
    history.append(line for line in lines if line not in history.entries)
    PENDING.unlink()


def write_verdict(registry: Registry, number: int, outcome: str, reason: str) -> None:
    """Write on a version what the gate (or a rollback) said of it: two tags and its description."""
    client, name, version = registry.client, registry.name, str(number)
    client.set_model_version_tag(name, version, TAG_VERDICT, outcome)
    client.set_model_version_tag(name, version, TAG_REASON, reason[:LONGEST])
    known = client.get_model_version(name, version).description or ""
    card = known.partition(HEADING)[0]
    client.update_model_version(name, version, f"{card}{HEADING}**{outcome}**: {reason}\n")


def settle(registry: Registry, history: History, say: Say) -> None:
    """Make store and history agree before a decision.

    Completes an interrupted move; records the numbers of new versions; puts aliases that a refilled
    store has lost back where the history has them; takes over, and records, aliases that somebody
    moved by hand.
    """
    if PENDING.is_file():
        _complete(registry, history)
    versions = registry.versions()
    known = history.numbers
    for number, one in versions.items():
        if number in known and one.identity and one.identity != known[number]:
            raise ClarityError(
                f"version {number} in the store is another model than in {history.path}: the two "
                "do not belong together; move the store (mlruns/) away and run `clarity backfill`"
            )
    history.append(
        entry(
            "register",
            f"{one.label} was published",
            after=number,
            identities={number: one.identity},
        )
        for number, one in versions.items()
        if number not in known and one.identity
    )
    standing = registry.aliases()
    for alias in (CHAMPION, CHALLENGER):
        there, written = standing.get(alias), history.alias(alias)
        if there == written:
            continue
        moved = registry.moved(alias) if versions else None
        if there is None and written in versions and moved != "":
            registry.set_alias(alias, written)
            say(f"{alias}: version {written}, as {history.path} has it")
            continue
        if there is None and written not in versions:
            lost = known.get(written or 0)
            there = next((n for n, one in versions.items() if lost and one.identity == lost), None)
            if there is None:
                continue  # its files may come back; `promote` says what it does meanwhile
            registry.set_alias(alias, there)
            why = f"version {written} is gone from the store; the same model is version {there}"
        elif moved is None and there is not None:
            why = "the alias was found there; nothing says who put it there"
        elif moved == str(there or ""):
            why = "this project moved it, at another commit than the history here tells of"
        else:
            why = "the alias was moved by hand"
        history.append(
            [
                entry(
                    "adopt",
                    why,
                    alias=alias,
                    before=written,
                    after=there,
                    identities={} if there is None else {there: versions[there].identity},
                )
            ]
        )
        say(f"{alias}: {'none' if there is None else f'version {there}'}; {why}; recorded")
