"""What the fused score is worth where it has not seen what it judges: neither people nor kind."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from clarity.choice import FUSED, unseen_column
from clarity.evaluate.anomaly import detection
from clarity.evaluate.fused import Examples, Flags, Floats, Fused
from clarity.layout import JUDGED_SPLITS


@dataclass(frozen=True)
class CrossFitted:
    """The fused score, and what it is worth where it did not see what it judges.

    Attributes:
        model: fitted to all of ``val``; for each of its kinds it knows itself without that.
        apart: N, the score of every image of ``val`` by a model that has seen nobody of its part of
            the people.
        unseen: by kind, the same by models that have seen neither its people nor the kind.
    """

    model: Fused
    apart: Floats
    unseen: Mapping[str, Floats]


def cross_fit(val: Examples) -> CrossFitted | None:
    """Fit on ``val``, and judge there by cross-fitting with people and kinds apart.

    Returns:
        None where that cannot be judged (fewer than two kinds of anomaly, or than two pictures), or
        where no signal tells the anomalies from the normals.
    """
    folds, kinds = val.folds(), val.known_kinds
    parts = np.unique(folds[~val.anomalous])
    if len(kinds) < 2 or len(parts) < 2:
        return None
    everyone = np.ones(len(folds), bool)
    model = val.fit(everyone)
    if not model.weights.any():
        return None

    def by_parts(use: Flags) -> Floats:
        found = np.empty(len(folds))
        for part in np.unique(folds):
            here = folds == part
            found[here] = val.score(val.fit(use & ~here), here)
        return found

    without = {kind: val.fit(val.kinds != kind) for kind in kinds}
    kept = {kind: (one.weights, one.offset) for kind, one in without.items()}
    return CrossFitted(
        replace(model, without=kept),
        by_parts(everyone),
        {kind: by_parts(val.kinds != kind) for kind in kinds},
    )


def unseen_kind(
    anomaly: Mapping[str, Any], table: pd.DataFrame
) -> dict[str, dict[str, dict[str, float | None]]]:
    """AUROC of every score by split and kind, left out of the fit, and the mean over kinds.

    A single score is fitted to no anomaly: its figures are those of ``anomaly``. The mean on
    ``val``, by which scores and models are chosen, is over the kinds that ``gate`` has too, where
    there are such: synthetic kinds that ``val`` alone has are there to be fitted to.

    Args:
        anomaly: of details.json, by score, split and kind.
        table: per_image.parquet, with its `columns`.
    """
    found: dict[str, dict[str, dict[str, float | None]]] = {}
    for name, splits in anomaly.items():
        found[name] = {}
        common = set(splits.get("val", ())) & set(splits.get("gate", ())) - {"all"}
        for split, kinds in splits.items():
            by_kind = {kind: one["auroc"] for kind, one in kinds.items() if kind != "all"}
            if name == FUSED:
                by_kind = {kind: _area(kind, table[table["split"] == split]) for kind in by_kind}
            counted = common if split == "val" and common else set(by_kind)
            known = [one for k in sorted(counted) if (one := by_kind[k]) is not None]
            found[name][split] = by_kind | {"mean": float(np.mean(known)) if known else None}
    return found


def _area(kind: str, images: pd.DataFrame) -> float | None:
    scores = images[unseen_column(kind, FUSED, images.columns)].to_numpy()
    anomalous = (images["label"] == 1).to_numpy()
    mine = anomalous & (images["kind"] == kind).to_numpy()
    area = detection(scores[~anomalous], scores[mine])["auroc"]
    return None if area is None else float(area)


def columns(table: pd.DataFrame, fitted: CrossFitted | None) -> dict[str, Floats]:
    """``unseen_KIND`` of per_image.parquet: the fused score by the model fitted without that kind.

    N values each; on ``val`` by models that have not seen the image's people either; NaN on
    ``train``. Only kinds of ``val`` have one: any other is unseen by the fused score itself.
    """
    found: dict[str, Floats] = {}
    if fitted is None:
        return found
    examples = {split: Examples.of(table, split) for split in JUDGED_SPLITS if split != "val"}
    places = {split: (table["split"] == split).to_numpy() for split in JUDGED_SPLITS}
    for kind in fitted.unseen:
        model, values = fitted.model.unseen(kind), np.full(len(table), np.nan)
        values[places["val"]] = fitted.unseen[kind]
        for split, part in examples.items():
            values[places[split]] = part.score(model, np.ones(len(part.kinds), bool))
        found[f"unseen_{kind}"] = values
    return found
