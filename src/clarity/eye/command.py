"""What `clarity eye` does: write a page or sheets, or read answers back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from clarity.errors import ClarityError
from clarity.eye import answers, draw, sheets
from clarity.eye.draw import Deck
from clarity.eye.page import page
from clarity.eye.pictures import pictures
from clarity.eye.project import drawn
from clarity.eye.questions import QUESTIONS
from clarity.files import write_bytes, write_json, write_text
from clarity.layout import SPLITS


def deck(
    what: str, split: str, pairs: int, seed: int, within: float | None, repeats: int | None
) -> Deck:
    """A deck from what was asked for; None stands for the default."""
    if within is None:
        within = 0.5 if what == "reconstructions" else 0.0
    if repeats is None:
        repeats = pairs // 10
    return Deck(what, split, pairs, seed, within, repeats, (), ())


def make(deck: Deck, models: Sequence[str], out: Path, sheet_folder: Path | None) -> None:
    """Draw a deck; write its page, or its sheets where a folder for them is named.

    Args:
        deck: without pool and seeds, which come from the project.
        models: that may be shown; all that are trained where there are none.

    Raises:
        ClarityError: an option that makes no sense, or nothing to draw from.
    """
    deck = _checked(deck)
    if sheet_folder is not None and (sheet_folder / BLANK).exists():
        raise ClarityError(
            f"{sheet_folder / BLANK}: there already, and may hold answers; name another folder"
        )
    if sheet_folder is None and out.is_dir():
        raise ClarityError(f"--out {out}: a folder; name a file")
    made = drawn(deck, models)
    shown = pictures(made)
    question = QUESTIONS[deck.what]
    if sheet_folder is None:
        write_text(out, page(made.deck, made.keys, shown, question))
        print(f"eye: {len(made.trials)} pairs in {out}; open it in a browser")
        return
    drawings = sheets.sheets(made.trials, shown, question.text)
    for name, content in drawings.items():
        write_bytes(sheet_folder / name, content)
    blank = sheet_folder / BLANK
    write_text(blank, answers.empty(made.trials, made.deck, made.weights))
    print(
        f"eye: {len(made.trials)} pairs on {len(drawings)} sheets in {sheet_folder}; fill the "
        f"column choice of {blank}"
    )


BLANK = "answers.csv"


def _checked(deck: Deck) -> Deck:
    if deck.what not in draw.KINDS:
        raise ClarityError(f"--what {deck.what}: expected {', '.join(draw.KINDS)}")
    splits = SPLITS if deck.what == "reconstructions" else ("train", "test")
    if deck.split not in splits:
        raise ClarityError(f"--split {deck.split}: expected {', '.join(splits)}")
    if not 0 <= deck.within <= 1:
        raise ClarityError(f"--within {deck.within:g}: a share of the pairs, from 0 to 1")
    return replace(deck, within=round(deck.within, 4))


def read(paths: Sequence[Path], confidence: float, out: Path | None, resolved: Path | None) -> None:
    """Print every measure's agreement with the answers; write tables where they are asked for.

    Args:
        out: JSON or CSV, by its ending, of what is printed.
        resolved: CSV of every look with its models and the measures' values.

    Raises:
        ClarityError: answers that cannot be read, or that are about other pictures.
    """
    from clarity.eye import agreement, show
    from clarity.eye.looks import as_csv, resolve
    from clarity.statistics.interval import check_confidence

    check_confidence(confidence)
    if out is not None and out.suffix not in (".json", ".csv"):
        raise ClarityError(f"--table {out}: name a .json or a .csv file")
    looks = resolve(paths)
    found = agreement.agreements(looks, confidence)
    steady, fought = agreement.steadiness(looks), agreement.contests(looks)
    show.show(looks, found, steady, fought, confidence)
    if out is not None:
        content = agreement.as_json(found, steady, fought, confidence)
        if out.suffix == ".json":
            write_json(out, content)
        else:
            write_text(out, agreement.as_csv(content))
    if resolved is not None:
        write_text(resolved, as_csv(looks))
