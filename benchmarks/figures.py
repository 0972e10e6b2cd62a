"""What a benchmark found: figures, each with its spread and the bound it is meant to keep."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from pathlib import Path

from pydantic import BaseModel
from rich.console import Console
from rich.table import Table

from clarity.files import write_json


class Figure(BaseModel):
    """One figure, ready to be read.

    Attributes:
        what: measured, in words.
        value: the median of ``rounds``, or the one that there is; empty where it was not reached.
        low, high: the smallest and the largest of the rounds, where there are several.
        unit: ``×`` for ratios within one round, ``%``, ``s`` or ``MB``.
        at_least, at_most: the bound, where there is one.
        note: what else has to be known to read it.
    """

    what: str
    value: float | None
    low: float | None = None
    high: float | None = None
    unit: str = "×"
    at_least: float | None = None
    at_most: float | None = None
    note: str = ""

    @property
    def kept(self) -> bool | None:
        """Whether the figure keeps its bound; nothing where there is none."""
        if self.at_least is None and self.at_most is None:
            return None
        if self.value is None:
            return False
        lowest, highest = self.at_least, self.at_most
        return (lowest is None or self.value >= lowest) and (
            highest is None or self.value <= highest
        )

    def cells(self) -> list[str]:
        """What, figure, spread, bound, and whether it is kept, as a table has them."""
        spread = ""
        if self.low is not None and self.high is not None:
            spread = f"{_number(self.low)} to {_number(self.high)}"
        bound = ""
        if self.at_least is not None:
            bound = f"at least {_number(self.at_least)}"
        elif self.at_most is not None:
            bound = f"at most {_number(self.at_most)}"
        value = "not reached" if self.value is None else f"{_number(self.value)} {self.unit}"
        kept = {None: "", True: "yes", False: "no"}[self.kept]
        return [self.what + (f" ({self.note})" if self.note else ""), value, spread, bound, kept]


#: Heads of `Figure.cells`.
HEADS = ("what", "figure", "range", "bound", "kept")


def of_rounds(
    what: str,
    rounds: Sequence[float],
    *,
    unit: str = "×",
    at_least: float | None = None,
    at_most: float | None = None,
    note: str = "",
) -> Figure:
    """The median of several rounds with their range; a round that is no number was not reached."""
    found = sorted(value for value in rounds if math.isfinite(value))
    if len(found) < len(rounds):
        note = f"{note}; " * bool(note) + f"reached in {len(found)} of {len(rounds)} rounds"
    several = len(found) > 1
    return Figure(
        what=what,
        value=statistics.median(found) if 2 * len(found) > len(rounds) else None,
        low=found[0] if several else None,
        high=found[-1] if several else None,
        unit=unit,
        at_least=at_least,
        at_most=at_most,
        note=note,
    )


def show(title: str, figures: Sequence[Figure]) -> None:
    """Print them as a table."""
    table = Table(*HEADS, title=title)
    for figure in figures:
        table.add_row(*figure.cells())
    Console().print(table)


def save(path: Path | None, figures: Sequence[Figure], **more: object) -> None:
    """Write them as JSON, with whatever else is to be kept; nothing without a path."""
    if path is not None:
        found = [figure.model_dump(exclude_defaults=True) for figure in figures]
        write_json(path, {"figures": found, **more})


def _number(value: float) -> str:
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"
