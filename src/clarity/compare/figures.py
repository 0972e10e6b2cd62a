"""The charts over all models: error against size, pareto, learning curves, detection by kind."""

from __future__ import annotations

import itertools
from typing import Any

import matplotlib

matplotlib.use("Agg")

import numpy as np
from matplotlib import pyplot
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from clarity.compare.results import POPULATIONS, ModelResults, Results
from clarity.compare.style import COLOURS, MARKS, SETTINGS, dash, png
from clarity.compare.table import LABELS, Row

#: File name: what the picture shows, for its caption and for those who don't see it.
CAPTIONS = {
    "error_against_size.png": "Mean error against the number of parameters, with intervals",
    "curves.png": "Validation and training MSE by epoch",
    "pareto.png": "Clarity and AUROC against parameters and FLOPs",
    "auroc_by_kind.png": "AUROC against each kind of anomaly, with intervals",
}


def draw(results: Results, table: list[Row], dpi: int) -> dict[str, bytes]:
    """All charts as PNG, by file name."""
    with pyplot.rc_context(SETTINGS):
        figures = {
            "error_against_size.png": _error_against_size(results, table),
            "curves.png": _curves(results),
            "pareto.png": _pareto(results, table),
            "auroc_by_kind.png": _auroc_by_kind(results, table),
        }
        return {name: png(figure, dpi) for name, figure in figures.items()}


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


def _error_against_size(results: Results, table: list[Row]) -> Figure:
    figure, grid = pyplot.subplots(2, 2, figsize=(9.2, 6.6), sharex=True, layout="constrained")
    for (line, metric), (column, split) in itertools.product(
        enumerate(("lsd", "mse")), enumerate(POPULATIONS)
    ):
        axes = grid[line][column]
        for family in results.families:
            rows = _rows(table, family)
            name = f"{split}_{metric}"
            if family != "pca":
                axes.plot(
                    [r["parameters"] for r in rows], [r[name] for r in rows],
                    color=COLOURS[family], linewidth=1.5,
                )  # fmt: skip
            for place, row in enumerate(rows):
                label = family if place == 0 else None
                _errorbar(axes, row, row["parameters"], name, family, label=label)
        axes.set(xscale="log", yscale="log")
        axes.set_title(f"{LABELS[metric]}, {results.people(split)}")
        _plain(axes.yaxis)
    for axes in grid[1]:
        axes.set_xlabel("parameters")
    # Train and test share a scale, so that the gap between them can be seen.
    for line in grid:
        ends = [axes.get_ylim() for axes in line]
        for axes in line:
            axes.set_ylim(min(e[0] for e in ends), max(e[1] for e in ends))
    _legend(figure, grid[0][0])
    return figure


def _plain(axis: Any) -> None:
    """Numbers as people write them on a logarithmic axis of less than two decades."""
    axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())


def _legend(figure: Figure, axes: Any) -> None:
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels))


def _pareto(results: Results, table: list[Row]) -> Figure:
    figure, grid = pyplot.subplots(2, 2, figsize=(9.2, 6.6), layout="constrained", sharey="row")
    whats = (("test_lsd", f"LSD (dB), {results.people('test')}", True), ("auroc", "AUROC", False))
    for (line, (name, title, lower)), (column, cost) in itertools.product(
        enumerate(whats), enumerate(("parameters", "flops"))
    ):
        axes = grid[line][column]
        for family in results.families:
            for place, row in enumerate(_rows(table, family)):
                label = family if place == 0 else None
                _errorbar(axes, row, row[cost], name, family, label=label)
        front = _front(table, cost, name, lower)
        axes.plot(
            [r[cost] for r in front], [r[name] for r in front], color="#777777", linewidth=1,
            linestyle=(0, (4, 2)), drawstyle="steps-post", zorder=1, label="pareto front",
        )  # fmt: skip
        for place, row in enumerate(front):
            axes.annotate(
                row["model"], (row[cost], row[name]), textcoords="offset points",
                xytext=(6, 7 if place % 2 == 0 else -13), fontsize=7.5, color="#333333",
            )  # fmt: skip
        axes.set(xscale="log", title=f"{title}: {'lower' if lower else 'higher'} is better")
        if lower:
            axes.set_yscale("log")
            _plain(axes.yaxis)
        axes.margins(x=0.14)
        if line == 1:
            axes.set_xlabel({"parameters": "parameters", "flops": "FLOPs, one image"}[cost])
    _legend(figure, grid[0][0])
    return figure


def _front(table: list[Row], cost: str, name: str, lower: bool) -> list[Row]:
    """Models that no cheaper model equals, from the cheapest on."""
    sign = 1.0 if lower else -1.0
    front: list[Row] = []
    for row in sorted(table, key=lambda r: (r[cost], sign * r[name])):
        if not front or sign * row[name] < sign * front[-1][name]:
            front.append(row)
    return front


def _curves(results: Results) -> Figure:
    families = [family for family in results.families if family != "pca"] or ["pca"]
    columns = min(2, len(families))
    lines = -(-len(families) // columns)
    figure, grid = pyplot.subplots(
        lines, columns, figsize=(9.2, 0.6 + 3.2 * lines), layout="constrained", squeeze=False,
        sharey=True,
    )  # fmt: skip
    for axes, family in itertools.zip_longest(grid.flat, families):
        if family is None:
            axes.set_visible(False)
            continue
        models = results.family(family)
        for place, model in enumerate(models):
            line = dash(place, len(models))
            _band(axes, model, "val_mse", COLOURS[family], line, 1.8, model.name)
            _band(axes, model, "train_mse", COLOURS[family], line, 0.8, None)
        axes.set(yscale="log", xlabel="epoch")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_title(f"{family}: validation MSE (thick), training MSE (thin)")
        axes.legend(fontsize=8.5, handlelength=3.2)
        _plain(axes.yaxis)
    return figure


def _band(
    axes: Any, model: ModelResults, column: str, colour: str, line: Any, width: float,
    label: str | None,
) -> None:  # fmt: skip
    """Mean over seeds, and the range of the seeds as a band."""
    curves = [c.dropna(subset=[column]).set_index("epoch")[column] for c in model.curves]
    epochs = np.array(sorted(set().union(*(curve.index for curve in curves))))
    values = np.stack([curve.reindex(epochs).to_numpy(float) for curve in curves])
    # A seed that stopped early leaves the mean where it stopped.
    there = ~np.isnan(values)
    counts = there.sum(axis=0)
    shown = counts > 0
    mean = np.where(there, values, 0).sum(axis=0)[shown] / counts[shown]
    axes.plot(epochs[shown], mean, color=colour, linestyle=line, linewidth=width, label=label)
    if len(curves) > 1:
        low = np.where(there, values, np.inf).min(axis=0)[shown]
        high = np.where(there, values, -np.inf).max(axis=0)[shown]
        axes.fill_between(epochs[shown], low, high, color=colour, alpha=0.18, linewidth=0)


def _auroc_by_kind(results: Results, table: list[Row]) -> Figure:
    names = ["auroc", *(f"auroc_{kind}" for kind in results.kinds)]
    titles = ["all kinds", *results.kinds]
    columns = min(3, len(names))
    lines = -(-len(names) // columns)
    height = 0.55 + lines * (0.55 + 0.24 * len(table))
    figure, grid = pyplot.subplots(
        lines, columns, figsize=(9.2, height), layout="constrained", sharex=True, sharey=True,
        squeeze=False,
    )  # fmt: skip
    for axes, pair in itertools.zip_longest(grid.flat, zip(names, titles, strict=True)):
        if pair is None:
            axes.set_visible(False)
            continue
        name, title = pair
        for place, row in enumerate(table):
            low, high = row[f"{name}_low"], row[f"{name}_high"]
            colour = COLOURS[row["family"]]
            if low is not None and high is not None:
                axes.plot([low, high], [place, place], color=colour, linewidth=1.5)
            axes.plot(row[name], place, color=colour, marker=MARKS[row["family"]], markersize=6)
        axes.axvline(0.5, color="#777777", linewidth=0.9, linestyle=(0, (4, 2)))
        axes.set_title(title)
        axes.set_yticks(range(len(table)), [row["model"] for row in table], fontsize=8.5)
    grid[0][0].invert_yaxis()
    for axes in grid[-1]:
        axes.set_xlabel("AUROC (0.5: chance)")
    return figure
