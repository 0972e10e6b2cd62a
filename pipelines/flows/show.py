"""What a run leaves for the eye in Prefect's UI: progress, the table, verdicts, pictures.

Artifacts are a view: where one cannot be made the run goes on.
"""

from __future__ import annotations

import base64
import io
import json
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import UUID

import pandas as pd
from PIL import Image
from prefect.artifacts import (
    create_markdown_artifact,
    create_progress_artifact,
    update_progress_artifact,
)

from clarity.layout import MLRUNS, REPORTS
from clarity.redact import without_account
from pipelines.stages.stage import EPOCH

if TYPE_CHECKING:
    from clarity.score.drift import Report

#: Where MLflow's UI is, for links, where it is not a server that MLFLOW_TRACKING_URI names.
UI = "CLARITY_MLFLOW_UI"
#: A picture travels inside its artifact, at most so many bytes of it.
LARGEST_PICTURE = 400_000
#: Names in a list.
LISTED = 20
TABLE = "|---|---|---|"


def key(name: str) -> str:
    """An artifact key of a stage's name: lower-case letters, digits and dashes."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


class Progress:
    """A progress artifact, fed by the lines that a training prints (:data:`EPOCH`)."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._artifact: UUID | None = None
        self._shown = 0.0

    def read(self, line: str) -> None:
        """Move the bar where the line says so."""
        match = EPOCH.match(line)
        if match and int(match[2]):
            self._show(min(100.0, 100 * int(match[1]) / int(match[2])))

    def done(self) -> None:
        """The stage ended well; a bar that was begun is complete."""
        if self._artifact is not None:
            self._show(100.0)

    def _show(self, percent: float) -> None:
        if self._artifact is None:
            artifact = create_progress_artifact(
                percent, key=f"progress-{key(self.name)}", description=f"Epochs of {self.name}"
            )
            assert isinstance(artifact, UUID)
            self._artifact = artifact
        # Each update is a request; a percent is all that can be seen.
        elif percent - self._shown >= 1 or percent == 100 != self._shown:
            update_progress_artifact(self._artifact, percent)
        else:
            return
        self._shown = percent


def summary(ended: Sequence[str], failed: Mapping[str, str], not_run: Sequence[str]) -> None:
    """A table of the stages and what became of them."""
    rows = [f"| `{name}` | done | |" for name in ended]
    rows += [f"| `{name}` | **failed** | {_cell(cause)} |" for name, cause in failed.items()]
    rows += [f"| `{name}` | not run | depends on a stage that failed |" for name in not_run]
    create_markdown_artifact(
        "\n".join(["| stage | result | |", "|---|---|---|", *rows]),
        key="stages",
        description="What this run did",
    )


def results(flow_run: str) -> None:
    """The comparison table, verdicts, links to the flow's MLflow runs, and figures, if any."""
    table, verdicts = REPORTS / "table.md", REPORTS / "verdicts.json"
    parts = []
    if verdicts.exists():
        parts += ["## Verdicts", *(f"- {line}" for line in sentences(verdicts))]
    if table.exists():
        parts += ["## Comparison", table.read_text()]
    if not parts:
        return
    if links := mlflow_links(flow_run):
        parts += ["## Runs in MLflow", *links]
    create_markdown_artifact(
        "\n\n".join(parts), key="comparison", description="Every model, with intervals"
    )
    for picture in sorted((REPORTS / "figures").glob("*.png")):
        _picture(picture, f"figure-{key(picture.stem)}")


def mlflow_links(flow_run: str) -> list[str]:
    """Links to the MLflow runs that carry this flow run's id, as Markdown list items."""
    if not (os.environ.get("MLFLOW_TRACKING_URI") or (MLRUNS / "mlflow.db").exists()):
        return []
    from clarity.score.registered import TAG_FLOW_RUN
    from clarity.store import experiment_id, open_store

    client = open_store()
    experiment = experiment_id(client)
    found = client.search_runs([experiment], f"tags.`{TAG_FLOW_RUN}` = '{flow_run}'")
    base = mlflow_page()
    return [
        f"- [{run.info.run_name}]({base}/#/experiments/{experiment}/runs/{run.info.run_id})"
        for run in sorted(found, key=lambda run: str(run.info.run_name))
    ]


def mlflow_page() -> str:
    """Where MLflow's UI is: the server's address, without an account in it, or this machine's."""
    tracking = os.environ.get("MLFLOW_TRACKING_URI", "").strip()
    if tracking.lower().startswith("http"):
        return without_account(tracking)
    return os.environ.get(UI, "http://127.0.0.1:5000")


def drift(report: Report, of: str) -> None:
    """A look at drift, test by test, in words first; ``of`` says whose."""
    from clarity.score.drift import amount

    parts = [f"**{report.sentence[:1].upper()}{report.sentence[1:]}.**"]
    if report.tests:
        rows = [
            f"| {test.quantity} | {amount(test.effect)} | {test.p_adjusted:.2g} "
            f"| {'**yes**' if test.drifted else 'no'} | {test.test} | {test.statistic:.3f} |"
            for test in report.tests
        ]
        head = ["| quantity | effect | adjusted p | drifted | test | statistic |"]
        parts += ["\n".join([*head, "|---|" + "---|" * 5, *rows])]
    parts += [
        f"{report.arrived:,} pictures against {report.reference:,} of people whom no model was "
        "fitted to. Effects of KS are in standard deviations of the reference; that of MMD goes "
        "from 0 (alike) to 1.41. Drift is a reason to look, not a verdict on the model."
    ]
    create_markdown_artifact("\n\n".join(parts), key="drift", description=of)


def scored(batch: str, folder: Path) -> None:
    """What was scored: numbers, the highest scores by name, and their pictures."""
    summary = json.loads((folder / "summary.json").read_text())
    parts = [
        f"**{summary['anomalous']:,} of {summary['scored']:,} pictures are anomalous**: their "
        f"`{summary['score']}` is above {summary['threshold']:.4g}. "
        f"{summary['rejected']:,} could not be used. Tables: `{folder}`."
    ]
    table = pd.read_parquet(folder / "scores.parquet").nlargest(LISTED, "score")
    if len(table):
        rows = [
            f"| {_code(str(row.id))} | {row.score:.4g} | {'**yes**' if row.anomaly else 'no'} |"
            for row in table.itertuples()
        ]
        parts += ["## Highest scores", "\n".join(["| picture | score | anomalous |", TABLE, *rows])]
    refused = pd.read_csv(folder / "rejected.csv", keep_default_na=False, nrows=LISTED)
    if len(refused):
        rows = [
            f"| {_code(str(row.id))} | {_cell(str(row.reason))} |" for row in refused.itertuples()
        ]
        parts += ["## Not usable", "\n".join(["| file | reason |", "|---|---|", *rows])]
    create_markdown_artifact(
        "\n\n".join(parts),
        key="scores",
        description=f"Batch {batch}, scored with version {summary['version']}",
    )
    _picture(folder / "most_anomalous.png", "most-anomalous", f"Highest scores of batch {batch}")


def _picture(path: Path, name: str, description: str = "") -> None:
    """A picture as an artifact; what is too large to travel as PNG goes as JPEG, and smaller.

    In Markdown: the page of an image artifact prints the address below it, all of the data.
    """
    if path.is_file():
        kind, content = fitting(path)
        address = f"data:image/{kind};base64,{base64.b64encode(content).decode()}"
        create_markdown_artifact(
            f"![{path.stem}]({address})", key=name, description=description or path.stem
        )


def fitting(path: Path, largest: int = LARGEST_PICTURE) -> tuple[str, bytes]:
    """A picture's type and bytes, at most ``largest`` of them, as large in pixels as can be."""
    content = path.read_bytes()
    if len(content) <= largest:
        return "png", content
    with Image.open(path) as stored:
        picture = stored.convert("RGB")
    for quality, size in ((90, 1.0), (80, 1.0), (80, 0.7), (70, 0.5), (60, 0.35), (50, 0.2)):
        buffer = io.BytesIO()
        pixels = max(1, round(picture.width * size)), max(1, round(picture.height * size))
        picture.resize(pixels).save(buffer, "JPEG", quality=quality)
        if buffer.tell() <= largest:
            break
    return "jpeg", buffer.getvalue()


def sentences(verdicts: Path) -> list[str]:
    """Every ``sentence`` in verdicts.json, in its order, as MLflow shows them too."""
    from clarity.tracking import notes

    return notes.sentences(json.loads(verdicts.read_text()))


def _code(name: str) -> str:
    """A file's name in a Markdown table, as code: nothing in it is a mark or a link."""
    plain = _cell(name).replace("`", "'")
    return f"`{plain}`"


def _cell(text: str) -> str:
    """Text that does not end a Markdown table's cell."""
    return " ".join(text.replace("|", "\\|").split())
