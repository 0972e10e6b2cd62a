"""The rule by which a challenger becomes champion: numbers in, a ruling out. No I/O, no MLflow."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clarity.evaluate.panel import named
from clarity.params import UNSEEN, Gate
from clarity.statistics import GateDecision, gate_decision, spent_confidence


@dataclass(frozen=True)
class Candidate:
    """One version, measured on the gate split beside its opponent.

    Attributes:
        label: how messages call it: ``version 3 (conv-small-0)``.
        values: N, by image of the gate split: anomaly scores where the gate's metric is an AUROC
            (higher is more anomalous), else distances from the original (lower is better).
        figure: the metric itself, for the record.
        false_alarm_rate: share of the split's normals above the version's own threshold.
        stated_rate: the share that its threshold was set for.
        latency: median seconds of one image, timed alternately with the opponent's.
        size: bytes of the weights.
        let_through: share of each kind of obvious picture that it calls normal, of those that pass.
        panel: mean of that share over all kinds of obvious pictures.
        unseen: by kind of anomaly, N scores that were not fitted to it; where the metric asks.
        fitted_to_all: it does not say what its score is without a kind: it has seen every one.
    """

    label: str
    values: NDArray[np.float64]
    figure: float
    false_alarm_rate: float
    stated_rate: float
    latency: float
    size: int
    let_through: Mapping[str, float] = field(default_factory=dict)
    panel: float = 0.0
    unseen: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)
    fitted_to_all: bool = False


@dataclass(frozen=True)
class Ruling:
    """What the gate says, why in one line, and every number it looked at."""

    promote: bool
    reason: str
    numbers: dict[str, Any]


def rule(
    challenger: Candidate,
    champion: Candidate,
    labels: NDArray[np.int8],
    groups: NDArray[np.str_],
    kinds: NDArray[np.str_],
    gate: Gate,
    *,
    question: int = 1,
    foreign: bool = False,
) -> Ruling:
    """Promote if better by more than the margin, with confidence, and no guard is broken.

    Args:
        challenger, champion: measured on the same N images.
        labels: N, 0 normal, 1 anomalous.
        groups: N, the person (or folder) of each image.
        kinds: N, the kind of each anomaly; their mix is taken as given.
        gate: metric, margin, confidence and guards of ``params.yaml``.
        question: which question this is to the same people, from 1 on; counts with ``gate.spend``.
        foreign: the champion was trained on other data: what it is worse or better by is asked all
            the same, but its speed, size and false alarms bind nobody.
    """
    confidence = spent_confidence(gate.confidence, question) if gate.spend else gate.confidence
    apart = gate.metric == UNSEEN
    decision = gate_decision(
        challenger.unseen if apart else challenger.values,
        champion.unseen if apart else champion.values,
        labels,
        groups,
        gate.margin,
        confidence,
        metric=gate.metric,
        kinds=kinds,
    )
    broken = over_budget(challenger, gate)
    if not foreign:
        broken += broken_guards(challenger, champion, gate)
    promote = decision.promote and not broken
    reason = decision.reason
    for one in (challenger, champion):
        if one.fitted_to_all:
            reason += f"; {one.label}, evaluated before that was kept, has seen every kind"
    if broken:
        reason += "; guard broken: " + "; ".join(broken)
    return Ruling(promote, reason, _numbers(decision, challenger, champion, gate))


def broken_guards(challenger: Candidate, champion: Candidate, gate: Gate) -> list[str]:
    """Every guard against the champion that the challenger breaks, in words; empty is a pass.

    False alarms are held against the champion's rate or the rate that the challenger's threshold
    was set for, whichever is higher: a champion that was lucky on this split sets no bar below
    what was asked for.
    """
    guards = gate.guards
    broken = []
    if guards.false_alarms is not None:
        allowed = max(champion.false_alarm_rate, challenger.stated_rate) + guards.false_alarms
        if challenger.false_alarm_rate > allowed + 1e-12:
            broken.append(
                f"false alarms {challenger.false_alarm_rate:.1%}, at most {allowed:.1%} allowed "
                "(gate.guards.false_alarms)"
            )
    ratio = challenger.latency / champion.latency
    if guards.latency is not None and ratio > guards.latency:
        broken.append(
            f"{ratio:.1f} times the champion's latency, at most {guards.latency:g} allowed "
            "(gate.guards.latency)"
        )
    ratio = challenger.size / champion.size
    if guards.size is not None and ratio > guards.size:
        broken.append(
            f"{ratio:.1f} times the champion's size, at most {guards.size:g} allowed "
            "(gate.guards.size)"
        )
    return broken


def over_budget(challenger: Candidate, gate: Gate) -> list[str]:
    """Every bound of its own that a version breaks, in words: budgets, and what it lets through.

    They hold whoever is champion, or nobody.
    """
    guards, broken = gate.guards, []
    milliseconds, megabytes = challenger.latency * 1e3, challenger.size / 1e6
    if guards.milliseconds is not None and milliseconds > guards.milliseconds:
        broken.append(
            f"{milliseconds:.1f} ms an image, at most {guards.milliseconds:g} allowed "
            "(gate.guards.milliseconds)"
        )
    if guards.megabytes is not None and megabytes > guards.megabytes:
        broken.append(
            f"weights of {megabytes:.1f} MB, at most {guards.megabytes:g} allowed "
            "(gate.guards.megabytes)"
        )
    if guards.panel is not None and challenger.panel > guards.panel + 1e-12:
        broken.append(
            f"{challenger.panel:.0%} of the obvious pass as normal "
            f"({named(challenger.let_through)}), at most {guards.panel:.0%} allowed "
            "(gate.guards.panel)"
        )
    return broken


def _numbers(
    decision: GateDecision, challenger: Candidate, champion: Candidate, gate: Gate
) -> dict[str, Any]:
    """For the history: rounded to what means something, nothing that JSON cannot hold."""
    interval = decision.interval
    return {
        "metric": gate.metric,
        "margin": gate.margin,
        "confidence": _round(decision.confidence),
        "improvement": _round(interval.estimate),
        "lower_bound": _round(decision.lower_bound),
        "people": interval.groups,
        "images": interval.images,
        "people_needed": decision.people_needed,
        "challenger": figures(challenger),
        "champion": figures(champion),
    }


def figures(candidate: Candidate) -> dict[str, Any]:
    """A candidate's own numbers, for the history."""
    return {
        "figure": _round(candidate.figure),
        "false_alarm_rate": _round(candidate.false_alarm_rate),
        "latency_ms": _round(candidate.latency * 1000),
        "bytes": candidate.size,
        "panel_let_through": _round(candidate.panel),
    }


def _round(value: float) -> float | None:
    return float(f"{value:.6g}") if math.isfinite(value) else None
