"""A mistake in a typed mapping, or in rows of a table, as one line that says what is right."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from clarity.errors import ClarityError

#: What pydantic says in Python's terms.
IN_WORDS = {
    "tuple_type": "needs a list of at least one",
    "model_type": "needs a section of keys",
    "dict_type": "needs a section of keys",
}
#: Characters of a value that are shown.
LONGEST = 60
#: Further rows with the same fault that are named; of more, how many there are.
NAMED = 5


class RowFault(Exception):
    """What is wrong with a row of a table.

    Attributes:
        kind: the same for rows that are wrong in the same way.
        text: what is wrong with this one, and how to mend it.
    """

    def __init__(self, kind: str, text: str) -> None:
        super().__init__(text)
        self.kind, self.text = kind, text


@dataclass
class Faults:
    """What is wrong with the rows of a table, all of which are looked at before one is named.

    Rows are counted as a spreadsheet does: the first, with the columns' names, is 1.
    """

    path: Path
    _found: list[tuple[int, RowFault]] = field(default_factory=list)

    @contextmanager
    def of(self, row: int) -> Iterator[None]:
        """Keep the fault of this row, if one is raised."""
        try:
            yield
        except RowFault as fault:
            self._found.append((row, fault))

    def refuse(self) -> None:
        """Refuse a table with faults.

        Raises:
            ClarityError: the first fault, with its row, and which other rows have the like.
        """
        if self._found:
            row, first = self._found[0]
            like = [str(n) for n, fault in self._found[1:] if fault.kind == first.kind]
            raise ClarityError(f"{self.path}:{row}: {first.text}{more_rows(like)}")


def more_rows(rows: list[str]) -> str:
    """`` [and 2 more such rows: 5, 7]``; empty where there is none."""
    if not rows:
        return ""
    named = ", ".join(rows[:NAMED]) + (", …" if len(rows) > NAMED else "")
    return f" [and {len(rows)} more such row{'s' if len(rows) > 1 else ''}: {named}]"


def first_problem(error: ValidationError, root: type[BaseModel]) -> str:
    """The first complaint about a value of type ``root`` as one line."""
    problems = error.errors(include_url=False)
    # A misspelt key is reported twice, as missing and as unknown: the unknown one is the mistake.
    problem = next((p for p in problems if p["type"] == "extra_forbidden"), problems[0])
    where = ".".join(str(part) for part in problem["loc"])
    if not where:  # of keys that do not fit each other; the message names them
        return str(problem["msg"]).removeprefix("Value error, ")
    if problem["type"] == "extra_forbidden":
        known = _known_keys(problem["loc"], root)
        near = get_close_matches(str(problem["loc"][-1]), known, 1)
        mend = f"did you mean {near[0]}?" if near else f"known here: {', '.join(known)}"
        return f"{where}: unknown key; {mend}"
    if problem["type"] == "missing":
        return f"{where}: missing; add it (the committed params.yaml shows a value)"
    given = problem["input"]
    message = IN_WORDS.get(problem["type"], problem["msg"].removeprefix("Value error, "))
    found = f" (found {short(given)})" if isinstance(given, str | int | float | None) else ""
    rest = len(problems) - 1
    more = f" [and {rest} more]" if rest else ""
    return f"{where}: {message[:1].lower()}{message[1:]}{found}{more}"


def short(given: str | float | None) -> str:
    """A value as it is shown in a message."""
    try:
        text = "nothing" if given is None else repr(given)
    except ValueError:  # a whole number of thousands of digits
        return "a number beyond all bounds"
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}…"


def _known_keys(location: tuple[int | str, ...], root: type[BaseModel]) -> list[str]:
    """The keys that the section holding ``location`` accepts."""
    section: Any = root
    for part in location[:-1]:
        if isinstance(section, type) and issubclass(section, BaseModel):
            section = section.model_fields[str(part)].annotation
        else:  # a mapping of free names to sections
            section = get_args(section)[1]
    return list(getattr(section, "model_fields", ()))
