"""Ticks where sizes lie within a decade, and labels that lie over no error bar."""

from __future__ import annotations

import matplotlib
import pytest

matplotlib.use("Agg")

from matplotlib import pyplot
from matplotlib.backends.backend_agg import FigureCanvasAgg

from clarity.compare.axes import label_points, readable, round_numbers, shortened


@pytest.mark.parametrize(
    ("low", "high"), [(1.1e7, 6e7), (3.0e5, 7e6), (1.2e6, 1.4e6), (0.0012, 0.02), (4e4, 1e9)]
)
def test_a_logarithmic_axis_has_ticks_however_short_it_is(low: float, high: float) -> None:
    ticks = round_numbers(low, high)
    assert 3 <= len(ticks) <= 6
    assert all(low <= tick <= high for tick in ticks)
    figure, axes = pyplot.subplots()
    axes.plot([low, high], [1, 2])
    axes.set_xscale("log")
    readable(axes.xaxis)
    figure.draw_without_rendering()
    assert all(label.get_text() for label in axes.get_xticklabels())
    pyplot.close(figure)


def test_large_numbers_are_written_short() -> None:
    assert [shortened(n) for n in (2e7, 1.5e6, 345_000, 0.003)] == [
        "20 M",
        "1.5 M",
        "345 k",
        "0.003",
    ]


def test_labels_lie_over_no_error_bar_and_over_no_other_label() -> None:
    """Bars side by side, as those of AUROCs are: the names once lay across them."""
    figure, axes = pyplot.subplots(figsize=(4.6, 3.3))
    points = [
        ("pca-3", 5e4, 0.80, 0.78, 0.82), ("conv-small", 3.5e5, 0.816, 0.68, 0.90),
        ("pca-64", 8e5, 0.835, 0.75, 0.89), ("", 1.4e6, 0.824, 0.68, 0.91),
        ("conv-large", 5.5e6, 0.836, 0.69, 0.92), ("", 1.3e7, 0.81, 0.77, 0.84),
    ]  # fmt: skip
    for _, x, y, low, high in points:
        axes.errorbar(x, y, yerr=[[y - low], [high - y]], marker="o")
    axes.set_xscale("log")
    axes.margins(x=0.14, y=0.12)
    figure.draw_without_rendering()
    label_points(figure, axes, points)
    assert isinstance(figure.canvas, FigureCanvasAgg)
    renderer = figure.canvas.get_renderer()
    boxes = [text.get_window_extent(renderer) for text in axes.texts]
    assert [text.get_text() for text in axes.texts] == [p[0] for p in points if p[0]]
    for place, box in enumerate(boxes):
        for _, x, _, low, high in points:
            (left, bottom), (_, top) = axes.transData.transform([(x, low), (x, high)])
            crossed = box.x0 < left < box.x1 and box.y0 < top and box.y1 > bottom
            assert not crossed, axes.texts[place].get_text()
        assert not any(box.overlaps(other) for other in boxes[:place])
    pyplot.close(figure)
