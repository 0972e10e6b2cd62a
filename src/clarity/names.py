"""Names of files that somebody else chose, written so that no program takes them for orders.

A file's name may hold anything but ``/`` and NUL: bytes that are no UTF-8, line breaks, a
terminal's escape sequences, or a beginning that a spreadsheet takes for a formula
(``=HYPERLINK(…)``). What is not harmless is written with backslashes, as Python writes it:

====================== =========================================================
``\\xNN``               the byte NN: no UTF-8, or a control character, or the first
                       character of what would be a formula
``\\uNNNN``             a control or formatting character beyond ASCII (C1, bidi)
``\\\\``                a backslash
====================== =========================================================
"""

from __future__ import annotations

import re
import unicodedata

#: Characters of a refusal; what it quotes may have millions.
LONGEST = 1000
#: What begins a formula in a spreadsheet, in full width too (OWASP, CSV injection).
_FORMULA = re.compile("(^|[,;|])([ \u00a0]*)([=+\\-@\uff1d\uff0b\uff0d\uff20])")
_WRITTEN = re.compile(r"\\(\\|x[0-9a-f]{2}|u[0-9a-f]{4}|U[0-9a-f]{8})")
#: Control, formatting (bidi marks, zero width), surrogates, separators of lines and paragraphs.
_UNFIT = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})


def cell(name: str) -> str:
    """A name as it stands in a table: one line of valid text that no program runs.

    Args:
        name: as Python has it; bytes that are no UTF-8 as surrogate escapes.

    Returns:
        The same name where it is harmless. Two names never become one: :func:`original` inverts it.
    """
    escaped = "".join("\\\\" if mark == "\\" else _escaped(mark) for mark in name)
    return _FORMULA.sub(lambda found: found[1] + found[2] + _code(found[3]), escaped)


def original(text: str) -> str:
    """The name that :func:`cell` was given; ``os.fsencode`` turns it into the file's bytes."""

    def back(found: re.Match[str]) -> str:
        code = found[1]
        if code == "\\":
            return code
        number = int(code[1:], 16)
        return chr(number + 0xDC00 if code[0] == "x" and number >= 0x80 else number)

    return _WRITTEN.sub(back, text)


def line(message: str, longest: int | None = None) -> str:
    """A message for a terminal, in one line: what would move its cursor is written out.

    Of more than ``longest`` characters those in the middle are left out.
    """
    shown = "".join(_escaped(mark) for mark in message)
    if longest is None or len(shown) <= longest:
        return shown
    return f"{shown[: longest // 2]} … {shown[3 - longest // 2 :]}"


def _escaped(mark: str) -> str:
    return _code(mark) if unicodedata.category(mark) in _UNFIT else mark


def _code(mark: str) -> str:
    number = ord(mark)
    if 0xDC80 <= number <= 0xDCFF:  # a byte that is no UTF-8
        return f"\\x{number - 0xDC00:02x}"
    if number < 0x80:
        return f"\\x{number:02x}"
    return f"\\u{number:04x}" if number <= 0xFFFF else f"\\U{number:08x}"
