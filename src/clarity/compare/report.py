"""`reports/index.html`: one page that stands alone, its pictures and style inside it."""

from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from ruamel.yaml import YAML
from ruamel.yaml.compat import StringIO

from clarity.compare import alt, gallery, limits, verdicts, wall
from clarity.compare.claims import Claim, Comparison
from clarity.compare.figures import CAPTIONS
from clarity.compare.findings import Finding, best_detector
from clarity.compare.results import METRICS, POPULATIONS, Results
from clarity.compare.style import palette
from clarity.compare.table import FORMATS, LABELS, Row
from clarity.compare.wall import Strip
from clarity.errors import ClarityError
from clarity.files import read_json
from clarity.layout import SOURCE
from clarity.params import Params

Encoder = Callable[[Any], bytes]
_TEMPLATES = Path(__file__).parent / "templates"

QUESTIONS = {
    "size": "Does the larger model of a family detect anomalies better?",
    "baseline": "Does the best autoencoder detect better than PCA?",
    "reconstruction": "Does an autoencoder beat the PCA of its latent size on unseen people?",
}


@dataclass(frozen=True)
class Picture:
    """An embedded picture: ``source`` is a data URI, ``alt`` says what is to be seen in it."""

    source: str
    alt: str
    caption: str
    width: int
    height: int


def page(
    params: Params,
    results: Results,
    table: list[Row],
    claims: list[Claim],
    findings: list[Finding],
    charts: tuple[dict[str, bytes], dict[str, bytes]],
    faces: list[Strip],
    errors: list[Strip],
) -> str:
    """The page as HTML; the same text for the same results.

    Args:
        charts: PNG by file name, wide, and narrow for phones.
    """
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["thousands"] = lambda value: f"{value:,}"
    environment.filters["percent"] = verdicts.percent
    environment.filters["short"] = _short
    environment.filters["figures"] = verdicts.figures
    environment.globals.update(
        cell=_cell, span=verdicts.span, per_doubling=_per_doubling,
    )  # fmt: skip
    best = best_detector(results)
    rows = {row["model"]: row for row in table}
    return (
        environment.get_template("report.html.j2").render(
            style=Markup((_TEMPLATES / "style.css").read_text()),
            results=results,
            params=params.compare,
            level=f"{100 * params.compare.confidence:g} %",
            table=table,
            rows=rows,
            metrics=[(metric, LABELS[metric]) for metric in METRICS],
            populations=[(split, results.people(split)) for split in POPULATIONS],
            claims=[_claim(claim, results) for claim in claims],
            questions=_questions(findings),
            charts={
                name: _png(data, alt.chart(name, results, table), CAPTIONS.get(name, ""))
                for name, data in charts[0].items()
            },
            narrow={name: _png(data, "") for name, data in charts[1].items()},
            faces=_wall(faces, rows, "Reconstructions", wall.png_bytes),
            errors=_wall(errors, rows, "Error maps", palette),
            gallery={
                kind: [_png(*item) for item in items]
                for kind, items in gallery.collect(results, best, rows).items()
            },
            best=best,
            counts=limits.counts(results),
            limits=limits.sentences(params.compare, results, claims),
            source=_source(),
            parameters=_parameters(params),
        )
        + "\n"
    )


def _claim(claim: Claim, results: Results) -> dict[str, Any]:
    populations = ["samples"] if claim.key == "blurrier" else list(POPULATIONS)
    if claim.untested:
        populations = []
    return {
        "claim": claim,
        "headlines": [
            (verdicts.place(p, results), verdicts.headline(claim, p, results)) for p in populations
        ],
        "remarks": verdicts.remarks(claim),
        "untested": verdicts.headline(claim, "", results) if claim.untested else "",
        "populations": [
            (verdicts.place(p, results), [(c, _words(claim, c)) for c in claim.of(p)])
            for p in populations
        ],
        "notes": sorted(
            {f"{c.family} is {c.confounded}." for c in claim.comparisons if c.confounded}
        ),
    }


def _words(claim: Claim, comparison: Comparison) -> dict[str, str]:
    return {
        "status": verdicts.status(comparison),
        "follows": verdicts.short(claim, comparison),
    }


def _questions(findings: list[Finding]) -> list[tuple[str, list[str]]]:
    out = []
    for key, question in QUESTIONS.items():
        sentences = [verdicts.finding_sentence(f) for f in findings if f.question == key]
        if sentences:
            out.append((question, sentences))
    return out


def _wall(
    strips: list[Strip], rows: dict[str, Row], what: str, encode: Encoder
) -> list[dict[str, Any]]:
    out = []
    for strip in strips:
        count = strip.image.width // strip.image.height
        row = rows.get(strip.model)
        if row is None:
            text = f"The {count} original test faces"
        else:
            text = (
                f"{what} of the same {count} faces by {strip.model}; "
                f"mean LSD {row['test_lsd']:.2f} dB, MSE {row['test_mse']:.5f}"
            )
        picture = _png(encode(strip.image), text)
        out.append({"row": row, "name": strip.caption, "picture": picture})
    return out


def _png(data: bytes, text: str, caption: str = "") -> Picture:
    # Width and height stand in a PNG's first chunk, at bytes 16 to 24.
    width, height = (int.from_bytes(data[i : i + 4], "big") for i in (16, 20))
    uri = "data:image/png;base64," + base64.b64encode(data).decode()
    return Picture(uri, text, caption, width, height)


def _short(value: int) -> str:
    """12,749,091 as ``12.75 M``; the full number is in table.csv."""
    for size, letter in ((10**9, "G"), (10**6, "M"), (10**3, "k")):
        if value >= size:
            return f"{value / size:.4g} {letter}"
    return str(value)


def _cell(row: Row, name: str, metric: str) -> Markup:
    """Value and interval of a table's cell."""
    value = row.get(name)
    if value is None:
        return Markup("–")
    form = FORMATS[metric]
    low, high = row.get(f"{name}_low"), row.get(f"{name}_high")
    text = Markup("<b>{}</b>").format(format(value, form))
    if low is None or high is None:
        return text
    return text + Markup("<span>{} to {}</span>").format(format(low, form), format(high, form))


def _per_doubling(interval: Any) -> Markup:
    """A log-log slope as change per doubling of the parameters."""

    def change(slope: float) -> float:
        return float(2**slope - 1)

    low, high = (verdicts.signed(100 * change(v), 1) for v in (interval.low, interval.high))
    middle = verdicts.percent(change(interval.estimate))
    return Markup("<b>{}</b><span>{} to {} %</span>").format(middle, low, high)


def _source() -> dict[str, Any]:
    try:
        content: dict[str, Any] = read_json(SOURCE)
    except FileNotFoundError:
        raise ClarityError(f"{SOURCE}: no such file; run `dvc repro ingest`") from None
    return content


def _parameters(params: Params) -> str:
    """What this stage depends on in params.yaml, as YAML."""
    content = params.model_dump(
        mode="json", include={"seeds", "models", "compare"}, exclude_defaults=True
    )
    out = StringIO()
    writer = YAML()
    writer.default_flow_style = None
    writer.width = 100
    writer.dump(content, out)
    text: str = out.getvalue()
    return text
