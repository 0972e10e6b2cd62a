"""One row a model: what it costs, how clear it is, how well it detects; with intervals."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd

from clarity.compare.results import METRICS, POPULATIONS, ModelResults, Results
from clarity.params import Compare
from clarity.statistics import Interval, auroc_interval, mean_interval

Row = dict[str, Any]

#: What a column of the table is called where people read it, and how many digits it gets.
LABELS = {"mse": "MSE", "psnr": "PSNR (dB)", "ssim": "SSIM", "lsd": "LSD (dB)"}
FORMATS = {"mse": ".5f", "psnr": ".2f", "ssim": ".3f", "lsd": ".2f", "auroc": ".3f", "ap": ".3f"}
#: Whether lower is better.
LOWER = {"mse": True, "psnr": False, "ssim": False, "lsd": True}


def rows(results: Results, compare: Compare) -> list[Row]:
    """A flat row a model, full precision: every ``X`` with an interval has ``X_low``, ``X_high``.

    ``train_*`` is over training images, ``test_*`` over normal images of the test split; ``auroc``
    and ``ap`` are of ``score`` (best on ``val``) on the test split, ``auroc_KIND`` against one kind
    of anomaly. Limits that the data cannot give are null. ``ap`` has no interval.
    """
    return [_row(model, results, compare) for model in results.models]


def _row(model: ModelResults, results: Results, compare: Compare) -> Row:
    row: Row = {
        "model": model.name,
        "family": model.family,
        "latent": model.latent,
        "parameters": model.parameters,
        "flops": model.flops,
        "weight_bytes": model.weight_bytes,
        "seeds": len(model.trainings),
    }
    scopes = set()
    for split in POPULATIONS:
        groups = results.groups(split)
        for metric in METRICS:
            interval = mean_interval(
                model.metrics[split][metric],
                groups,
                compare.confidence,
                deterministic=model.deterministic,
            )
            _put(row, f"{split}_{metric}", interval)
            scopes.add(interval.scope)
    row["score"] = model.best_score
    _put(row, "auroc", auroc(model, results, compare.confidence))
    for kind in results.kinds:
        _put(row, f"auroc_{kind}", auroc(model, results, compare.confidence, kind))
    row["ap"] = average_precision(model)
    row["scope"] = sorted(scopes)[-1]
    return row


def auroc(
    model: ModelResults, results: Results, confidence: float, kind: str | None = None
) -> Interval:
    """AUROC of the model's best score on the test split, against all kinds or against one."""
    test = results.test
    use = (test["label"] == 0) | (test["kind"] == kind) if kind else test["label"] >= 0
    chosen = use.to_numpy()
    return auroc_interval(
        model.scores[model.best_score][:, chosen],
        test["label"].to_numpy()[chosen],
        test["group"].to_numpy()[chosen],
        confidence,
        kinds=test["kind"].to_numpy()[chosen],
        deterministic=model.deterministic,
    )


def average_precision(model: ModelResults) -> float | None:
    """AP of the best score on the test split, all kinds together, averaged over seeds."""
    found = []
    for content in model.details:
        anomaly = content["anomaly"]
        score = anomaly.get(model.best_score) or anomaly.get(f"score_{model.best_score}") or {}
        value = score.get("test", {}).get("all", {}).get("ap")
        if value is None:
            return None
        found.append(value)
    return float(np.mean(found))


def _put(row: Row, name: str, interval: Interval) -> None:
    row[name] = interval.estimate
    row[f"{name}_low"] = interval.low if math.isfinite(interval.low) else None
    row[f"{name}_high"] = interval.high if math.isfinite(interval.high) else None


def as_csv(table: list[Row]) -> str:
    """CSV with six significant digits."""
    frame = pd.DataFrame(table)
    text: str = frame.to_csv(index=False, float_format="%.6g", lineterminator="\n")
    return text


def cell(row: Row, name: str, metric: str) -> str:
    """``14.20 [13.9, 14.5]``; without limits where there are none."""
    value = row.get(name)
    if value is None:
        return "–"
    form = FORMATS[metric]
    low, high = row.get(f"{name}_low"), row.get(f"{name}_high")
    text = format(value, form)
    if low is None or high is None:
        return text
    return f"{text} [{format(low, form)}, {format(high, form)}]"


def as_markdown(table: list[Row], results: Results, compare: Compare) -> str:
    """Tables for people: cost and detection, training images, unseen people."""
    level = f"{100 * compare.confidence:g} %"
    scope = (
        "one seed: intervals are over people, for this training only"
        if len(results.seeds) == 1
        else f"{len(results.seeds)} seeds: intervals are over people and trainings"
    )
    parts = [f"Mean [{level} interval]; {scope}. PCA has no seed.", ""]
    for split in POPULATIONS:
        people = results.people(split)
        parts += [f"## Reconstruction of {people}", ""]
        head = ["model", "family", "latent", "parameters", "FLOPs", *(LABELS[m] for m in METRICS)]
        body = [
            [*_identity(row), *(cell(row, f"{split}_{m}", m) for m in METRICS)] for row in table
        ]
        parts += [*_markdown(head, body, text=2), ""]
    parts += ["## Anomaly detection on the test split", ""]
    head = ["model", "family", "latent", "parameters", "FLOPs", "score", "AUROC, all"]
    head += [f"AUROC, {kind}" for kind in results.kinds] + ["AP, all"]
    body = [
        [
            *_identity(row),
            row["score"],
            cell(row, "auroc", "auroc"),
            *(cell(row, f"auroc_{kind}", "auroc") for kind in results.kinds),
            cell(row, "ap", "ap"),
        ]
        for row in table
    ]
    parts += _markdown(head, body, text=2)
    return "\n".join(parts) + "\n"


def _identity(row: Row) -> list[str]:
    numbers = [f"{row[name]:,}" for name in ("latent", "parameters", "flops")]
    return [row["model"], row["family"], *numbers]


def _markdown(head: list[str], body: list[list[str]], text: int) -> list[str]:
    rule = ["---" if place < text else "---:" for place in range(len(head))]
    return ["| " + " | ".join(cells) + " |" for cells in [head, rule, *body]]
