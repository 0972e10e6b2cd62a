"""Charts of how training went, and of where in the spectrum its results lie."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

from clarity.compare.axes import readable
from clarity.compare.budgets import courses
from clarity.compare.results import ModelResults, Results
from clarity.compare.spectrum import HALF, Curves
from clarity.compare.style import COLOURS, dash, panels
from clarity.params import family_of


def _families(results: Results) -> list[str]:
    trained = [family for family in results.families if not family_of(family).fitted]
    return trained or list(results.families)


def curves(results: Results, narrow: bool) -> Figure:
    """MSE by epoch."""
    families = _families(results)
    figure, grid, _ = panels(len(families), 2, 3.2, narrow, sharey=True)
    for axes, family in zip(grid, families, strict=True):
        models = results.family(family)
        for place, model in enumerate(models):
            line = dash(place, len(models))
            _band(axes, model, "val_mse", COLOURS[family], line, 1.8, model.name)
            _band(axes, model, "train_mse", COLOURS[family], line, 0.8, None)
        axes.set(yscale="log", xlabel="epoch")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_title(f"{family}: validation (thick), training (thin)")
        axes.legend(fontsize=8.5, handlelength=3.2)
    for axes in grid:
        readable(axes.yaxis)
    return figure


def _band(
    axes: Any, model: ModelResults, column: str, colour: str, line: Any, width: float,
    label: str | None,
) -> None:  # fmt: skip
    """Mean over seeds, and the range of the seeds as a band."""
    found = [c.dropna(subset=[column]).set_index("epoch")[column] for c in model.curves]
    epochs = np.array(sorted(set().union(*(curve.index for curve in found))))
    values = np.stack([curve.reindex(epochs).to_numpy(float) for curve in found])
    # A seed that stopped early leaves the mean where it stopped.
    there = ~np.isnan(values)
    counts = there.sum(axis=0)
    shown = counts > 0
    mean = np.where(there, values, 0).sum(axis=0)[shown] / counts[shown]
    axes.plot(epochs[shown], mean, color=colour, linestyle=line, linewidth=width, label=label)
    if len(found) > 1:
        low = np.where(there, values, np.inf).min(axis=0)[shown]
        high = np.where(there, values, -np.inf).max(axis=0)[shown]
        axes.fill_between(epochs[shown], low, high, color=colour, alpha=0.18, linewidth=0)


def compute(results: Results, narrow: bool) -> Figure:
    """Lowest validation MSE so far against GFLOP a training image, a line for each seed."""
    families = _families(results)
    figure, grid, _ = panels(len(families), 2, 3.4, narrow, sharey=True)
    for axes, family in zip(grid, families, strict=True):
        models = results.family(family)
        for place, model in enumerate(models):
            _courses(axes, model, COLOURS[family], dash(place, len(models)))
        axes.set(xscale="log", yscale="log", xlabel="GFLOP spent on each training image")
        axes.set_title(f"{family}: lowest validation MSE so far")
        if axes.get_legend_handles_labels()[0]:
            axes.legend(fontsize=8.5, handlelength=3.2)
        readable(axes.xaxis)
    for axes in grid:
        readable(axes.yaxis)
    return figure


def _courses(axes: Any, model: ModelResults, colour: str, line: Any) -> None:
    marks = (("alike", {"marker": "o", "markerfacecolor": "white"}), ("compute", {"marker": "x"}))
    for seed, course in enumerate(courses(model)):
        begun = course.gflop > 0
        axes.plot(
            course.gflop[begun], course.best[begun], color=colour, linestyle=line, linewidth=1.6,
            label=None if seed else model.name,
        )  # fmt: skip
        for question, mark in marks:
            budget = model.budgets[seed].get(question)  # type: ignore[call-overload]
            if budget:
                axes.plot(
                    budget.gflop, course.at(budget.epochs), color=colour, markersize=6.5,
                    linestyle="none", markeredgewidth=1.6, zorder=4, **mark,
                )  # fmt: skip


def frequency(results: Results, spectra: Curves, narrow: bool) -> Figure:
    """Share of power reproduced in the right place by cycles an image, on test images."""
    figure, grid, _ = panels(len(results.families), 2, 3.2, narrow, sharex=True, sharey=True)
    size = results.size
    most = size // 2
    for axes, family in zip(grid, results.families, strict=True):
        models = results.family(family)
        for place, model in enumerate(models):
            curve = spectra[model.name]["test"]
            use = [at for at, cycle in enumerate(curve.cycles) if cycle <= most]
            cycles = [curve.cycles[at] for at in use]
            shares = [curve.shares[at] for at in use]
            axes.plot(
                cycles, [s.estimate for s in shares], color=COLOURS[family],
                linestyle=dash(place, len(models)), linewidth=1.6, label=model.name,
            )  # fmt: skip
            limits = np.clip([[s.low, s.high] for s in shares], -1, 1).reshape(-1, 2)
            axes.fill_between(
                cycles, limits[:, 0], limits[:, 1], color=COLOURS[family], alpha=0.13, linewidth=0
            )
        axes.axhline(HALF, color="#777777", linewidth=0.9, linestyle=(0, (4, 2)))
        axes.set(xscale="log", xlim=(1, most), ylim=(-0.25, 1.03))
        ticks = [2**power for power in range(most.bit_length())]
        axes.xaxis.set_major_locator(FixedLocator(ticks))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_major_formatter(
            FuncFormatter(lambda value, _: f"{value:g}\n{size / (2 * value):g}")
        )
        axes.tick_params(labelbottom=True)
        axes.set_xlabel("cycles an image; below, the detail's size in pixels", fontsize=8.5)
        axes.set_title(f"{family}, {results.people('test')}")
        axes.legend(fontsize=8.5, handlelength=3.2, loc="lower left")
    return figure
