"""The charts over all models: error against size, pareto, learning curves, detection by kind."""

from __future__ import annotations

import itertools
from typing import Any

import matplotlib

matplotlib.use("Agg")

import numpy as np
from matplotlib import pyplot
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

from clarity.compare.results import POPULATIONS, ModelResults, Results
from clarity.compare.style import COLOURS, MARKS, SETTINGS, dash, png
from clarity.compare.table import LABELS, Row

#: File name: what the picture shows, for its caption and for those who don't see it.
CAPTIONS = {
    "error_against_size.png": "Mean error against the number of parameters, with intervals",
    "curves.png": "MSE by epoch, on validation images (thick) and training images (thin)",
    "pareto.png": "Clarity and AUROC against parameters and FLOPs",
    "auroc_by_kind.png": "AUROC against each kind of anomaly, with intervals",
}


def draw(results: Results, table: list[Row], dpi: int, *, narrow: bool = False) -> dict[str, bytes]:
    """All charts as PNG, by file name; ``narrow``: one panel below the other, for a phone."""
    with pyplot.rc_context(SETTINGS):
        figures = {
            "error_against_size.png": _error_against_size(results, table, narrow),
            "curves.png": _curves(results, narrow),
            "pareto.png": _pareto(results, table, narrow),
            "auroc_by_kind.png": _auroc_by_kind(results, table, narrow),
        }
        return {name: png(figure, dpi) for name, figure in figures.items()}


def _panels(
    number: int, columns: int, height: float, narrow: bool, **more: Any
) -> tuple[Figure, list[Any], int]:
    """A figure of ``number`` panels of ``height`` inches: panels in reading order, and columns."""
    columns = 1 if narrow else min(columns, number)
    lines = -(-number // columns)
    figure, grid = pyplot.subplots(
        lines, columns, figsize=(4.4 if narrow else 9.2, 0.5 + height * lines),
        layout="constrained", squeeze=False, **more,
    )  # fmt: skip
    panels = list(grid.flat)
    for axes in panels[number:]:
        axes.set_visible(False)
    return figure, panels[:number], columns


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
    figure, panels, _ = _panels(4, 2, 3.1, narrow, sharex=True)
    pairs = list(itertools.product(("lsd", "mse"), POPULATIONS))
    for axes, (metric, split) in zip(panels, pairs, strict=True):
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
        axes.xaxis.set_minor_locator(NullLocator())
        axes.set_title(f"{LABELS[metric]}, {results.people(split)}")
        _plain(axes.yaxis)
    # Train and test share a scale, so that the gap between them can be seen.
    for line in (panels[:2], panels[2:]):
        ends = [axes.get_ylim() for axes in line]
        for axes in line:
            axes.set_ylim(min(e[0] for e in ends), max(e[1] for e in ends))
    for axes in panels[3 if narrow else 2 :]:
        axes.set_xlabel("parameters")
    _legend(figure, panels[0], narrow)
    return figure


def _plain(axis: Any) -> None:
    """Numbers as people write them on a logarithmic axis of less than two decades."""
    axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_locator(NullLocator())


def _legend(figure: Figure, axes: Any, narrow: bool) -> None:
    handles, labels = axes.get_legend_handles_labels()
    columns = 3 if narrow else len(labels)
    figure.legend(handles, labels, loc="outside lower center", ncols=columns)


def _pareto(results: Results, table: list[Row], narrow: bool) -> Figure:
    whats = (("test_lsd", f"LSD (dB), {results.people('test')}", True), ("auroc", "AUROC", False))
    costs = {"parameters": "parameters", "flops": "FLOPs, one image"}
    figure, panels, _ = _panels(4, 2, 3.1, narrow)
    pairs = list(itertools.product(whats, costs))
    for axes, ((name, title, lower), cost) in zip(panels, pairs, strict=True):
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
        axes.xaxis.set_minor_locator(NullLocator())
        if lower:
            axes.set_yscale("log")
            _plain(axes.yaxis)
        axes.margins(x=0.14)
        axes.set_xlabel(costs[cost])
    _legend(figure, panels[0], narrow)
    return figure


def _front(table: list[Row], cost: str, name: str, lower: bool) -> list[Row]:
    """Models that no cheaper model equals, from the cheapest on."""
    sign = 1.0 if lower else -1.0
    front: list[Row] = []
    for row in sorted(table, key=lambda r: (r[cost], sign * r[name])):
        if not front or sign * row[name] < sign * front[-1][name]:
            front.append(row)
    return front


def _curves(results: Results, narrow: bool) -> Figure:
    families = [family for family in results.families if family != "pca"] or ["pca"]
    figure, panels, _ = _panels(len(families), 2, 3.2, narrow, sharey=True)
    for axes, family in zip(panels, families, strict=True):
        models = results.family(family)
        for place, model in enumerate(models):
            line = dash(place, len(models))
            _band(axes, model, "val_mse", COLOURS[family], line, 1.8, model.name)
            _band(axes, model, "train_mse", COLOURS[family], line, 0.8, None)
        axes.set(yscale="log", xlabel="epoch")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_title(f"{family}: validation (thick), training (thin)")
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


def _auroc_by_kind(results: Results, table: list[Row], narrow: bool) -> Figure:
    names = {"auroc": "all kinds"} | {f"auroc_{kind}": kind for kind in results.kinds}
    height = 0.5 + 0.24 * len(table)
    figure, panels, columns = _panels(len(names), 3, height, narrow, sharex=True, sharey=True)
    for axes, (name, title) in zip(panels, names.items(), strict=True):
        for place, row in enumerate(table):
            low, high = row[f"{name}_low"], row[f"{name}_high"]
            colour = COLOURS[row["family"]]
            if low is not None and high is not None:
                axes.plot([low, high], [place, place], color=colour, linewidth=1.5)
            axes.plot(row[name], place, color=colour, marker=MARKS[row["family"]], markersize=6)
        axes.axvline(0.5, color="#777777", linewidth=0.9, linestyle=(0, (4, 2)))
        axes.set_title(title)
        axes.set_yticks(range(len(table)), [row["model"] for row in table], fontsize=8.5)
    panels[0].invert_yaxis()
    for axes in panels[-columns:]:
        axes.set_xlabel("AUROC (0.5: chance)")
    return figure
