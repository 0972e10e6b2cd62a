"""Pieces of the page: embedded pictures, and cells with their intervals."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from clarity.compare.table import FORMATS, Row
from clarity.compare.words import bounded, percent, signed


@dataclass(frozen=True)
class Picture:
    """An embedded picture: ``source`` is a data URI, ``alt`` says what is to be seen in it."""

    source: str
    alt: str
    caption: str
    width: int
    height: int


def png(data: bytes, text: str, caption: str = "") -> Picture:
    """A PNG, embedded."""
    # Width and height stand in a PNG's first chunk, at bytes 16 to 24.
    width, height = (int.from_bytes(data[i : i + 4], "big") for i in (16, 20))
    uri = "data:image/png;base64," + base64.b64encode(data).decode()
    return Picture(uri, text, caption, width, height)


def shortened(value: int) -> str:
    """12,749,091 as ``12.75 M``; the full number is in table.csv."""
    for size, letter in ((10**9, "G"), (10**6, "M"), (10**3, "k")):
        if value >= size:
            return f"{value / size:.4g} {letter}"
    return str(value)


def cell(row: Row, name: str, metric: str, instead: str = "") -> Markup:
    """Value and interval of a table's cell; ``instead`` of one that would mislead, a reason."""
    value = row.get(name)
    if value is None:
        return Markup("–")
    form = FORMATS[metric]
    low, high = row.get(f"{name}_low"), row.get(f"{name}_high")
    text = Markup("<b>{}</b>").format(_shown(value, form))
    if instead:
        return text + Markup("<span>{}</span>").format(instead)
    if low is None or high is None:
        return text
    return text + Markup("<span>{} to {}</span>").format(_shown(low, form), _shown(high, form))


def _shown(value: float, form: str) -> str:
    return format(value, form).replace("%", " %")


def per_doubling(interval: Any) -> Markup:
    """A log-log slope as change per doubling of the parameters."""
    if interval is None:
        return Markup("–")

    def change(slope: float) -> float:
        return float(2**slope - 1)

    middle = percent(change(interval.estimate))
    if not bounded(interval):
        return Markup("<b>{}</b>").format(middle)
    low, high = (signed(100 * change(v), 1) for v in (interval.low, interval.high))
    return Markup("<b>{}</b><span>{} to {} %</span>").format(middle, low, high)
