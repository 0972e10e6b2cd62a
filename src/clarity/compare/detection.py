"""What the page says of detectors beside the findings: who was chosen, and the alarms made."""

from __future__ import annotations

import math
from typing import Any

from clarity.choice import FUSED, PANEL
from clarity.compare.glossary import SCORES, signal
from clarity.compare.results import ModelResults, Results
from clarity.compare.table import Row
from clarity.compare.words import listed, whole
from clarity.details import PanelFigures
from clarity.params import SYNTHETIC

#: An AUROC nearer than this to that of a coin is called near chance.
CHANCE = 0.1
#: Of which images a synthetic kind makes hardly an anomaly.
HARDLY = {
    "cutpaste": "where every part of an image looks alike, a part pasted elsewhere is none",
    "occlusion": "an even surface covered with its own colour is none",
    "shuffled": "an even texture in another order is none",
    "inverted": "round or symmetric parts turned by 180° are none",
}


def near_chance(results: Results, table: list[Row]) -> list[str]:
    """A sentence for each kind of anomaly that no model here tells from normal images."""
    told = []
    for kind in results.kinds:
        areas = [row[f"auroc_{kind}"] for row in table]
        if any(abs(area - 0.5) >= CHANCE for area in areas):
            continue
        low, high = f"{min(areas):.2f}", f"{max(areas):.2f}"
        reached = low if low == high else f"{low} to {high}"
        text = f"No model tells {kind} from normal images (AUROC {reached}; 0.5 is chance)"
        if kind in SYNTHETIC:
            why = HARDLY.get(kind, "they may be none to these images")
            text += (
                f". That need not be the detectors’ fault: these anomalies are made, and {why}. "
                f"Without {kind} in preprocess.anomalies.kinds it is left out"
            )
        else:
            text += (
                f". Look whether you see it in {results.size} pixels; preprocess.size makes "
                "images larger"
            )
        told.append(f"{text}.")
    return told


def chosen(results: Results, best: ModelResults | None) -> str:
    """How the best autoencoder was chosen, and what PCA, left out of that choice, has there."""
    if best is None:
        return ""
    text = (
        "The best autoencoder is the one with the largest AUROC on validation images, averaged "
        f"over their kinds of anomaly ({listed(_chosen_by(results))}), each of which its score "
        f"was fitted without: {best.name}, {best.val_auroc:.3f} there."
    )
    others = [f"{m.name} has {m.val_auroc:.3f}" for m in results.linear]
    if others:
        verb = "is" if len(others) == 1 else "are"
        text += (
            f" PCA, with which it is compared, {verb} left out of that choice: {listed(others)}."
        ).replace("PCA, with which it is compared, are", "The PCAs, with which it is compared, are")
    return text


def _chosen_by(results: Results) -> list[str]:
    """The kinds of ``val`` that its mean is over: see `clarity.evaluate.unseen.unseen_kind`."""
    known, judged = results.kinds_of("val"), results.kinds_of("gate")
    return [kind for kind in known if kind in judged] or known


def _seen(results: Results, told: bool) -> str:
    """What the scores in use had seen of the kinds that they are judged by."""
    common = results.kinds_in_val
    if not common:
        return (
            f"The scores were fitted to {listed(results.kinds_of('val'))} and have seen none of "
            "the kinds of the test split: both columns are of kinds never seen."
        )
    if not told:
        return (
            f"Here no score could be fitted without a kind: {listed(common)} stood in validation "
            "images too, and the score in use is the one that told it best there. So both columns "
            "are of what was seen in that choice, and look better than they will be."
        )
    of = "each" if common == list(results.kinds) else listed(common)
    return f"A score of all kinds has seen examples of {of} and looks better than it will be."


def unseen(results: Results, table: list[Row]) -> dict[str, Any] | None:
    """Each model's AUROC against kinds it was not fitted to, and which signal says what.

    The signals are those of the fused score, by their share of all weight, from the heaviest on.
    """
    rows = [row for row in table if row["auroc_unseen_kind"] is not None]
    if not rows:
        return None
    told = [(row, _weights(results.by_name(row["model"]))) for row in rows]
    names = sorted({name for _, weights in told for name, _ in weights}, key=_in_order)
    return {
        "rows": [
            (row, ", ".join(f"{name} {whole(share)}" for name, share in weights))
            for row, weights in told
        ],
        "weighed": bool(names),
        "seen": _seen(
            results, any(results.by_name(row["model"]).best_score == FUSED for row in rows)
        ),
        "signals": [(name, text) for name in names if (text := signal(name))],
    }


def _in_order(name: str) -> tuple[str, int]:
    """Signals of one sort by their number."""
    sort, _, number = name.partition("_")
    return sort, int(number) if number.isdecimal() else 0


def _weights(model: ModelResults) -> list[tuple[str, float]]:
    """Signals with their mean share over seeds, of those that round to one per cent."""
    if model.best_score != FUSED:
        return []
    found = [content.fused_weights or {} for content in model.details]
    mean = {name: sum(one.get(name, 0.0) for one in found) / len(found) for name in found[0]}
    ordered = sorted(mean.items(), key=lambda one: (-one[1], one[0]))
    return [(name, share) for name, share in ordered if share >= 0.005]


def ensembles(rows: list[Row]) -> list[tuple[str, str]]:
    """What each ensemble is made of, in words."""
    return [(row["model"], listed(row["members"])) for row in rows]


def obvious(results: Results) -> list[tuple[str, str]]:
    """Models that call an obviously wrong picture normal, and which, in any seed."""
    found = []
    for model in results.detectors:
        passed: dict[str, float] = {}
        for content in model.details:
            entry = content.panel.get(model.best_score, PanelFigures())
            for kind, share in entry.let_through.items():
                passed[kind] = max(share, passed.get(kind, 0.0))
        if passed:
            found.append((model.name, ", ".join(PANEL.get(kind, kind) for kind in passed)))
    return found


def scores(results: Results) -> list[tuple[str, str]]:
    """The anomaly scores that models here use, each with its meaning."""
    used = {model.best_score for model in results.detectors}
    return [(name, text) for name, text in SCORES.items() if name in used] + [
        (name, "a score of another version") for name in sorted(used - set(SCORES))
    ]


def alarms(results: Results, table: list[Row]) -> dict[str, Any] | None:
    """The false alarms made on test images beside the rate set, and why they differ."""
    rows = [row for row in table if row["false_alarms"] is not None]
    if not rows:
        return None
    validation = results.index[(results.index["split"] == "val") & (results.index["label"] == 0)]
    groups = validation["group"].nunique()
    rate = whole(rows[0]["false_alarm_rate"])
    found = [row["false_alarms"] for row in rows]
    made = f"{min(found):.0%} to {max(found):.0%}".replace("%", " %")
    of = f" of {groups:,} {results.who}" if results.grouped else ""
    if not all(_promised(results.by_name(row["model"])) for row in rows):
        needed = math.ceil(round(1 / rows[0]["false_alarm_rate"], 9)) - 1
        text = (
            f"Each threshold is the largest score of the {len(validation):,} normal validation "
            f"images{of}: too few for a rate of {rate} to be promised, which takes {needed:,}."
        )
    else:
        text = (
            f"Each threshold was set on the {len(validation):,} normal validation images{of}, so "
            f"that {rate} of images like these raise an alarm."
        )
    text += f" On {results.people('test')}, {made} did."
    if results.grouped and groups < 20:
        text += (
            f" {groups} {results.who} are few to set a threshold on: images of one are alike, and "
            f"another {groups} would have given another threshold."
        )
    return {"rows": rows, "text": text}


def _promised(model: ModelResults) -> bool:
    """Whether its false-alarm rate is; evaluations from before say nothing of it."""
    return all(
        one.threshold[model.best_score].promised
        for one in model.details
        if model.best_score in one.threshold
    )
