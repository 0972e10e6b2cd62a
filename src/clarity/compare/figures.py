"""The charts over all models, as PNG."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import matplotlib

matplotlib.use("Agg")

from matplotlib import pyplot
from matplotlib.figure import Figure

from clarity.compare.axes import label_points, readable
from clarity.compare.limits import few_sources, sources
from clarity.compare.results import POPULATIONS, Results
from clarity.compare.spectrum import Curves
from clarity.compare.style import COLOURS, MARKS, SETTINGS, legend, panels, png
from clarity.compare.table import LABELS, Row
from clarity.compare.training_charts import compute, curves, frequency
from clarity.measures import MEASURES
from clarity.params import family_of

#: File name: what the picture shows, for its caption and for those who don't see it.
CAPTIONS = {
    "error_against_size.png": "Means against the number of parameters, with intervals",
    "frequency.png": "Share of the original's power that the reconstruction has in the right "
    "place, with intervals; above one half (dashed) the detail counts as reproduced",
    "compute.png": "Lowest validation MSE so far against the compute spent on each training image; "
    "a ring ends the budget of the sizes trained alike, a cross that of the same compute",
    "curves.png": "MSE by epoch, on validation images (thick) and training images (thin)",
    "pareto.png": "Clarity and AUROC against parameters and FLOPs",
    "auroc_by_kind.png": "AUROC against each kind of anomaly, with intervals",
}


def draw(
    results: Results, table: list[Row], spectra: Curves, dpi: int, *, narrow: bool = False
) -> dict[str, bytes]:
    """All charts as PNG, by file name; ``narrow``: one panel below the other, for a phone."""
    charts: dict[str, Callable[[], Figure]] = {
        "error_against_size.png": lambda: _error_against_size(results, table, narrow),
        "frequency.png": lambda: frequency(results, spectra, narrow),
        "compute.png": lambda: compute(results, narrow),
        "curves.png": lambda: curves(results, narrow),
        "pareto.png": lambda: _pareto(results, table, narrow),
        "auroc_by_kind.png": lambda: _auroc_by_kind(results, table, narrow),
    }
    with pyplot.rc_context(SETTINGS):
        return {name: png(chart(), dpi) for name, chart in charts.items()}


def _rows(table: list[Row], family: str) -> list[Row]:
    return [row for row in table if row["family"] == family]


def _errorbar(axes: Any, row: Row, x: float, name: str, family: str, **more: Any) -> None:
    low, high = row[f"{name}_low"], row[f"{name}_high"]
    reach = None if low is None or high is None else [[row[name] - low], [high - row[name]]]
    axes.errorbar(
        x, row[name], yerr=reach, color=COLOURS[family], marker=MARKS[family], markersize=6.5,
        capsize=3, elinewidth=1.3, linestyle="none", markeredgecolor="white", markeredgewidth=0.6,
        **more,
    )  # fmt: skip


def _error_against_size(results: Results, table: list[Row], narrow: bool) -> Figure:
    keys = tuple(dict.fromkeys((results.primary.key, "mse")))
    figure, grid, _ = panels(2 * len(keys), 2, 3.1, narrow, sharex=True)
    for axes, (key, split) in zip(grid, itertools.product(keys, POPULATIONS), strict=True):
        name = f"{split}_{key}"
        for family in results.families:
            rows = _rows(table, family)
            if not family_of(family).linear:
                axes.plot(
                    [r["parameters"] for r in rows], [r[name] for r in rows],
                    color=COLOURS[family], linewidth=1.5,
                )  # fmt: skip
            for place, row in enumerate(rows):
                label = family if place == 0 else None
                _errorbar(axes, row, row["parameters"], name, family, label=label)
        axes.set(xscale="log", yscale="log" if MEASURES[key].lower_is_better else "linear")
        better = "lower" if MEASURES[key].lower_is_better else "higher"
        axes.set_title(f"{LABELS[key]}, {results.people(split)}: {better} is better")
    # Train and test share a scale, so that the gap between them can be seen.
    for start in range(0, len(grid), 2):
        line = grid[start : start + 2]
        ends = [axes.get_ylim() for axes in line]
        for axes in line:
            axes.set_ylim(min(e[0] for e in ends), max(e[1] for e in ends))
            if axes.get_yscale() == "log":
                readable(axes.yaxis)
            readable(axes.xaxis)
    for axes in grid[-1:] if narrow else grid[-2:]:
        axes.set_xlabel("parameters")
    legend(figure, grid[0], narrow)
    return figure


def _pareto(results: Results, table: list[Row], narrow: bool) -> Figure:
    primary = results.primary
    name = f"test_{primary.key}"
    title = f"{LABELS[primary.key]}, {results.people('test')}"
    whats = (
        (name, title, primary.lower_is_better),
        ("auroc_unseen_kind", "AUROC, kinds never seen", False),
    )
    costs = {"parameters": "parameters", "flops": "FLOPs, one image"}
    figure, grid, _ = panels(4, 2, 3.3, narrow)
    fronts = []
    pairs = list(itertools.product(whats, costs))
    for axes, ((name, title, lower), cost) in zip(grid, pairs, strict=True):
        for family in results.families:
            for place, row in enumerate(_rows(table, family)):
                label = family if place == 0 else None
                _errorbar(axes, row, row[cost], name, family, label=label)
        front = _front(table, cost, name, lower)
        axes.plot(
            [r[cost] for r in front], [r[name] for r in front], color="#777777", linewidth=1,
            linestyle=(0, (4, 2)), drawstyle="steps-post", zorder=1, label="pareto front",
        )  # fmt: skip
        fronts.append(front)
        axes.set(xscale="log", title=f"{title}: {'lower' if lower else 'higher'} is better")
        if lower:
            axes.set_yscale("log")
        axes.margins(x=0.14, y=0.12)
        axes.set_xlabel(costs[cost])
        readable(axes.xaxis)
        if lower:
            readable(axes.yaxis)
    legend(figure, grid[0], narrow)
    # Labels last: where they may stand is known only when everything else is in its place.
    figure.draw_without_rendering()
    for axes, ((name, _, _), cost), front in zip(grid, pairs, fronts, strict=True):
        named = {row["model"] for row in front}
        label_points(
            figure,
            axes,
            [
                (
                    row["model"] if row["model"] in named else "",
                    row[cost],
                    row[name],
                    row[name] if row[f"{name}_low"] is None else row[f"{name}_low"],
                    row[name] if row[f"{name}_high"] is None else row[f"{name}_high"],
                )
                for row in table
            ],
            [(row[cost], row[name]) for row in front],
        )
    return figure


def _front(table: list[Row], cost: str, name: str, lower: bool) -> list[Row]:
    """Models that no cheaper model equals, from the cheapest on."""
    sign = 1.0 if lower else -1.0
    front: list[Row] = []
    for row in sorted(table, key=lambda r: (r[cost], sign * r[name])):
        if not front or sign * row[name] < sign * front[-1][name]:
            front.append(row)
    return front


def _auroc_by_kind(results: Results, table: list[Row], narrow: bool) -> Figure:
    names = {"auroc": "all kinds"} if len(results.kinds) > 1 else {}
    names |= {f"auroc_{kind}": kind for kind in results.kinds}
    few = {f"auroc_{kind}": sources(kind, n) for kind, n in few_sources(results).items()}
    height = 0.5 + 0.24 * len(table)
    figure, grid, columns = panels(len(names), 3, height, narrow, sharex=True, sharey=True)
    for axes, (name, title) in zip(grid, names.items(), strict=True):
        for place, row in enumerate(table):
            low, high = row[f"{name}_low"], row[f"{name}_high"]
            colour = COLOURS[row["family"]]
            if low is not None and high is not None and name not in few:
                axes.plot([low, high], [place, place], color=colour, linewidth=1.5)
            axes.plot(row[name], place, color=colour, marker=MARKS[row["family"]], markersize=6)
        axes.axvline(0.5, color="#777777", linewidth=0.9, linestyle=(0, (4, 2)))
        axes.set_title(f"{title} (from {few[name]})" if name in few else title)
        axes.set_yticks(range(len(table)), [row["model"] for row in table], fontsize=8.5)
    grid[0].invert_yaxis()
    for axes in grid[-columns:]:
        axes.set_xlabel("AUROC (0.5: chance)")
    return figure
