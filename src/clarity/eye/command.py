"""What `clarity eye` does: write a page or sheets, or read answers back."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from clarity.errors import ClarityError
from clarity.eye import answers, sheets
from clarity.eye.draw import Deck
from clarity.eye.pictures import Shown, reconstructions
from clarity.eye.project import Drawn, drawn
from clarity.files import write_bytes, write_text

QUESTIONS = {
    "reconstructions": "Which of the two is the clearer picture of the one in the middle?",
}


def make(
    what: str,
    split: str,
    pairs: int,
    seed: int,
    within: float,
    repeats: int,
    models: Sequence[str],
    page: Path,
    sheet_folder: Path | None,
) -> None:
    """Draw a deck and write it."""
    made = drawn(Deck(what, split, pairs, seed, within, repeats, (), ()), models)
    shown = pictures(made)
    if sheet_folder is not None:
        _sheets(made, shown, sheet_folder)


def pictures(made: Drawn) -> list[Shown]:
    return reconstructions(
        made.trials, made.images, made.deck.split, made.params.evaluate.batch_size
    )


def _sheets(made: Drawn, shown: Sequence[Shown], folder: Path) -> None:
    blank = folder / "answers.csv"
    if blank.exists():
        raise ClarityError(f"{blank}: there already; answers are not overwritten: name another folder")
    drawings = sheets.sheets(made.trials, shown, QUESTIONS[made.deck.what])
    for name, content in drawings.items():
        write_bytes(folder / name, content)
    write_text(blank, answers.empty(made.trials, made.deck, made.weights))
    print(f"eye: {len(made.trials)} pairs on {len(drawings)} sheets in {folder}; fill {blank}")
