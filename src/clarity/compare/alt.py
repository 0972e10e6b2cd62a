"""What is to be seen in a chart, in words: for those who don't see it."""

from __future__ import annotations

from clarity.compare.budgets import courses
from clarity.compare.results import Results
from clarity.compare.table import FORMATS, LABELS, Row


def chart(name: str, results: Results, table: list[Row]) -> str:
    """The numbers behind a chart, by its file name."""
    key = results.primary.key
    label = LABELS[key]
    if name == "curves.png":
        ends = [
            f"{m.name} {sum(float(c['val_mse'].min()) for c in m.curves) / len(m.curves):.5f}"
            for m in results.models
            if not m.traits.fitted
        ]
        return f"Learning curves on a logarithmic scale. Lowest validation MSE: {', '.join(ends)}."
    if name == "compute.png":
        ends = [
            f"{m.name} {sum(float(c.best[-1]) for c in courses(m)) / len(m.budgets):.5f} after "
            f"{max(float(c.gflop[-1]) for c in courses(m)):.3g} GFLOP"
            for m in results.models
            if m.budgets
        ]
        return (
            "Lowest validation MSE so far against GFLOP spent on each training image, both "
            f"logarithmic, a panel for each family. At the end: {', '.join(ends)}."
        )
    if name == "frequency.png":
        return (
            f"Share of the original's power reproduced in the right place, on "
            f"{results.people('test')}, falling with spatial frequency, a panel for each family. "
            f"Finest detail reproduced, in pixels: {_values(table, 'test_finest', '.1f')}."
        )
    if name == "error_against_size.png":
        train, test = results.people("train"), results.people("test")
        form = FORMATS[key]
        text = f"Mean {label} on {train}: {_values(table, f'train_{key}', form)}. "
        text += f"On {test}: {_values(table, f'test_{key}', form)}. "
        if key != "mse":
            text += f"Mean MSE on {train}: {_values(table, 'train_mse', '.5f')}. "
            text += f"On {test}: {_values(table, 'test_mse', '.5f')}."
        return f"Charts against the number of parameters. {text}".strip()
    if name == "pareto.png":
        return (
            f"Four charts: {label} and AUROC on the test split against parameters and FLOPs, with "
            f"the pareto front. {label}: {_values(table, f'test_{key}', FORMATS[key])}. "
            f"AUROC: {_values(table, 'auroc', '.3f')}."
        )
    if name == "auroc_by_kind.png":
        several = len(results.kinds) > 1
        parts = [f"All kinds: {_values(table, 'auroc', '.2f')}"] if several else []
        parts += [f"{kind}: {_values(table, f'auroc_{kind}', '.2f')}" for kind in results.kinds]
        return "AUROC with intervals. " + ". ".join(parts) + "."
    names = ", ".join(row["model"] for row in table)
    return f"The same test {results.things} as every model reconstructs them: {names}."


def _values(table: list[Row], name: str, form: str) -> str:
    return ", ".join(
        f"{row['model']} " + ("none" if row[name] is None else format(row[name], form))
        for row in table
    )
