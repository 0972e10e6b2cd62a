"""A mistake in a typed mapping as one line: the key's path, what is wrong, what would be right."""

from __future__ import annotations

from difflib import get_close_matches
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

#: What pydantic says in Python's terms.
IN_WORDS = {
    "tuple_type": "needs a list of at least one",
    "model_type": "needs a section of keys",
    "dict_type": "needs a section of keys",
}
#: Characters of a value that are shown.
LONGEST = 60


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
