"""Names that strangers chose, made harmless and given back."""

from __future__ import annotations

import os

import pytest

from clarity.names import LONGEST, cell, line, original

BAD = [
    "=HYPERLINK(\"http://x\").png",
    "+1.png",
    "-rf.png",
    "@SUM(A1).png",
    "a;=1+1.png",
    "＝1.png",
    "  =1.png",
    "\x1b]0;owned\x07.png",
    "two\nlines\r\t.png",
    "gnp.\u202eexe",
    "\u2028",
    "\u009b31m.png",
    os.fsdecode(b"caf\xe9.png"),
    "back\\slash\\x1b.png",
    "\U000e0041",
]  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_a_name_in_a_table_is_harmless_and_can_be_had_back(name: str) -> None:
    written = cell(name)
    assert written.encode().decode() == written
    assert written.isprintable()
    assert written.lstrip()[0] not in "=+-@＝"
    assert ";=" not in written
    assert original(written) == name
    assert line(name).isprintable()


def test_usual_names_stay_as_they_are() -> None:
    for name in ("anna/1.png", "Zoë 2 (copy), b.JPG", "x-1=2.png", "猫.png", "'quoted'.png"):
        assert cell(name) == line(name) == name
    assert cell("a\\n") != cell("a\n"), "two names never become one"


def test_a_refusal_that_quotes_too_much_keeps_its_ends() -> None:
    said = line(f"params.yaml: {'9' * 5000} is no number; mend it", LONGEST)
    assert said.startswith("params.yaml: 999")
    assert said.endswith("999 is no number; mend it")
    assert len(said) == LONGEST
