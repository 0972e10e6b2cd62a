"""Markdown that MLflow shows: on runs, on the experiment, and the card of a model version."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from clarity.score.registered import TAG_DATA, TAG_IDENTITY, TAG_STAGE
from clarity.tracking.facts import Dataset, Facts

#: Figures of the run's note and of the card, in this order: metric key, name, format.
HEADLINES = (
    ("test/haarpsi", "HaarPSI, likeness as people see it (1 is identical)", ".4f"),
    ("test/mse", "MSE", ".5f"),
    ("test/psnr", "PSNR, dB", ".2f"),
    ("test/ssim", "SSIM", ".4f"),
    ("test/lsd", "amount of fine detail, distance in dB (LSD)", ".3f"),
    ("test/auroc_unseen_kind", "AUROC, kinds never seen", ".4f"),
    ("test/auroc", "AUROC, all kinds", ".4f"),
    ("test/ap", "anomaly AP", ".4f"),
    ("test/fpr95", "FPR at 95 % TPR", ".4f"),
)


def picture(run_id: str, path: str, text: str) -> str:
    """Markdown of a picture among a run's artifacts, as MLflow's server hands it out."""
    return f"![{text}](get-artifact?path={path}&run_uuid={run_id})"


def figures_table(facts: Facts) -> str:
    """The headline figures on unseen test images."""
    rows = [
        f"| {name} | {facts.metrics[key]:{form}} |"
        for key, name, form in HEADLINES
        if key in facts.metrics
    ]
    return "\n".join(["| figure | on unseen test images |", "|---|---|", *rows])


def what(facts: Facts) -> str:
    """One sentence: which model this is."""
    details = facts.details
    widths = facts.params.get("widths")
    shape = f", widths {widths}" if widths else ""
    if members := details.members:
        return (
            f"**{facts.training.model}**, an ensemble of {', '.join(members)}: the mean of what "
            f"they reconstruct, {details.parameters:,} parameters."
        )
    return (
        f"**{facts.training.model}**, seed {details.seed}: family "
        f"`{details.family}`{shape}, bottleneck of {details.latent:,} elements, "
        f"{details.parameters:,} parameters."
    )


def run_note(facts: Facts, run_id: str, version: str) -> str:
    """What one reads on top of a run's page."""
    lines = [f"{what(facts)} Registered as version {version}."]
    if (facts.training.figures / "grid.png").is_file():
        lines.append(picture(run_id, "figures/grid.png", "original, reconstruction, error map"))
    lines += [
        figures_table(facts),
        f"Anomaly score: `{facts.details.best_score}` (best on validation).",
    ]
    return "\n\n".join(lines)


def model_card(facts: Facts, data: Dataset) -> str:
    """The card of a model version (Mitchell et al. 2019: model, use, data, figures, limits)."""
    best = facts.details.best_score
    threshold = facts.details.threshold.get(best)
    kinds = sorted(
        (key.removeprefix("test by kind/auroc "), value)
        for key, value in facts.metrics.items()
        if key.startswith("test by kind/auroc ")
    )
    rows = ", ".join(f"{name} {count:,}" for name, count in sorted(data.rows.items()))
    licence = data.source.get("licence") or data.source.get("license")
    lines = [
        f"# {facts.training.name}",
        what(facts),
        "## Use",
        f"Scores images of {facts.shape} of the kind it was trained on: the further one lies from "
        f"what the autoencoder can reconstruct, the higher `{best}`. Not for identifying people, "
        "nor for decisions about them.",
        "## Figures",
        figures_table(facts),
    ]
    if kinds:
        lines.append("AUROC by kind: " + ", ".join(f"{kind} {value:.3f}" for kind, value in kinds))
    if threshold and threshold.value is not None:
        lines.append(
            f"Threshold {threshold.value:.6g}, set on validation normals alone at a false-alarm "
            f"rate of {threshold.false_alarm_rate:.0%}; of the test images it calls "
            f"{_share(threshold.test_false_alarms)} of the normals anomalous and misses "
            f"{_share(threshold.test_misses)} of the anomalies."
        )
    lines += [
        "## Data",
        f"`{data.name}`, digest `{data.digest}`; images: {rows}."
        + (f" Licence: {licence}." if licence else ""),
        "## Limits",
        "Figures hold for images like the test set's; anomalies may be synthetic (see the kinds "
        "above). Intervals and verdicts over all models are on the `comparison` run.",
        "## Origin",
        f"DVC stage `{facts.tags[TAG_STAGE]}`, training fingerprint `{facts.fingerprint}`, "
        f"data `{facts.tags[TAG_DATA]}`, identity `{facts.tags[TAG_IDENTITY]}`. "
        f"`clarity lineage` prints the chain, `clarity restore` rebuilds it.",
    ]
    return "\n\n".join(lines) + "\n"


def _share(value: float | None) -> str:
    return "an unknown share" if value is None else f"{value:.1%}"


def sentences(verdicts: Any) -> list[str]:
    """Every ``sentence`` in verdicts.json, in the file's order; each once.

    What stands below a sentence only explains it: "needs at least 2 more seeds" says nothing alone.
    """
    if isinstance(verdicts, dict):
        if isinstance(verdicts.get("sentence"), str):
            return [verdicts["sentence"]]
        return _unique(line for value in verdicts.values() for line in sentences(value))
    if isinstance(verdicts, list):
        return _unique(line for value in verdicts for line in sentences(value))
    return []


def _unique(lines: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(lines))


def experiment_note(verdicts: Any, table: str, view: str) -> str:
    """What one reads on top of the experiment: the question, the answer, where to look."""
    found = sentences(verdicts)
    lines = [
        "## Does a larger autoencoder reconstruct more clearly?",
        "\n".join(f"- {line}" for line in found),
        table.strip(),
        f"[Charts and pictures side by side]({view}) · the report is an artifact of the run "
        "`comparison`.",
    ]
    text = "\n\n".join(line for line in lines if line)
    return text if len(text) < 15_000 else text[:15_000] + " …"
