"""One row a model: what it costs, how clear it is, how well it detects; with intervals."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from clarity.compare.budgets import converged, improvement
from clarity.compare.results import (
    POPULATIONS,
    QUESTIONS,
    Floats,
    ModelResults,
    Population,
    Question,
    Results,
    number,
)
from clarity.compare.spectrum import Curves
from clarity.measures import MEASURES
from clarity.params import Compare
from clarity.statistics import Interval, Scale, auroc_interval, kinds_interval, mean_interval

Row = dict[str, Any]

#: What a column of the table is called where people read it, and how many digits it gets.
LABELS = {
    **{k: f"{m.label} ({m.unit})" if m.unit else m.label for k, m in MEASURES.items()},
    "finest": "Finest detail (pixels)",
}
FORMATS = {
    **{key: f".{measure.digits}f" for key, measure in MEASURES.items()},
    "finest": ".1f",
    "auroc": ".3f",
    "pixel_auroc": ".3f",
    "ap": ".3f",
    "false_alarms": ".1%",
}
#: On which scale a mean's interval stays within the measure's bounds.
_SCALES: dict[tuple[float, float], Scale] = {
    (0.0, math.inf): "log",
    (0.0, 1.0): "logit",
    (-1.0, 1.0): "fisher",
}
#: What the columns of a question begin with.
PREFIX: dict[Question, str] = {"alike": "", "compute": "compute_"}


def rows(results: Results, compare: Compare, curves: Curves) -> list[Row]:
    """A flat row a model, full precision: every ``X`` with an interval has ``X_low``, ``X_high``.

    ``train_*`` is over training images, ``test_*`` over normal images of the test split, of the
    weights trained alike; ``compute_train_*`` and ``compute_test_*`` the same of the weights for
    the same compute. ``auroc`` and ``ap`` are of ``score`` (best on ``val``) on the test split,
    ``auroc_KIND`` against one kind of anomaly, ``auroc_unseen_kind`` the mean over kinds of its
    AUROC where each was left out of the fit, ``panel_let_through`` the share of obvious pictures
    that it calls normal (no interval), ``false_alarms`` the share of test normals above
    that score's threshold. Limits that the data cannot give are null. ``ap`` has no interval, nor
    has ``pixel_auroc_KIND`` (and ``…_all``), which is there where the source brought masks.
    """
    return [_row(model, results, compare, curves) for model in results.models]


def ensembles(results: Results, compare: Compare, curves: Curves) -> list[Row]:
    """The same of the ensembles, with ``members``: trainings, by name."""
    return [
        {"members": list(model.details[0].members or ()), **_row(model, results, compare, curves)}
        for model in results.ensembles
    ]


def _row(model: ModelResults, results: Results, compare: Compare, curves: Curves) -> Row:
    row: Row = {
        "model": model.name,
        "family": model.family,
        "latent": model.latent,
        "parameters": model.parameters,
        "flops": model.flops,
        "weight_bytes": model.weight_bytes,
        "seeds": len(model.trainings),
    }
    for question in QUESTIONS:
        spent = model.spent(question)
        prefix = PREFIX[question]
        row[f"{prefix}epochs"] = float(np.mean([b.epochs for b in spent])) if spent else None
        row[f"{prefix}gflop"] = float(np.mean([b.gflop for b in spent])) if spent else None
        row[f"{prefix}fell"] = improvement(model, question)
        row[f"{prefix}converged"] = converged(model, question)
    scopes = set()
    for question in QUESTIONS:
        measured = model.measured(question)
        for split in POPULATIONS:
            for key in results.measures:
                name = f"{PREFIX[question]}{split}_{key}"
                if measured is None:
                    row |= {name: None, f"{name}_low": None, f"{name}_high": None}
                    continue
                interval = _mean(model, results, measured[split][key], split, key, compare)
                _put(row, name, interval)
                scopes.add(interval.scope)
            if question == "alike":
                curve = curves[model.name][split]
                row[f"{split}_finest"] = curve.finest
                row[f"{split}_finest_low"], row[f"{split}_finest_high"] = curve.limits
    row["score"] = model.best_score
    _put(row, "auroc", auroc(model, results, compare.confidence))
    for kind in results.kinds:
        _put(row, f"auroc_{kind}", auroc(model, results, compare.confidence, kind))
    for kind in ("all", *results.masked) if results.masked else ():
        row[f"pixel_auroc_{kind}"] = model.known("pixel_auroc", "test", kind) or None
    _put(row, "auroc_unseen_kind", unseen(model, results, compare.confidence))
    row["ap"] = average_precision(model)
    row["panel_let_through"] = _known(model, "panel", model.best_score, "share")
    row |= false_alarms(model, results, compare.confidence)
    row["scope"] = sorted(scopes)[-1]
    return row


def _mean(
    model: ModelResults,
    results: Results,
    values: Floats,
    split: Population,
    key: str,
    compare: Compare,
) -> Interval:
    return mean_interval(
        values,
        results.groups(split, key),
        compare.confidence,
        deterministic=model.deterministic,
        scale=_SCALES[MEASURES[key].bounds],
    )


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


def unseen(model: ModelResults, results: Results, confidence: float) -> Interval:
    """Mean over kinds of the AUROC on the test split, each left out of what the score was fitted
    to."""
    test = results.test
    return kinds_interval(
        model.unseen,
        test["label"].to_numpy(),
        test["group"].to_numpy(),
        test["kind"].to_numpy(),
        confidence,
        deterministic=model.deterministic,
    )


def _known(model: ModelResults, *keys: str) -> float | None:
    """Mean over seeds of a number in ``details.json``; None where a seed has none."""
    found = [number(content, keys) for content in model.details]
    known = [value for value in found if value is not None]
    return float(np.mean(known)) if len(known) == len(found) else None


def average_precision(model: ModelResults) -> float | None:
    """AP of the best score on the test split, all kinds together, averaged over seeds."""
    found = []
    for content in model.details:
        value = content.anomaly.get(model.best_score, {}).get("test", {}).get("all", {}).get("ap")
        if value is None:
            return None
        found.append(value)
    return float(np.mean(found))


def false_alarms(model: ModelResults, results: Results, confidence: float) -> Row:
    """Share of test normals above the best score's threshold, beside the rate it was set for."""
    found = [content.threshold.get(model.best_score) for content in model.details]
    known = [one for one in found if one is not None and one.value is not None]
    names = ("false_alarm_rate", "false_alarms", "false_alarms_low", "false_alarms_high", "misses")
    row: Row = dict.fromkeys(names)
    if len(known) < len(found):
        return row
    normal = (results.test["label"] == 0).to_numpy()
    limits = np.array([one.value for one in known], dtype=np.float64)
    raised = model.scores[model.best_score] > limits[:, None]
    interval = mean_interval(
        raised[:, normal].astype(np.float64),
        results.test["group"].to_numpy()[normal],
        confidence,
        deterministic=model.deterministic,
        scale="logit",
    )
    _put(row, "false_alarms", never(interval))
    row["misses"] = float(1 - raised[:, ~normal].mean())
    row["false_alarm_rate"] = known[0].false_alarm_rate
    return row


def never(share: Interval) -> Interval:
    """A share's interval, also where all of G people (or pictures) agree, as if each were asked
    once: 0 of G allows up to 1 - (α/2)^(1/G) (Clopper & Pearson 1934)."""
    if share.low != share.high or share.estimate not in (0.0, 1.0):
        return share
    most = 1 - ((1 - share.confidence) / 2) ** (1 / share.groups)
    if share.estimate:
        return replace(share, low=1 - most)
    return replace(share, high=most)


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
