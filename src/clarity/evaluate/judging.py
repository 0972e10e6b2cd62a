"""From measured signals to scores, to the score that is used, to its threshold and its worth."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
import torch

from clarity.choice import FUSED, best_score
from clarity.details import Separation
from clarity.evaluate.anomaly import detection
from clarity.evaluate.calibration import Calibration, calibrate
from clarity.evaluate.fused import Examples, weights
from clarity.evaluate.measure import Measured
from clarity.evaluate.panel import Panel
from clarity.evaluate.scorer import Scorer
from clarity.evaluate.sides import turning_point
from clarity.evaluate.unseen import CrossFitted, columns, cross_fit, unseen_kind
from clarity.layout import JUDGED_SPLITS
from clarity.models.base import Autoencoder

Figure = float | int | None


@dataclass(frozen=True)
class Judged:
    """What the scores of one training are worth.

    Attributes:
        anomaly, unseen_kind, threshold: keys of details.json of the same name.
        best: the score to use.
        calibration: of that score.
        weights: of the fused score, by signal; None where there is none.
    """

    anomaly: dict[str, dict[str, dict[str, dict[str, Figure]]]]
    unseen_kind: dict[str, dict[str, dict[str, float | None]]]
    threshold: dict[str, dict[str, Any]]
    best: str
    calibration: Calibration
    weights: dict[str, float] | None


def with_scores(scorer: Scorer, measured: Measured) -> tuple[Scorer, Measured, CrossFitted | None]:
    """The scorer that judges every signal on both sides and weighs all; and the table with scores.

    Where a signal turns is fitted on training and validation normals, the weights on ``val``.
    """
    table = measured.table
    normal = table[table["split"].isin(("train", "val")) & (table["label"] == 0)]
    names = [c.removeprefix("signal_") for c in table.columns if c.startswith("signal_")]
    turns = {n: turning_point(n, normal[f"signal_{n}"].to_numpy()) for n in names}
    signals = {n: torch.from_numpy(table[f"signal_{n}"].to_numpy().copy()) for n in names}
    scorer = replace(scorer, turns=turns)
    fitted = cross_fit(Examples.of(_scored(table, scorer, signals), "val"))
    scorer = replace(scorer, fused=fitted.model if fitted else None)
    table = _scored(table, scorer, signals)
    return scorer, replace(measured, table=table.assign(**columns(table, fitted))), fitted


def _scored(
    table: pd.DataFrame, scorer: Scorer, signals: Mapping[str, torch.Tensor]
) -> pd.DataFrame:
    scores = {f"score_{n}": values.numpy() for n, values in scorer.judged(signals).items()}
    return pd.concat([table, pd.DataFrame(scores, index=table.index)], axis=1)


def judge(table: pd.DataFrame, false_alarm_rate: float, fitted: CrossFitted | None) -> Judged:
    """Figures of every score by split and kind; thresholds from validation normals alone.

    On ``val`` the fused score is judged by models that did not see the people they judge.
    `clarity.choice` names the best score.
    """
    splits, labels = table["split"].to_numpy(), table["label"].to_numpy()
    kinds, groups = table["kind"].to_numpy(), table["group"].to_numpy(str)
    anomaly: dict[str, dict[str, dict[str, dict[str, Figure]]]] = {}
    thresholds: dict[str, dict[str, Any]] = {}
    calibrations: dict[str, Calibration] = {}
    for column in (name for name in table.columns if name.startswith("score_")):
        values = table[column].to_numpy().copy()
        name = column.removeprefix("score_")
        if name == FUSED and fitted is not None:
            values[splits == "val"] = fitted.apart
        anomaly[name] = {}
        for split in JUDGED_SPLITS:
            here = splits == split
            normal = values[here & (labels == 0)]
            positive = here & (labels == 1)
            by_kind = {"all": detection(normal, values[positive])}
            for kind in sorted(set(kinds[positive])):
                by_kind[kind] = detection(normal, values[positive & (kinds == kind)])
            anomaly[name][split] = by_kind
        normal = (splits == "val") & (labels == 0)
        calibrations[name] = calibrate(values[normal], groups[normal], false_alarm_rate)
        line = calibrations[name].threshold(false_alarm_rate)
        seen = {label: values[(splits == "test") & (labels == label)] > line for label in (0, 1)}
        trained_on = values[splits == "train"] > line
        thresholds[name] = {
            "value": line,
            "false_alarm_rate": false_alarm_rate,
            "by": calibrations[name].by,
            "promised": calibrations[name].promised(false_alarm_rate),
            "train_false_alarms": _share(trained_on),
            "test_false_alarms": _share(seen[0]),
            "test_misses": _share(~seen[1]),
            "test_normals": len(seen[0]),
            "test_anomalies": len(seen[1]),
        }
    unseen = unseen_kind(anomaly, table)
    best = best_score([Separation(anomaly=anomaly, unseen_kind=unseen)])[0]
    return Judged(
        anomaly,
        unseen,
        thresholds,
        best,
        calibrations[best],
        weights(fitted.model) if fitted else None,
    )


def _share(flags: np.ndarray) -> float | None:
    return float(flags.mean()) if len(flags) else None


def with_judgement(scorer: Scorer, judged: Judged) -> Scorer:
    """The scorer with its thresholds, the score to use and what that is calibrated by."""
    values = {name: float(entry["value"]) for name, entry in judged.threshold.items()}
    return replace(scorer, thresholds=values, best=judged.best, calibration=judged.calibration)


def panel_alarms(
    model: Autoencoder, scorer: Scorer, shown: Panel, device: torch.device
) -> dict[str, np.ndarray]:
    """By score, which pictures of the panel lie above its threshold: N booleans."""
    scores = scorer.scores(model, torch.from_numpy(shown.pictures).to(device))
    return {n: values.cpu().numpy() > scorer.thresholds[n] for n, values in scores.items()}
