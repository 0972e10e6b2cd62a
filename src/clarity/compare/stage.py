"""Stage `compare`: tables with intervals, verdicts, charts and the report."""

from __future__ import annotations

import pandas as pd

from clarity.compare import figures, report, table, verdicts, wall
from clarity.compare.claims import judge_claims
from clarity.compare.findings import find
from clarity.compare.results import Results, load_results
from clarity.files import write_bytes, write_json, write_text
from clarity.layout import REPORTS
from clarity.params import load_params


def run() -> None:
    """Read the trainings that params.yaml names, and write ``reports/``.

    Raises:
        ClarityError: an evaluation is missing or does not fit the others.
    """
    params = load_params()
    results = load_results(params)
    rows = table.rows(results, params.compare)
    claims = judge_claims(results, params.compare)
    findings = find(results, params.compare)

    write_text(REPORTS / "table.csv", table.as_csv(rows))
    write_text(REPORTS / "table.md", table.as_markdown(rows, results, params.compare))
    content = {
        "confidence": params.compare.confidence,
        "data_digest": results.digest,
        "seeds": list(results.seeds),
        "kinds": list(results.kinds),
        "models": rows,
    }
    write_json(REPORTS / "table.json", content)
    write_json(REPORTS / "verdicts.json", verdicts.as_data(claims, findings, results))
    write_text(REPORTS / "curves.csv", learning_curves(results))

    pictures = figures.draw(results, rows, params.compare.dpi)
    narrow = figures.draw(results, rows, params.compare.dpi, narrow=True)
    faces = wall.strips(results, wall.RECONSTRUCTION)
    errors = wall.strips(results, wall.ERROR)
    pictures["wall.png"] = wall.picture(faces)
    for name, data in pictures.items():
        write_bytes(REPORTS / "figures" / name, data)
    page = report.page(params, results, rows, claims, findings, (pictures, narrow), faces, errors)
    write_text(REPORTS / "index.html", page)


def learning_curves(results: Results) -> str:
    """Curves of all trainings as CSV, long: for one chart in `dvc plots`."""
    parts = []
    for model in results.models:
        for training, curve in zip(model.trainings, model.curves, strict=True):
            part = curve[["epoch", "train_mse", "val_mse"]].copy()
            part.insert(0, "seed", training.seed)
            part.insert(0, "family", model.family)
            part.insert(0, "model", model.name)
            parts.append(part)
    text: str = pd.concat(parts).to_csv(index=False, float_format="%.6g", lineterminator="\n")
    return text
