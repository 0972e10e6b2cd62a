"""Stage `compare`: tables with intervals, verdicts, charts and the report."""

from __future__ import annotations

import pandas as pd

from clarity.compare import (
    answer,
    faces,
    figures,
    markdown,
    report,
    spectrum,
    table,
    verdicts,
    wall,
)
from clarity.compare.clearer import clearer
from clarity.compare.findings import find
from clarity.compare.reading import load_results
from clarity.compare.results import Results
from clarity.compare.style import name_families, palette
from clarity.compare.vae_claims import vae_claims
from clarity.files import finite, write_bytes, write_json, write_text
from clarity.layout import REPORTS, Training
from clarity.params import load_params


def compare() -> None:
    """Read the trainings that params.yaml names, and write ``reports/``.

    Raises:
        ClarityError: an evaluation is missing or does not fit the others.
    """
    params = load_params()
    results = load_results(params)
    name_families(results.families)
    spectra = spectrum.curves(results, params.compare.confidence)
    rows = table.rows(results, params.compare, spectra)
    combined = table.ensembles(results, params.compare, spectra)
    claims = clearer(results, params.compare) + vae_claims(results, params.compare)
    findings = find(results, params.compare)
    trios = faces.trios(results, claims, params)
    strips = wall.strips(results, wall.RECONSTRUCTION), wall.strips(results, wall.ERROR)

    write_text(REPORTS / "table.csv", table.as_csv(rows))
    write_text(REPORTS / "table.md", markdown.as_markdown(rows, combined, results, params.compare))
    content = {
        "confidence": params.compare.confidence,
        "data_digest": results.digest,
        "seeds": list(results.seeds),
        "kinds": list(results.kinds),
        "measure": results.primary.key,
        "measures": list(results.measures),
        "frequency": {
            name: {
                split: {
                    "cycles": list(curve.cycles),
                    "share": [share.estimate for share in curve.shares],
                    "low": [share.low for share in curve.shares],
                    "high": [share.high for share in curve.shares],
                }
                for split, curve in found.items()
            }
            for name, found in spectra.items()
        },
        "models": rows,
    }
    if combined:
        content["ensembles"] = combined
    write_json(REPORTS / "table.json", finite(content))
    judged = verdicts.as_data(claims, findings, results)
    write_json(REPORTS / "verdicts.json", judged)
    write_text(REPORTS / "curves.csv", learning_curves(results))

    pictures = figures.draw(results, rows, spectra, params.compare.dpi)
    narrow = figures.draw(results, rows, spectra, params.compare.dpi, narrow=True)
    pictures["wall.png"] = wall.picture(strips[0])
    for name, data in pictures.items():
        write_bytes(REPORTS / "figures" / name, data)
    write_bytes(REPORTS / "figures" / "faces.png", palette(faces.sheet(results, trios)))
    page = report.page(
        params, results, rows, combined, claims, findings, (pictures, narrow), strips, trios
    )
    write_text(REPORTS / "index.html", page)
    print("\n".join(answer.lines(judged)))


def learning_curves(results: Results) -> str:
    """Curves of all trainings as CSV, long: for one chart in `dvc plots`."""
    parts = []
    for model in results.models:
        for training, curve in zip(model.trainings, model.curves, strict=True):
            part = curve[["epoch", "train_mse", "val_mse"]].copy()
            assert isinstance(training, Training)
            part.insert(0, "seed", training.seed)
            part.insert(0, "family", model.family)
            part.insert(0, "model", model.name)
            parts.append(part)
    text: str = pd.concat(parts).to_csv(index=False, float_format="%.6g", lineterminator="\n")
    return text
