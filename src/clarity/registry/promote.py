"""`clarity promote` and `clarity rollback`: the only code that moves `champion`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from clarity.errors import ClarityError
from clarity.params import Gate, load_params
from clarity.registry.choice import affordable, challengers
from clarity.registry.gate import Ruling, figures, over_budget, rule
from clarity.registry.history import CHALLENGER, CHAMPION, Entry, History, entry
from clarity.registry.measure import GateSplit, Measured, compare, measure
from clarity.registry.moves import Move, carry_out, settle
from clarity.registry.versions import NO_VERSION, Registry, Version, registry_lock
from clarity.score.detector import Files
from clarity.score.foreign import foreign
from clarity.score.registered import TAG_DATA, TAG_TRAINING_DATA
from clarity.store import open_store

Say = Callable[[str], None]
#: Digits of a digest that tell gate splits apart in the history.
PREFIX = 16


def promote(version: str | None = None, *, say: Say = print) -> None:
    """Put the best challenger (or a named version) before the gate.

    Args:
        version: number or alias of the challenger; None: of the trainings in the workspace, the one
            with the best figure on `val` that was not rolled back.
        say: where the outcome is told, a line at a time.
    """
    params = load_params()
    with registry_lock():
        registry = Registry(open_store(), params.gate.name)
        history = History()
        settle(registry, history, say)
        versions = registry.versions()
        if not versions:
            raise ClarityError(NO_VERSION.format(name=params.gate.name))
        champion = history.alias(CHAMPION)
        if champion in versions and (note := foreign(versions[champion].tags)):
            say(f"champion: {versions[champion].label} {note}")
        if version is not None:
            ranked = [registry.resolve(version)]
        else:
            ranked = challengers(params, versions, history.withdrawn, say)
        split = GateSplit.load()
        challenger = affordable(registry, ranked, champion, split, params.gate, say)
        if challenger is None:
            say("no version is within the budgets of gate.guards; nothing moves")
        elif champion is None:
            _first(registry, history, challenger, split, params.gate, say)
        elif champion == challenger.number:
            say(f"{challenger.label} is champion already; nothing to decide")
        else:
            _contest(registry, history, versions, challenger, split, params.gate, say)


def _first(
    registry: Registry,
    history: History,
    challenger: Version,
    split: GateSplit,
    gate: Gate,
    say: Say,
) -> None:
    """No champion yet: the challenger takes the post if it loads and scores the gate split."""
    measured = measure(registry, challenger, split, gate)
    if broken := over_budget(measured.candidate, gate):
        say(f"{challenger.label} does not take the post: {'; '.join(broken)}")
        return
    why = (
        f"first champion: {challenger.label} scored the gate split, {gate.metric} "
        f"{measured.candidate.figure:.4f}; there was nobody to compare it with"
    )
    numbers: dict[str, Any] = {
        "metric": gate.metric,
        "challenger": figures(measured.candidate),
    }
    _crown(registry, history, None, challenger, why, numbers, say)


def _contest(
    registry: Registry,
    history: History,
    versions: dict[int, Version],
    challenger: Version,
    split: GateSplit,
    gate: Gate,
    say: Say,
) -> None:
    standing = history.champions[-1]
    numbers: dict[str, Any] = {"metric": gate.metric}
    opponent, passed_over = _opponent(registry, history, versions, split, gate)
    if opponent is None:
        # Nobody who ever was champion can be loaded: as if there had been none.
        measured = measure(registry, challenger, split, gate)
        why = f"{passed_over}; no earlier champion loads either; {challenger.label} takes the post"
        numbers["challenger"] = figures(measured.candidate)
        _crown(registry, history, standing, challenger, why, numbers, say)
        return
    if opponent.version.number == challenger.number:
        why = f"{passed_over}; {challenger.label}, champion before, takes the post again"
        numbers["challenger"] = figures(opponent.candidate)
        _crown(registry, history, standing, challenger, why, numbers, say)
        return
    mine, theirs = compare(measure(registry, challenger, split, gate), opponent, split)
    pair = _identities(versions, challenger.number, opponent.version.number)
    ruling = rule(
        mine.candidate,
        theirs.candidate,
        split.labels,
        split.groups,
        split.kinds,
        gate,
        question=history.question(split.digest, pair),
        foreign=_foreign_to(challenger, opponent.version),
    )
    ruling.numbers["gate_split"] = split.digest[:PREFIX]
    why = _reason(ruling, challenger, opponent.version, split, passed_over)
    if ruling.promote:
        _crown(registry, history, standing, challenger, why, ruling.numbers, say)
        return
    moves = [Move(CHALLENGER, challenger.number)]
    lines = []
    if not history.asked(split.digest, pair):
        lines.append(
            entry(
                "challenge",
                why,
                alias=CHALLENGER,
                before=history.alias(CHALLENGER),
                after=challenger.number,
                numbers=ruling.numbers,
                identities=pair,
            )
        )
    if passed_over:
        back = f"{passed_over}; {opponent.version.label} is the latest champion that loads"
        moves.append(Move(CHAMPION, opponent.version.number))
        lines.append(
            entry(
                "rollback",
                back,
                alias=CHAMPION,
                before=standing,
                after=opponent.version.number,
                identities=_identities(versions, standing, opponent.version.number),
            )
        )
        say(f"champion: {opponent.version.label}: {back}")
    carry_out(registry, history, moves, lines, verdict=(challenger.number, "refused", why))
    say(f"challenger: {challenger.label} is not promoted: {why}")


def _opponent(
    registry: Registry,
    history: History,
    versions: dict[int, Version],
    split: GateSplit,
    gate: Gate,
) -> tuple[Measured | None, str]:
    """The champion, or where it cannot be loaded the latest earlier one that can, and why."""
    problem = ""
    for number in reversed(history.champions):
        try:
            if number not in versions:
                raise ClarityError(f"version {number} is not in the store")
            return measure(registry, versions[number], split, gate), problem
        except ClarityError as error:
            problem = problem or f"champion version {number} cannot be loaded ({error})"
    return None, problem


def _reason(
    ruling: Ruling, challenger: Version, champion: Version, split: GateSplit, passed_over: str
) -> str:
    parts = [passed_over] if passed_over else []
    parts.append(f"{challenger.label} against {champion.label}: {ruling.reason}")
    mine, theirs = challenger.tags.get(TAG_DATA, ""), champion.tags.get(TAG_DATA, "")
    if _foreign_to(challenger, champion):
        parts.append(
            "the champion is foreign, trained on other data: its speed, size and false "
            "alarms bind nobody"
        )
    if mine != theirs:
        parts.append(
            f"the data changed ({theirs[:8] or 'unknown'} to {mine[:8] or 'unknown'}): both were "
            "scored on the present gate split, some of whose people the champion may have seen"
        )
    return "; ".join(parts)


def _foreign_to(challenger: Version, champion: Version) -> bool:
    """Whether the champion is of other data than the workspace's, and than the challenger."""
    alike = challenger.tags.get(TAG_TRAINING_DATA) == champion.tags.get(TAG_TRAINING_DATA)
    known = TAG_TRAINING_DATA in challenger.tags and alike
    return bool(foreign(champion.tags)) and not known


def _identities(versions: dict[int, Version], *numbers: int | None) -> dict[int, str]:
    return {n: versions[n].identity for n in numbers if n is not None and n in versions}


def _crown(
    registry: Registry,
    history: History,
    before: int | None,
    challenger: Version,
    why: str,
    numbers: dict[str, Any],
    say: Say,
) -> None:
    identities = {challenger.number: challenger.identity}
    if before is not None and before in history.numbers:
        identities[before] = history.numbers[before]
    lines = [
        entry(
            "promote",
            why,
            alias=CHAMPION,
            before=before,
            after=challenger.number,
            numbers=numbers,
            identities=identities,
        )
    ]
    _enthrone(registry, history, challenger.number, lines, (challenger.number, "promoted", why))
    say(f"champion: {challenger.label}: {why}")


def _enthrone(
    registry: Registry,
    history: History,
    number: int,
    lines: list[Entry],
    verdict: tuple[int, str, str],
) -> None:
    """Move `champion`; a version that challenged until now challenges nobody any more."""
    moves = [Move(CHAMPION, number)]
    if history.alias(CHALLENGER) == number:
        moves.append(Move(CHALLENGER, None))
        lines = [*lines, entry("challenge", "it became champion", alias=CHALLENGER, before=number)]
    carry_out(registry, history, moves, lines, verdict=verdict)


def rollback(why: str = "", *, say: Say = print) -> None:
    """Return to the previous champion; twice in a row goes back two.

    The version that is left is passed over by `clarity promote` until it is named there. An earlier
    champion that cannot be loaded is skipped.
    """
    params = load_params()
    with registry_lock():
        registry = Registry(open_store(), params.gate.name)
        history = History()
        settle(registry, history, say)
        versions = registry.versions()
        stack = history.champions
        if not stack:
            raise ClarityError("there is no champion yet; `clarity promote` chooses the first")
        skipped = []
        for number in reversed(stack[:-1]):
            try:
                if number not in versions:
                    raise ClarityError(f"version {number} is not in the store")
                load_files(registry.files(versions[number]))
            except ClarityError as error:
                skipped.append(f"version {number} is skipped ({error})")
                continue
            break
        else:
            hint = "; ".join(skipped) or f"version {stack[-1]} is the first"
            raise ClarityError(f"there is no earlier champion to return to: {hint}")
        before, back = stack[-1], versions[number]
        reason = "; ".join([why or "asked for by `clarity rollback`", *skipped])
        line = entry(
            "rollback",
            reason,
            alias=CHAMPION,
            before=before,
            after=number,
            identities=_identities(versions, before, number),
        )
        _enthrone(registry, history, number, [line], (before, "rolled back", reason))
        say(f"champion: {back.label}, instead of version {before}: {reason}")


def load_files(files: Files) -> None:
    """Load once and throw away: an alias never moves to what cannot be served."""
    from clarity.score.detector import Detector

    Detector.load(files)
