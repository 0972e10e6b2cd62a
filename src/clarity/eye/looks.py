"""Answers with the key put to them: which models, which person, and what every measure says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from clarity.errors import ClarityError
from clarity.eye import answers, values
from clarity.eye.answers import Answer
from clarity.eye.draw import Deck, Trial
from clarity.eye.project import Drawn, again
from clarity.eye.values import Asked

SIDES = ("left", "right")


@dataclass(frozen=True)
class Looks:
    """All looks as one table.

    Attributes:
        table: a row a look: ``looker, deck, trial, pair, repeats, what, split, place, id, person,
            sort`` ("within" or "between"), ``left_model, left_family, left_seed``, the same of the
            right, ``choice``, and for every measure ``KEY_left, KEY_right``. ``repeats`` is the
            trial that this one shows again with its sides swapped, 0 where it shows none.
        measures: those with columns in the table.
    """

    table: pd.DataFrame
    measures: list[Asked]


def resolve(paths: Sequence[Path]) -> Looks:
    """Read answers and put models and measures to them.

    Raises:
        ClarityError: a file that is no table of answers, or answers about other pictures than
            this project's.
    """
    given = answers.once([answer for path in paths for answer in answers.read(path)])
    decks: dict[str, Drawn] = {}
    measured: dict[str, tuple[list[Asked], values.Values]] = {}
    rows = []
    for answer in given:
        if answer.deck not in decks:
            made = again(_deck(answer), answer.where)
            decks[answer.deck] = made
            measured[answer.deck] = values.read(made.deck, made.trials)
        made = decks[answer.deck]
        trial = _trial(answer, made)
        rows.append(_row(answer, made.deck, trial, *measured[answer.deck]))
    what = {made.deck.what for made in decks.values()}
    if len(what) > 1:
        raise ClarityError(
            f"{paths[0]}: answers to different questions ({', '.join(sorted(what))}); read the "
            "files of each question apart"
        )
    table = pd.DataFrame(rows)
    asked = {m.key: m for found, _ in measured.values() for m in found}
    return Looks(table, list(asked.values()))


def _deck(answer: Answer) -> Deck:
    try:
        return Deck.parse(answer.deck)
    except ValueError:
        raise ClarityError(
            f"{answer.where}: deck {answer.deck!r} is none of clarity eye's; leave that column as "
            "it came"
        ) from None


def _trial(answer: Answer, made: Drawn) -> Trial:
    number = answer.trial
    if not 1 <= number <= len(made.trials) or made.keys[number - 1] != answer.pair:
        raise ClarityError(
            f"{answer.where}: pair {answer.pair} of trial {number} is not what this project shows: "
            "its images or models are others now; check out the project that the page was made in"
        )
    return made.trials[number - 1]


def _row(
    answer: Answer, deck: Deck, trial: Trial, asked: list[Asked], found: values.Values
) -> dict[str, object]:
    row: dict[str, object] = {
        "looker": answer.looker,
        "deck": answer.deck,
        "trial": trial.number,
        "pair": answer.pair,
        "repeats": trial.repeats or 0,
        "what": deck.what,
        "split": deck.split,
        "place": trial.item.place,
        "id": trial.item.name,
        "person": trial.item.group,
        "sort": "within" if trial.within else "between",
    }
    for side, training, family in zip(
        SIDES, (trial.left, trial.right), trial.families, strict=True
    ):
        row |= {
            f"{side}_model": training.model,
            f"{side}_family": family,
            f"{side}_seed": training.seed,
        }
    row["choice"] = answer.choice
    for measure in asked:
        for side, training in zip(SIDES, (trial.left, trial.right), strict=True):
            row[f"{measure.key}_{side}"] = values.value(
                found, training, measure.key, trial.item.place
            )
    return row


def as_csv(looks: Looks) -> str:
    """The table as CSV, numbers to eight digits."""
    text: str = looks.table.to_csv(index=False, lineterminator="\n", float_format="%.8g")
    return text
