"""Answers as a CSV: written empty, read back strictly."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from clarity.errors import ClarityError
from clarity.eye.draw import Deck, Trial
from clarity.layout import Training
from clarity.problems import Faults, RowFault, more_rows

COLUMNS = ("looker", "trial", "pair", "choice", "deck")
LEFT, RIGHT, NEITHER = "left", "right", "cannot tell"
#: What may be written, on paper too, for each choice.
WORDS = {
    LEFT: (LEFT, "l"),
    RIGHT: (RIGHT, "r"),
    NEITHER: (NEITHER, "c", "cannot", "neither", "=", "-", "?"),
}
_MEANT = {word: choice for choice, words in WORDS.items() for word in words}
#: Of a trial's number.
DIGITS = 9
#: Looker of a file without names.
NOBODY = "unnamed"


@dataclass(frozen=True)
class Answer:
    """One look at one pair. ``where`` is file and line, for messages."""

    looker: str
    trial: int
    pair: str
    choice: str
    deck: str
    where: str


def empty(trials: Sequence[Trial], deck: Deck, weights: dict[Training, str]) -> str:
    """A CSV with a line for every trial and no choice."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(COLUMNS)
    for trial in trials:
        writer.writerow(["", trial.number, trial.key(deck, weights), "", str(deck)])
    return out.getvalue()


def read(path: Path) -> list[Answer]:
    """The looks in a file; lines without a choice are pairs not looked at.

    Raises:
        ClarityError: no such file, no CSV of answers, or a line that means nothing.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        raise ClarityError(f"{path}: no such file") from None
    except IsADirectoryError:
        raise ClarityError(f"{path}: a folder, no CSV of answers") from None
    except UnicodeDecodeError:
        raise ClarityError(f"{path}: not UTF-8 text; save the table as CSV in UTF-8") from None
    # A spreadsheet may have put semicolons or tabs.
    head = text.split("\n", 1)[0]
    mark = max(",;\t", key=head.count)
    rows: list[list[str]] = []
    try:
        rows.extend(csv.reader(io.StringIO(text, newline=""), delimiter=mark, strict=True))
    except csv.Error as error:
        raise ClarityError(
            f"{path}:{len(rows) + 1}: not a readable CSV ({error}); export it again"
        ) from None
    names = [name.strip().lower() for name in rows[0]] if rows else []
    missing = [name for name in COLUMNS if name not in names]
    if missing:
        raise ClarityError(
            f"{path}: no column {missing[0]!r}; expected {','.join(COLUMNS)}, as the page and "
            "--sheets write them"
        )
    places = {name: names.index(name) for name in COLUMNS}
    found: list[Answer] = []
    faults = Faults(path)
    for line, row in enumerate(rows[1:], 2):
        if any(cell.strip() for cell in row):
            with faults.of(line):
                found += _answer(row, places, len(names), f"{path}:{line}")
    faults.refuse()
    if not found:
        raise ClarityError(f"{path}: no answers in it; fill the column choice")
    return found


def _answer(
    row: Sequence[str], places: Mapping[str, int], expected: int, where: str
) -> list[Answer]:
    """What a row says; nothing where nobody looked."""
    if len(row) <= max(places.values()):
        raise RowFault("length", f"{len(row)} cells, expected {expected}")
    cells = {name: row[place].strip() for name, place in places.items()}
    if not cells["choice"]:
        return []
    choice = _MEANT.get(" ".join(cells["choice"].lower().split()))
    if choice is None:
        raise RowFault(
            "choice",
            f"choice {cells['choice']!r}; write left, right or cannot tell (l, r, c), or nothing "
            "where nobody looked",
        )
    if not cells["trial"].isdecimal() or len(cells["trial"]) > DIGITS:
        raise RowFault("trial", f"trial {cells['trial']!r} is no number")
    looker, trial = cells["looker"] or NOBODY, int(cells["trial"])
    return [Answer(looker, trial, cells["pair"], choice, cells["deck"], where)]


def once(found: Sequence[Answer]) -> list[Answer]:
    """The looks, each counted once where files overlap.

    Raises:
        ClarityError: one looker chose differently for the same trial of the same deck.
    """
    seen: dict[tuple[str, str, int, str], Answer] = {}
    torn: list[tuple[Answer, Answer]] = []
    for answer in found:
        before = seen.setdefault((answer.looker, answer.deck, answer.trial, answer.pair), answer)
        if before.choice != answer.choice:
            torn.append((answer, before))
    if torn:
        answer, before = torn[0]
        raise ClarityError(
            f"{answer.where}: trial {answer.trial} of {answer.looker} is {answer.choice!r} here "
            f"and {before.choice!r} at {before.where}; remove one, or say in the column looker who "
            f"looked{more_rows([other.where for other, _ in torn[1:]])}"
        )
    return list(seen.values())
