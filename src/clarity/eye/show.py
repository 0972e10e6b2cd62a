"""What was found, on a terminal or in a file that it is sent to."""

from __future__ import annotations

from collections.abc import Sequence

from clarity.eye.agreement import PARTS, Agreement, Contest, Steadiness
from clarity.eye.looks import Looks
from clarity.eye.questions import QUESTIONS
from clarity.statistics.shares import Share

_HEADS = {"all": "all pairs", "within": "within a family", "between": "between families"}


def show(
    looks: Looks,
    found: Sequence[Agreement],
    steady: Steadiness,
    fought: Sequence[Contest],
    confidence: float,
) -> None:
    """Print tables and sentences."""
    from rich.console import Console
    from rich.table import Table

    console = Console()
    if not console.is_terminal:
        console = Console(width=110)
    table = looks.table
    console.print(f"[b]{QUESTIONS[table['what'].iloc[0]].text}[/b]", highlight=False)
    for line in sentences(looks, steady):
        console.print(line, highlight=False)
    shares = {(item.measure.key, item.part): item.share for item in found}
    parts = [part for part in PARTS if any(shares[m.key, part] for m in looks.measures)]
    if not parts:
        console.print("Nothing is decided yet, so no measure agrees or disagrees.")
        return
    shown = Table(title=f"Measures: share of decided pairs in which they prefer what the eye "
                        f"preferred, with {100 * confidence:g} % interval")  # fmt: skip
    shown.add_column("measure")
    for part in parts:
        shown.add_column(_HEADS[part], justify="right")
    order = sorted(
        looks.measures, key=lambda m: -(s.estimate if (s := shares[m.key, parts[0]]) else -1)
    )
    for measure in order:
        shown.add_row(measure.label, *(_cell(shares[measure.key, part]) for part in parts))
    console.print(shown)
    wins = Table(title="Models: which one the eye preferred")
    for head, side in (("pair of models", "left"), ("first", "right"), ("second", "right"),
                       ("cannot tell", "right")):  # fmt: skip
        wins.add_column(head, justify=side)  # type: ignore[arg-type]
    for sort in PARTS[1:]:
        for contest in fought:
            if contest.sort == sort:
                wins.add_row(
                    f"{contest.first} – {contest.second}",
                    *map(str, (contest.for_first, contest.for_second, contest.undecided)),
                )
        wins.add_section()
    console.print(wins)


def sentences(looks: Looks, steady: Steadiness) -> list[str]:
    """How many looked at what, and how steady they were."""
    table = looks.table
    lookers, people = table["looker"].nunique(), table["person"].nunique()
    said = [
        f"{steady.looks} looks by {lookers} looker{'s' * (lookers > 1)} at {people} "
        f"people or items; undecided {steady.undecided}, decided {steady.looks - steady.undecided}."
    ]
    if steady.repeated:
        said.append(
            f"Shown again with sides swapped: {steady.repeated} pairs; same answer "
            f"{steady.same}, the opposite one {steady.opposite}."
        )
    if steady.decided:
        said.append(
            f"Left side preferred in {steady.left} of {steady.decided} decided looks "
            f"(p = {steady.p:.2g} for chance)."
        )
    if steady.together:
        said.append(
            f"Two lookers on the same pair, both decided: {steady.together}; alike {steady.alike}."
        )
    elif lookers == 1:
        said.append(
            "One looker: intervals are over the people shown, and say nothing of others' eyes."
        )
    return said


def _cell(share: Share | None) -> str:
    if share is None:
        return "–"
    ends = f"{100 * share.low:.0f} to {100 * share.high:.0f}"
    return f"{100 * share.estimate:.1f} % ({ends}; n {share.looks})"
