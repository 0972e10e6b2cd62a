"""Answers as a CSV: written empty, read back strictly."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from clarity.errors import ClarityError
from clarity.eye.draw import Deck, Trial
from clarity.layout import Training

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
    try:
        rows = list(csv.reader(io.StringIO(text, newline=""), delimiter=mark, strict=True))
    except csv.Error as error:
        raise ClarityError(f"{path}: not a readable CSV ({error}); export it again") from None
    names = [name.strip().lower() for name in rows[0]] if rows else []
    missing = [name for name in COLUMNS if name not in names]
    if missing:
        raise ClarityError(
            f"{path}: no column {missing[0]!r}; expected {','.join(COLUMNS)}, as the page and "
            "--sheets write them"
        )
    places = {name: names.index(name) for name in COLUMNS}
    found: list[Answer] = []
    for line, row in enumerate(rows[1:], 2):
        if not any(cell.strip() for cell in row):
            continue
        where = f"{path}:{line}"
        if len(row) <= max(places.values()):
            raise ClarityError(f"{where}: {len(row)} cells, expected {len(names)}")
        cells = {name: row[place].strip() for name, place in places.items()}
        if not cells["choice"]:
            continue
        choice = _MEANT.get(" ".join(cells["choice"].lower().split()))
        if choice is None:
            raise ClarityError(
                f"{where}: choice {cells['choice']!r}; write left, right or cannot tell "
                "(l, r, c), or nothing where nobody looked"
            )
        if not cells["trial"].isdecimal() or len(cells["trial"]) > DIGITS:
            raise ClarityError(f"{where}: trial {cells['trial']!r} is no number")
        found.append(
            Answer(
                cells["looker"] or NOBODY,
                int(cells["trial"]), cells["pair"], choice, cells["deck"], where,
            )
        )  # fmt: skip
    if not found:
        raise ClarityError(f"{path}: no answers in it; fill the column choice")
    return found


def once(found: Sequence[Answer]) -> list[Answer]:
    """The looks, each counted once where files overlap.

    Raises:
        ClarityError: one looker chose differently for the same trial of the same deck.
    """
    seen: dict[tuple[str, str, int, str], Answer] = {}
    for answer in found:
        before = seen.setdefault((answer.looker, answer.deck, answer.trial, answer.pair), answer)
        if before.choice != answer.choice:
            raise ClarityError(
                f"{answer.where}: trial {answer.trial} of {answer.looker} is {answer.choice!r} "
                f"here and {before.choice!r} at {before.where}; remove one, or say in the column "
                "looker who looked"
            )
    return list(seen.values())
