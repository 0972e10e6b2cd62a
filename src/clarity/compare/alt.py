"""What is to be seen in a chart, in words: for those who don't see it."""

from __future__ import annotations

from clarity.compare.results import Results
from clarity.compare.table import Row


def chart(name: str, results: Results, table: list[Row]) -> str:
    """The numbers behind a chart, by its file name."""
    if name == "curves.png":
        ends = [
            f"{m.name} {sum(float(c['val_mse'].min()) for c in m.curves) / len(m.curves):.5f}"
            for m in results.models
            if m.family != "pca"
        ]
        return f"Learning curves on a logarithmic scale. Lowest validation MSE: {', '.join(ends)}."
    if name == "error_against_size.png":
        train, test = results.people("train"), results.people("test")
        return (
            "Four charts on logarithmic scales. "
            f"Mean LSD in dB on {train}: {_values(table, 'train_lsd', '.2f')}. "
            f"On {test}: {_values(table, 'test_lsd', '.2f')}. "
            f"Mean MSE on {train}: {_values(table, 'train_mse', '.5f')}. "
            f"On {test}: {_values(table, 'test_mse', '.5f')}."
        )
    if name == "pareto.png":
        return (
            "Four charts: LSD and AUROC on the test split against parameters and FLOPs, with the "
            f"pareto front. LSD in dB: {_values(table, 'test_lsd', '.2f')}. "
            f"AUROC: {_values(table, 'auroc', '.3f')}."
        )
    if name == "auroc_by_kind.png":
        parts = [f"All kinds: {_values(table, 'auroc', '.2f')}"]
        parts += [f"{kind}: {_values(table, f'auroc_{kind}', '.2f')}" for kind in results.kinds]
        return "AUROC with intervals. " + ". ".join(parts) + "."
    names = ", ".join(row["model"] for row in table)
    return f"The same test faces as every model reconstructs them: {names}."


def _values(table: list[Row], name: str, form: str) -> str:
    return ", ".join(f"{row['model']} {row[name]:{form}}" for row in table)
