"""``table.md``: the tables for people who read text."""

from __future__ import annotations

from clarity.compare.budgets import TITLES
from clarity.compare.limits import few_sources
from clarity.compare.results import POPULATIONS, QUESTIONS, Results
from clarity.compare.table import LABELS, PREFIX, Row, cell
from clarity.compare.words import listed
from clarity.params import Compare


def as_markdown(table: list[Row], ensembles: list[Row], results: Results, compare: Compare) -> str:
    """Clarity under both budgets on both populations, and detection."""
    level = f"{100 * compare.confidence:g} %"
    scope = (
        f"one seed: intervals are over {results.who}, for this training only"
        if len(results.seeds) == 1
        else f"{len(results.seeds)} seeds: intervals are over {results.who} and trainings"
    )
    parts = [f"Mean [{level} interval]; {scope}. PCA has no seed.", ""]
    for question in QUESTIONS:
        names = [*results.measures, *(["finest"] if question == "alike" else [])]
        prefix = PREFIX[question]
        shown = [row for row in table if row[f"{prefix}test_{results.primary.key}"] is not None]
        if not shown:
            continue
        for split in POPULATIONS:
            parts += [f"## {TITLES[question]}: reconstruction of {results.people(split)}", ""]
            head = ["model", "family", "latent", "parameters", "epochs", "GFLOP an image"]
            head += [LABELS[name] for name in names]
            body = [
                [
                    *_identity(row),
                    *(_number(row[f"{prefix}{name}"]) for name in ("epochs", "gflop")),
                    *(cell(row, f"{prefix}{split}_{name}", name) for name in names),
                ]
                for row in shown
            ]
            parts += [*_markdown(head, body, text=2), ""]
    parts += ["## Anomaly detection on the test split", ""]
    head = ["model", "family", "latent", "parameters", "score"]
    head += ["AUROC, kinds never seen", "AUROC, all"]
    head += [f"AUROC, {kind}" for kind in results.kinds] + ["AP, all", "false alarms", "set for"]
    few = few_sources(results)
    body = [
        [
            *_identity(row),
            row["score"],
            cell(row, "auroc_unseen_kind", "auroc"),
            cell(row, "auroc", "auroc"),
            *(
                f"{row[f'auroc_{kind}']:.3f} (from {few[kind]} sources)"
                if kind in few
                else cell(row, f"auroc_{kind}", "auroc")
                for kind in results.kinds
            ),
            cell(row, "ap", "ap"),
            cell(row, "false_alarms", "false_alarms"),
            "–" if row["false_alarm_rate"] is None else f"{row['false_alarm_rate']:.0%}",
        ]
        for row in table + ensembles
    ]
    parts += _markdown(head, body, text=2)
    for row in ensembles:
        parts += ["", f"{row['model']}: {listed(row['members'])} as one network."]
    if results.masked:
        kinds = ["all", *results.masked]
        head = ["model", "family", "latent", "parameters", *(f"pixel AUROC, {k}" for k in kinds)]
        body = [
            [*_identity(row), *(cell(row, f"pixel_auroc_{k}", "pixel_auroc") for k in kinds)]
            for row in table
        ]
        parts += ["", *_markdown(head, body, text=2)]
    return "\n".join(parts) + "\n"


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.4g}"


def _identity(row: Row) -> list[str]:
    numbers = [f"{row[name]:,}" for name in ("latent", "parameters")]
    return [row["model"], row["family"], *numbers]


def _markdown(head: list[str], body: list[list[str]], text: int) -> list[str]:
    rule = ["---" if place < text else "---:" for place in range(len(head))]
    return ["| " + " | ".join(cells) + " |" for cells in [head, rule, *body]]
