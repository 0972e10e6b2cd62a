"""A YAML file's text as a mapping, or one line that says what is wrong with it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.constructor import DuplicateKeyError
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from clarity.errors import ClarityError, in_a_line

#: Brackets, lists and sections within each other; a parser gives up its stack to some thousands.
DEEPEST = 50


def parse_mapping(text: str, path: Path) -> dict[Any, Any]:
    """Read YAML with safe types alone; ``path`` is for the messages only.

    Raises:
        ClarityError: one line with the place.
    """
    try:
        _refuse_depth(text, path)
        content = YAML(typ="safe").load(text)
    except DuplicateKeyError as error:
        key = re.search(r'duplicate key "([^"]+)"', str(error.problem))
        line = error.problem_mark.line + 1
        name = key.group(1) if key else "a key"
        raise ClarityError(f"{path}:{line}: {name} is there twice; rename or remove one") from None
    except MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise ClarityError(f"{path}:{line}: not valid YAML: {error.problem}") from None
    except (YAMLError, ValueError, OverflowError, RecursionError) as error:
        # A control character; a date that no calendar has; a number of five thousand digits.
        cause = in_a_line(error, 120)
        if cause.startswith("Exceeds the limit"):
            cause = "a number of thousands of digits"
        raise ClarityError(f"{path}: not valid YAML: {cause}") from None
    if not isinstance(content, dict):
        found = type(content).__name__
        raise ClarityError(f"{path}: expected a mapping of sections, found {found}")
    return content


def _refuse_depth(text: str, path: Path) -> None:
    """The parser's events come one by one; composing them recurses, and would end the process."""
    depth = 0
    for event in YAML(typ="safe").parse(text):
        name = type(event).__name__
        depth += name.endswith("StartEvent") - name.endswith("EndEvent")
        if depth > DEEPEST:
            line = event.start_mark.line + 1
            raise ClarityError(
                f"{path}:{line}: more than {DEEPEST} brackets or sections within each other"
            )
