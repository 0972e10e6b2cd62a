"""Axes with ticks that people can read, and labels that lie over nothing else."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

#: Fewest and most ticks of a logarithmic axis.
_FEWEST, _MOST = 3, 6
#: Mantissas to try, from the sparsest.
_STEPS: tuple[tuple[float, ...], ...] = (
    (1,), (1, 3), (1, 2, 5), (1, 1.5, 2, 3, 5, 7), tuple(m / 10 for m in range(10, 100)),
)  # fmt: skip


def readable(axis: Any) -> None:
    """Ticks at round numbers on a logarithmic axis, three at least, however short it is."""
    low, high = sorted(axis.get_view_interval())
    ticks = round_numbers(low, high)
    axis.set_major_locator(FixedLocator(ticks))
    axis.set_major_formatter(FuncFormatter(lambda value, _: shortened(value)))
    axis.set_minor_locator(NullLocator())


def round_numbers(low: float, high: float) -> list[float]:
    """Three to six round numbers between two positive ones, as even as round numbers can be."""
    decades = range(math.floor(math.log10(low)) - 1, math.ceil(math.log10(high)) + 1)
    found: list[float] = []
    for steps in _STEPS:
        every = [m * 10.0**d for d in decades for m in steps]
        found = [value for value in every if low * (1 - 1e-9) <= value <= high * (1 + 1e-9)]
        if len(found) >= _FEWEST:
            break
    step = -(-len(found) // _MOST)
    return found[::step] if step else found


def shortened(value: float) -> str:
    """``12 M`` for 12,000,000, ``0.002`` for 0.002."""
    for size, letter in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if value >= size * (1 - 1e-9):
            return f"{value / size:.4g}{letter}"
    return f"{value:.4g}"


def label_points(
    figure: Any,
    axes: Any,
    points: Sequence[tuple[str, float, float, float, float]],
    steps: Sequence[tuple[float, float]] = (),
) -> None:
    """Write names beside points so that they lie over no error bar, point or other name.

    Args:
        figure: drawn once, so that everything is in its place.
        points: name, x, y, and the ends of the error bar; every point is an obstacle, those with
            an empty name get no label.
        steps: corners of a line that goes right and then up or down; an obstacle too.
    """
    change = axes.transData.transform
    obstacles = []
    for _, x, y, low, high in points:
        (left, bottom), (_, top), (_, middle) = change([(x, low), (x, high), (x, y)])
        obstacles.append((left - 6, min(bottom, middle - 6), left + 6, max(top, middle + 6)))
    for (x0, y0), (x1, y1) in itertools.pairwise(steps):
        (left, first), (right, second) = change([(x0, y0), (x1, y1)])
        obstacles.append((left, first - 1, right, first + 1))
        obstacles.append((right - 1, min(first, second), right + 1, max(first, second)))
    frame = axes.get_window_extent()
    renderer = figure.canvas.get_renderer()
    for name, x, y, low, high in points:
        if not name:
            continue
        (px, bottom), (_, top), (_, py) = change([(x, low), (x, high), (x, y)])
        text = axes.text(0, 0, name, fontsize=7.5, color="#333333")
        text.set_in_layout(False)
        size = text.get_window_extent(renderer)
        width, height = size.width + 2, size.height
        spots = [
            (px + side, level - height / 2)
            for level in (py, top - height / 2, bottom + height / 2, (py + top) / 2)
            for side in (9, -9 - width)
        ]
        spots += [(px - width / 2, top + 3), (px - width / 2, bottom - height - 3)]
        spots += [
            (px + dx, py + dy)
            for dy in (height, -2 * height, 2 * height, -3 * height)
            for dx in (9, -9 - width)
        ]

        def cost(spot: tuple[float, float], size: tuple[float, float] = (width, height)) -> float:
            box = (spot[0], spot[1], spot[0] + size[0], spot[1] + size[1])
            outside = max(0.0, box[2] - frame.x1) + max(0.0, frame.x0 - box[0])
            outside += max(0.0, box[3] - frame.y1) + max(0.0, frame.y0 - box[1])
            return float(50 * outside + sum(_overlap(box, other) for other in obstacles))

        # The first spot that touches nothing; else the one that touches least.
        best = min(enumerate(spots), key=lambda item: (round(cost(item[1]), 3), item[0]))[1]
        obstacles.append((best[0], best[1], best[0] + width, best[1] + height))
        text.set_position(axes.transData.inverted().transform(best))


def _overlap(
    a: tuple[float, float, float, float], b: tuple[float, float, float, float]
) -> float:  # fmt: skip
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    return width * height if width > 0 and height > 0 else 0.0
