"""The answer in two lines and where to look, from ``reports/verdicts.json``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from clarity.errors import ClarityError
from clarity.files import read_json
from clarity.layout import REPORTS

VERDICTS = REPORTS / "verdicts.json"
PAGE = REPORTS / "index.html"


def lines(verdicts: dict[str, Any]) -> list[str]:
    """A line for each question, and one that says where to look."""
    return [
        *(str(asked["sentence"]) for asked in verdicts["answer"]),
        f"The pictures and numbers behind it: {PAGE}",
    ]


def read(path: Path = VERDICTS) -> list[str]:
    """The lines of a finished comparison.

    Raises:
        ClarityError: there is none, or it is broken.
    """
    try:
        return lines(read_json(path))
    except FileNotFoundError:
        raise ClarityError(f"{path}: no such file; run `make repro` or `dvc repro`") from None
    except (ValueError, KeyError, TypeError):
        raise ClarityError(f"{path}: no answer in it; run `dvc repro -f compare`") from None
