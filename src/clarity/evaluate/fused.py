"""One score out of all: what each signal says, weighed by a small monotone model.

A logistic regression over the standardised scores of one training, with a penalty on the squared
weights and no weight below zero, so that no signal can call an image more normal for being more
unusual. One of what it weighs is ``joint``: how unusual all scores are together, which asks no
anomaly. Fitted on ``val`` alone, where normals count half and every kind of anomaly an equal share
of the other half. docs/metrics/anomaly-scores.md has the equations.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from clarity.choice import FUSED
from clarity.evaluate.parts import BAND_NAMES, SHARE_NAMES
from clarity.evaluate.sides import TINY, scaled
from clarity.layout import made_of

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

#: Scores that it does not take: those made of others already; and one that beside the others does
#: not raise the figure over kinds left out, and costs as much as a small network's forward pass.
LEFT_OUT = ("combined", "ssim", FUSED)
#: Scores that ``joint`` takes alone: the error's power in a band, and how much detail there is, say
#: little by themselves.
ONLY_JOINT = (*BAND_NAMES, "lsd")
#: Scores that ``joint`` leaves out: they follow from two others.
NOT_JOINT = SHARE_NAMES
JOINT = "joint"
#: Weight of half the sum of squared weights against the mean logistic loss.
PENALTY = 0.1
#: A standardised score above this counts as this in the fit: one wild image must not settle it.
FARTHEST = 8.0
#: A standardised score below this, negated, counts as this: looking better than usual in one way
#: must not excuse what is unusual in another.
NEAREST = 3.0
#: Standardised scores beyond this, either way, count as this in ``joint``.
OUTERMOST = 30.0
#: Parts that the people of ``val`` are cut into for cross-fitting.
FOLDS = 5


@dataclass(frozen=True)
class Fused:
    """The fitted model: S scores go in, T terms are weighed, the last of them ``joint``.

    Attributes:
        signals: names of the scores that it takes.
        centre, spread: S each, on the scale on which each is judged, over validation normals.
        precision: J×J, inverse of the shrunk correlations of those that ``joint`` takes.
        familiar: J, where training normals lie on the average, standardised: an image counts as
            usual between there and 0, since what a model was trained on it reconstructs better.
        joint: mean and deviation of its logarithm over validation normals.
        weights: T, of the standardised terms, none below zero.
        least: standardised terms below this count as this.
        offset: added, so that the fused score of validation normals has mean 0 and deviation 1.
        without: by kind of anomaly, weights and offset of the model fitted without it: all else
            follows from normals alone, so is the same. Empty where that was not kept.
        only_joint: names of scores that ``joint`` takes and that are not weighed themselves.
    """

    signals: tuple[str, ...]
    centre: Floats
    spread: Floats
    precision: Floats
    familiar: Floats
    joint: tuple[float, float]
    weights: Floats
    offset: float
    least: float = -NEAREST
    without: Mapping[str, tuple[Floats, float]] = field(default_factory=dict)
    only_joint: tuple[str, ...] = ONLY_JOINT

    def unseen(self, kind: str) -> Fused:
        """The model that has not seen this kind: this one, if it was fitted to none of it."""
        if kind not in self.without:
            return self
        weights, offset = self.without[kind]
        return replace(self, weights=weights, offset=offset, without={})

    @property
    def terms(self) -> tuple[str, ...]:
        """T names of what is weighed."""
        return (*(name for name in self.signals if name not in self.only_joint), JOINT)

    def needs(self) -> tuple[str, ...]:
        """Scores without which there is no fused score."""
        weighed = dict(zip(self.terms, self.weights, strict=True))
        joint = weighed[JOINT] > 0
        return tuple(
            n for n in self.signals if weighed.get(n, 0) > 0 or (joint and n not in NOT_JOINT)
        )

    def standardised(self, judged: Floats) -> Floats:
        """N×S scores, on the scale on which each is judged, as N×T terms."""
        z = (judged - self.centre) / self.spread
        own = [k for k, name in enumerate(self.signals) if name not in self.only_joint]
        distance = _log_distance(z, self.signals, self.precision, self.familiar)
        log = (distance - self.joint[0]) / self.joint[1]
        return np.maximum(np.column_stack([z[:, own], log]), self.least)

    def shares(self, scores: Mapping[str, Tensor]) -> Floats:
        """What each term adds to the score of N images: N×T; about 0 for a normal.

        A score that is not needed may be missing.
        """
        count = len(next(iter(scores.values())))
        columns = [
            scaled(name, scores[name].double()).cpu().numpy()
            if name in scores
            else np.full(count, centre)
            for name, centre in zip(self.signals, self.centre, strict=True)
        ]
        found: Floats = self.standardised(np.stack(columns, axis=1)) * self.weights
        return found

    def __call__(self, scores: Mapping[str, Tensor]) -> Tensor:
        """The fused score of N images, float64: standard deviations above the usual normal."""
        device = next(iter(scores.values())).device
        return torch.from_numpy(self.shares(scores).sum(1) + self.offset).to(device)

    def leading(self, scores: Mapping[str, Tensor], count: int = 2) -> list[tuple[str, ...]]:
        """The terms that raised the score of each of N images most, at most ``count`` each.

        What raised it by nothing, or lowered it, is not named.
        """
        shares = self.shares(scores)
        order = np.argsort(-shares, axis=1, kind="stable")[:, :count]
        return [
            tuple(self.terms[k] for k in row if shares[n, k] > 0) for n, row in enumerate(order)
        ]

    def as_numbers(self) -> dict[str, Any]:
        """For JSON; `from_numbers` reads it."""
        return {
            "signals": list(self.signals),
            **{name: getattr(self, name).tolist() for name in _ARRAYS},
            "joint": list(self.joint),
            "offset": self.offset,
            "least": self.least,
            "only_joint": list(self.only_joint),
            "without": {
                kind: {"weights": weights.tolist(), "offset": offset}
                for kind, (weights, offset) in self.without.items()
            },
        }

    @classmethod
    def from_numbers(cls, numbers: Mapping[str, Any]) -> Fused:
        """What `as_numbers` wrote; also before training normals had a part in it, and before it
        said what `joint` alone takes."""
        if "familiar" not in numbers:
            nowhere = [0.0] * len(numbers["precision"])
            numbers = {**numbers, "familiar": nowhere, "least": -np.inf}
        arrays = {name: np.array(numbers[name], np.float64) for name in _ARRAYS}
        first, second = numbers["joint"]
        return cls(
            signals=tuple(numbers["signals"]),
            joint=(first, second),
            offset=float(numbers["offset"]),
            least=float(numbers["least"]),
            only_joint=tuple(numbers.get("only_joint", BAND_NAMES)),
            without={
                kind: (np.array(one["weights"], np.float64), float(one["offset"]))
                for kind, one in numbers.get("without", {}).items()
            },
            **arrays,
        )


_ARRAYS = ("centre", "spread", "precision", "familiar", "weights")


def _log_distance(
    z: Floats, signals: tuple[str, ...], precision: Floats, familiar: Floats
) -> Floats:
    """Logarithm of the Mahalanobis distance of N×S standardised scores from the nearest point
    between the unseen normals' mean, 0, and the training normals', N."""
    near = z[:, _joint(signals)].clip(-OUTERMOST, OUTERMOST)
    towards = precision @ familiar
    length = familiar @ towards
    if length > 0:
        near = near - np.outer((near @ towards / length).clip(0, 1), familiar)
    squared = ((near @ precision) * near).sum(1)
    found: Floats = np.log(np.maximum(squared, TINY)) / 2
    return found


def _joint(signals: tuple[str, ...]) -> list[int]:
    """Which of the scores ``joint`` takes."""
    return [k for k, name in enumerate(signals) if name not in NOT_JOINT]


def _around(*parts: Floats) -> Floats:
    """The rows of all parts, each around its own part's mean, weighed so that parts count alike.

    Few people in ``val`` say little about how signals vary together; training normals say more.
    """
    mean = sum(map(len, parts)) / len(parts)
    return np.concatenate([(part - part.mean(0)) * (mean / len(part)) ** 0.5 for part in parts])


@dataclass(frozen=True)
class Examples:
    """The images of a split that a fused score is fitted to or judged on, N rows.

    Attributes:
        scores: N×S on the scale on which each is judged.
        familiar: M×S, those of the training normals.
        anomalous, kinds: N each.
        groups: N; where all normals are of one, the image that each is, or was made from.
    """

    signals: tuple[str, ...]
    scores: Floats
    familiar: Floats
    anomalous: Flags
    kinds: NDArray[np.str_]
    groups: NDArray[np.str_]

    @classmethod
    def of(cls, table: pd.DataFrame, split: str) -> Examples:
        """From ``per_image.parquet``."""
        names = [c.removeprefix("score_") for c in table.columns if c.startswith("score_")]
        signals = tuple(name for name in names if name not in LEFT_OUT)

        def judged(rows: pd.DataFrame) -> Floats:
            columns = [
                scaled(name, torch.from_numpy(rows[f"score_{name}"].to_numpy().copy())).numpy()
                for name in signals
            ]
            return np.stack(columns, axis=1)

        part = table[table["split"] == split]
        anomalous, kinds = part["label"].to_numpy() == 1, part["kind"].to_numpy(str)
        groups = part["group"].to_numpy(str)
        if len(set(groups[~anomalous])) == 1:  # nobody to leave out; leave out pictures
            pairs = zip(part["id"], kinds, strict=True)
            groups = np.array([made_of(name, kind) for name, kind in pairs])
        return cls(
            signals,
            judged(part),
            judged(table[table["split"] == "train"]),
            anomalous,
            kinds,
            groups,
        )

    @property
    def known_kinds(self) -> tuple[str, ...]:
        """Kinds of anomaly, sorted."""
        return tuple(sorted(set(self.kinds[self.anomalous])))

    def fit(self, use: Flags) -> Fused:
        """The model fitted to these rows."""
        from sklearn.covariance import ledoit_wolf

        normal = self.scores[use & ~self.anomalous]
        centre, spread = normal.mean(0), np.maximum(normal.std(0), 1e-9)
        z = (normal - centre) / spread
        joint = _joint(self.signals)
        seen = ((self.familiar - centre) / spread)[:, joint].clip(-OUTERMOST, OUTERMOST)
        familiar = seen.mean(0)
        correlations, _ = ledoit_wolf(_around(z[:, joint], seen), assume_centered=True)
        precision = np.linalg.inv(correlations + 1e-6 * np.eye(len(correlations)))
        log = _log_distance(z, self.signals, precision, familiar)
        blank = Fused(
            self.signals,
            centre,
            spread,
            precision,
            familiar,
            (float(log.mean()), max(float(log.std()), 1e-9)),
            np.zeros(0),
            0.0,
        )
        far = np.minimum(blank.standardised(self.scores[use]), FARTHEST)
        weights = _regression(far, self.anomalous[use], self.kinds[use])
        own = blank.standardised(normal) @ weights
        scale = max(float(own.std()), 1e-9) if weights.any() else 1.0
        return replace(blank, weights=weights / scale, offset=-float(own.mean()) / scale)

    def score(self, model: Fused, rows: Flags) -> Floats:
        """The fused score of these rows."""
        found: Floats = model.standardised(self.scores[rows]) @ model.weights + model.offset
        return found

    def folds(self) -> NDArray[np.int64]:
        """N numbers: which part of the people each image is in; nobody is in two.

        Groups in the order of their first normal, then those that have none (photographs).
        """
        first = [*self.groups[~self.anomalous], *self.groups[self.anomalous]]
        place = {group: number % FOLDS for number, group in enumerate(dict.fromkeys(first))}
        return np.array([place[group] for group in self.groups], np.int64)


def _regression(x: Floats, anomalous: Flags, kinds: NDArray[np.str_]) -> Floats:
    """Weights (T, none below zero) of the penalised logistic regression on N×T terms."""
    from scipy.optimize import minimize

    share = np.zeros(len(x))
    share[~anomalous] = 0.5 / max((~anomalous).sum(), 1)
    known = sorted(set(kinds[anomalous]))
    for kind in known:
        mine = anomalous & (kinds == kind)
        share[mine] = 0.5 / len(known) / mine.sum()
    sign = np.where(anomalous, 1.0, -1.0)

    def loss(values: Floats) -> tuple[float, Floats]:
        weights = values[:-1]
        margin = sign * (x @ weights + values[-1])
        slope = -share * sign * np.exp(-np.logaddexp(0, margin))
        value = share @ np.logaddexp(0, -margin) + PENALTY / 2 * weights @ weights
        return float(value), np.append(x.T @ slope + PENALTY * weights, slope.sum())

    bounds = [(0.0, None)] * x.shape[1] + [(None, None)]
    start = np.zeros(x.shape[1] + 1)
    solved = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds)
    weights: Floats = solved.x[:-1]
    return weights


def weights(model: Fused) -> dict[str, float]:
    """By term, its share of all weight: which signal says what."""
    total = float(model.weights.sum()) or 1.0
    return {n: float(w) / total for n, w in zip(model.terms, model.weights, strict=True)}
