"""`reports/index.html`: one page that stands alone, its pictures and style inside it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from ruamel.yaml import YAML
from ruamel.yaml.compat import StringIO

from clarity.compare import alt, detection, faces, gallery, glossary, limits, verdicts, wall, words
from clarity.compare.budgets import CONVERGED, TITLES
from clarity.compare.claims import Claim, Comparison
from clarity.compare.faces import Trio
from clarity.compare.figures import CAPTIONS
from clarity.compare.findings import Finding, best_detector
from clarity.compare.headlines import answer, beaten, clause, dissent, headline, place, status
from clarity.compare.linear import POPULATION
from clarity.compare.pages import Picture, cell, per_doubling, png, shortened
from clarity.compare.results import POPULATIONS, QUESTIONS, Results
from clarity.compare.style import palette
from clarity.compare.table import FORMATS, LABELS, PREFIX, Row
from clarity.compare.wall import Strip
from clarity.measures import MEASURES
from clarity.params import Params

Encoder = Callable[[Any], bytes]
_TEMPLATES = Path(__file__).parent / "templates"

FINDINGS = {
    "size": "Does the larger model of a family detect anomalies better?",
    "baseline": "Does the best autoencoder detect better than PCA?",
    "ensemble": "Does an ensemble detect better than the best of its members?",
    "reconstruction": "Does an autoencoder beat the PCA of its latent size on {}?",
}


def page(
    params: Params,
    results: Results,
    table: list[Row],
    ensembles: list[Row],
    claims: list[Claim],
    findings: list[Finding],
    charts: tuple[dict[str, bytes], dict[str, bytes]],
    strips: tuple[list[Strip], list[Strip]],
    trios: list[Trio],
) -> str:
    """The page as HTML; the same text for the same results.

    Args:
        charts: PNG by file name, wide, and narrow for phones.
        strips: the walls of reconstructions and of errors.
        trios: three faces for each comparison of sizes.
    """
    best = best_detector(results)
    rows = {row["model"]: row for row in table}
    known = glossary.terms(results)
    asked = [claim for claim in claims if claim.question]
    text = _environment().get_template("report.html.j2").render(
        style=Markup((_TEMPLATES / "style.css").read_text()),  # noqa: S704 - our own file
        results=results,
        primary=results.primary,
        params=params.compare,
        level=f"{100 * params.compare.confidence:g} %",
        table=table,
        questions=[
            (TITLES[question], PREFIX[question], shown)
            for question in QUESTIONS
            if (shown := [r for r in table if r[f"{PREFIX[question]}test_mse"] is not None])
        ],
        measures=[(key, LABELS[key], MEASURES[key]) for key in results.measures],
        populations=[(split, results.people(split)) for split in POPULATIONS],
        answers=[answer(claim, results) for claim in asked],
        asked=[_asked(claim, results, trios) for claim in asked],
        claims=[_claim(claim, results) for claim in claims if not claim.question],
        findings=_findings(findings, results),
        charts={
            name: png(data, alt.chart(name, results, table), CAPTIONS.get(name, ""))
            for name, data in charts[0].items()
        },
        narrow={name: png(data, "") for name, data in charts[1].items()},
        faces=_wall(strips[0], rows, results, "Reconstructions", wall.png_bytes),
        errors=_wall(strips[1], rows, results, "Error maps", palette),
        gallery={
            kind: [png(*item) for item in items]
            for kind, items in gallery.collect(results, best, rows).items()
        },
        best=best,
        chosen=detection.chosen(results, best),
        judged=table + ensembles,
        ensembles=detection.ensembles(ensembles),
        alarms=detection.alarms(results, table + ensembles),
        near_chance=detection.near_chance(results, table),
        unseen=detection.unseen(results, table + ensembles),
        obvious=detection.obvious(results),
        scores=detection.scores(results),
        few=limits.few_sources(results),
        counts=limits.counts(results),
        limits=limits.sentences(params.compare, results, claims),
        converged_below=words.whole(CONVERGED),
        terms=known,
        source=results.source,
        parameters=_parameters(params),
    )  # fmt: skip
    return glossary.link(text, known, '<section id="glossary"') + "\n"


def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["thousands"] = lambda value: f"{value:,}"
    environment.filters["percent"] = words.percent
    environment.filters["short"] = shortened
    environment.filters["figures"] = words.figures
    environment.filters["upper_first"] = words.upper
    environment.globals.update(
        cell=cell, span=words.span, per_doubling=per_doubling, formats=FORMATS,
        sources=limits.sources, of=words.of,
    )  # fmt: skip
    return environment


def _asked(claim: Claim, results: Results, trios: list[Trio]) -> dict[str, Any]:
    """A question about size: each population with its headline, the families' faces, the table."""
    populations = []
    for population in reversed(POPULATIONS):
        mine = [t for t in trios if (t.question, t.population) == (claim.question, population)]
        families = [
            (_said(claim, c, results), _trio(trio, results))
            for c in claim.of(population)
            for trio in mine
            if trio.family == c.family
        ]
        populations.append(
            {
                "place": place(population, results),
                "headline": headline(claim, population, results),
                "dissent": dissent(claim, population),
                "families": families,
                "comparisons": _compared(claim, population),
            }
        )
    return {
        "claim": claim,
        "title": TITLES[claim.question or "alike"],
        "populations": [] if claim.untested else populations,
        "remarks": verdicts.remarks(claim, results),
        "notes": _notes(claim),
    }


def _said(claim: Claim, comparison: Comparison, results: Results) -> str:
    """A family's answer; on the images that a linear model was asked about, that it is ahead."""
    text = words.upper(clause(claim, comparison)) + "."
    told = beaten(claim, comparison.family, results)
    return f"{text} {told}" if told and comparison.population == POPULATION else text


def _trio(trio: Trio, results: Results) -> list[Picture]:
    label = results.primary.label
    who = "of a person in training" if trio.population == "train" else "of an unseen person"
    who = who if results.faces else f"from the {trio.population} split"
    return [
        png(
            palette(faces.strip(pick)),
            f"{words.upper(pick.what)} {who}: the original, then {trio.small} and {trio.large}; "
            f"{label} {faces.values(results, pick)}",
            f"{words.upper(pick.what)}: {label} {faces.values(results, pick)}. "
            f"Original, {trio.small}, {trio.large}",
        )
        for pick in trio.picks
    ]


def _claim(claim: Claim, results: Results) -> dict[str, Any]:
    populations = [] if claim.untested else list(dict.fromkeys(
        c.population for c in claim.comparisons
    ))  # fmt: skip
    return {
        "claim": claim,
        "headlines": [(place(p, results), headline(claim, p, results)) for p in populations],
        "remarks": verdicts.remarks(claim, results),
        "untested": headline(claim, "", results) if claim.untested else "",
        "populations": [(place(p, results), _compared(claim, p)) for p in populations],
        "notes": _notes(claim),
    }


def _compared(claim: Claim, population: str) -> list[tuple[Comparison, dict[str, str]]]:
    return [
        (c, {"status": status(c), "follows": verdicts.short(claim, c)})
        for c in claim.of(population)
    ]


def _notes(claim: Claim) -> list[str]:
    return sorted(
        {f"The sizes of {c.family} are {c.confounded}." for c in claim.comparisons if c.confounded}
    )


def _findings(findings: list[Finding], results: Results) -> list[tuple[str, list[str]]]:
    out = []
    for key, question in FINDINGS.items():
        told = [verdicts.finding_sentence(f, results) for f in findings if f.question == key]
        if told:
            out.append((question.format(results.people("test")), told))
    return out


def _wall(
    strips: list[Strip], rows: dict[str, Row], results: Results, what: str, encode: Encoder
) -> list[dict[str, Any]]:
    out = []
    primary = results.primary
    for strip in strips:
        count = strip.image.width // strip.image.height
        row = rows.get(strip.model)
        if row is None:
            text = f"The {count} original test {results.things}"
        else:
            text = (
                f"{what} of the same {count} {results.things} by {strip.model}; mean "
                f"{primary.label} {words.of(primary, row[f'test_{primary.key}'])}, "
                f"MSE {row['test_mse']:.5f}"
            )
        picture = png(encode(strip.image), text)
        out.append({"row": row, "name": strip.caption, "picture": picture})
    return out


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
