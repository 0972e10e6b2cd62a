"""Numbers and lists as people write them."""

from __future__ import annotations

import math
from collections.abc import Sequence

from clarity.measures import Measure
from clarity.statistics import Interval


def percent(value: float, digits: int = 1) -> str:
    """0.1234 as ``12.3 %``; a minus sign that is one, and no negative zero."""
    return f"{signed(100 * value, digits)} %"


def signed(value: float, digits: int) -> str:
    """A number with a real minus sign; what rounds to zero has none."""
    return f"{round(value, digits) + 0.0:.{digits}f}".replace("-", "−")


def figures(value: float) -> str:
    """Three significant digits, trailing zeros kept: ``15.0``, ``0.313``."""
    return f"{value:#.3g}".rstrip(".")


def whole(value: float) -> str:
    """A share as percent, without digits that say nothing: ``2 %``, ``2.5 %``."""
    return percent(value, 0 if abs(100 * value - round(100 * value)) < 1e-9 else 1)


def of(measure: Measure, value: float) -> str:
    """A measure's value with its unit."""
    unit = f" {measure.unit}" if measure.unit else ""
    return f"{signed(value, measure.digits)}{unit}"


def bounded(interval: Interval) -> bool:
    """Whether the data give limits: one person gives none, nor one training one number of it."""
    return interval.known and math.isfinite(interval.low) and math.isfinite(interval.high)


def span(interval: Interval, *, in_percent: bool = True, digits: int = 3) -> str:
    """``95 %: 1.2 to 3.4 %``; says so where the data give no limits."""
    level = f"{100 * interval.confidence:g} %"
    if not bounded(interval):
        return f"{level}: none from one {'group' if interval.groups == 1 else 'training'}"
    if in_percent:
        low = signed(100 * interval.low, 1)
        return f"{level}: {low} to {percent(interval.high)}"
    low, high = (f"{v:+.{digits}f}".replace("-", "−") for v in (interval.low, interval.high))
    return f"{level}: {low} to {high}"


def listed(words: Sequence[str]) -> str:
    """``a``, ``a and b``, ``a, b and c``."""
    return f"{', '.join(words[:-1])} and {words[-1]}" if len(words) > 1 else words[0]


def upper(text: str) -> str:
    """The first letter as a capital, the rest as it is."""
    return text[:1].upper() + text[1:]
