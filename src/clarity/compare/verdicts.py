"""Claims and findings in sentences, and the same as data. Every word follows from the numbers."""

from __future__ import annotations

import math
from typing import Any

from clarity.compare.claims import Claim, Comparison
from clarity.compare.findings import Finding
from clarity.compare.results import POPULATIONS, ModelResults, Results
from clarity.statistics import Interval

#: What each claim says of the subject, and of a subject of which it is not true.
WORDS = {
    "clearer": ("clearer", "not clearer"),
    "smoother": ("smoother", "not smoother"),
    "blurrier": ("blurrier", "not blurrier"),
}


def percent(value: float, digits: int = 1) -> str:
    """0.1234 as ``12.3 %``; a minus sign that is one, and no negative zero."""
    return f"{signed(100 * value, digits)} %"


def signed(value: float, digits: int) -> str:
    """A number with a real minus sign; what rounds to zero has none."""
    return f"{round(value, digits) + 0.0:.{digits}f}".replace("-", "−")


def figures(value: float) -> str:
    """Three significant digits, trailing zeros kept: ``15.0``, ``0.313``."""
    return f"{value:#.3g}".rstrip(".")


def span(interval: Interval, *, in_percent: bool = True, digits: int = 3) -> str:
    """``95 %: 1.2 to 3.4 %``; says so where the data give no limits."""
    level = f"{100 * interval.confidence:g} %"
    if not (math.isfinite(interval.low) and math.isfinite(interval.high)):
        return f"{level}: none from one training"
    if in_percent:
        low = signed(100 * interval.low, 1)
        return f"{level}: {low} to {percent(interval.high)}"
    low, high = (f"{v:+.{digits}f}".replace("-", "−") for v in (interval.low, interval.high))
    return f"{level}: {low} to {high}"


def status(comparison: Comparison) -> str:
    """``confirmed``, ``refuted``, ``undecided``, or ``this training only``."""
    if comparison.reduction.scope == "this training only":
        return "this training only"
    return comparison.judged.outcome


def sentence(claim: Claim, comparison: Comparison, results: Results) -> str:
    """One comparison in a sentence: the two means, the reduction, its interval, what follows."""
    c = comparison
    a, b = (figures(value) for value in c.means)
    unit = f" {claim.unit}" if claim.unit else ""
    amount = abs(c.reduction.estimate)
    lower = "lower" if c.reduction.estimate >= 0 else "higher"
    where = "" if c.population == "samples" else f"On {place(c.population, results)}, "
    text = (
        f"{where}{c.subject.name} has a mean {claim.measure} of {a}{unit} against "
        f"{b}{unit} of {c.reference.name}: {percent(amount)} {lower} "
        f"(reduction, {span(c.reduction)})"
    )
    return f"{text}. {outcome(claim, c)}"


def outcome(claim: Claim, comparison: Comparison) -> str:
    """What follows for the claim, as a sentence."""
    c, (yes, no) = comparison, WORDS[claim.key]
    margin = percent(claim.margin, 0 if claim.margin * 100 % 1 == 0 else 1)
    if status(c) == "this training only":
        told = {
            "yes": f"is {yes}, by more than {margin}",
            "no": f"is {no} by more than {margin}",
            "open": f"may or may not be {yes} by more than {margin}",
        }[c.reading]
        told = told if bounded(c) else f"is {_bare(c, yes, no)}, without an interval"
        text = f"In this training {c.subject.name} {told}"
        text += "; one seed, so nothing is confirmed"
    else:
        text = {
            "confirmed": f"Confirmed: {yes} by more than {margin}",
            "refuted": f"Refuted: {no} by more than {margin}",
            "undecided": f"Undecided: {_holds(c)} holds the margin of {margin}",
        }[c.judged.outcome]
        if c.judged.need:
            text += f"; {c.judged.need.sentence}"
    if c.confounded:
        text += f" ({c.confounded})"
    return text + "."


def _holds(c: Comparison) -> str:
    """Which interval leaves the claim open: the one shown, or the wider one of several claims."""
    if c.reduction.low <= c.judged.margin < c.reduction.high:
        return "the interval"
    level = percent(c.judged.decided_at)
    return f"with several comparisons judged together, the interval of {level}"


def place(population: str, results: Results) -> str:
    """``training faces`` or ``unseen people``; of samples, which belong to neither, ``samples``."""
    for known in POPULATIONS:
        if population == known:
            return results.people(known)
    return "samples"


def headline(claim: Claim, population: str, results: Results) -> str:
    """A claim on one population in one sentence, all families together."""
    found = claim.of(population)
    if claim.untested or not found:
        return f"{claim.untested or 'not tested'}.".capitalize().replace("vae", "VAE")
    yes, no = WORDS[claim.key]
    one = all(status(c) == "this training only" for c in found)
    names = (
        {"yes": yes, "no": f"{no} by the margin", "open": "too close to call"}
        if one
        else {name: name for name in ("confirmed", "refuted", "undecided")}
    )
    groups: dict[str, list[str]] = {}
    for c in found:
        who = c.family if claim.key == "clearer" else c.subject.name
        key = names[c.reading if one else c.judged.outcome]
        if one and not bounded(c):
            key = _bare(c, yes, no) + ", without an interval,"
            names[key] = key
        amount = percent(c.reduction.estimate)
        if c.confounded:
            groups.setdefault("confounded", []).append(f"{who} ({amount}, {key})")
        else:
            groups.setdefault(key, []).append(f"{who} ({amount})")
    joint = "in" if one and claim.key == "clearer" else "for"
    parts = [f"{key} {joint} {listed(groups[key])}" for key in names.values() if key in groups]
    mixed = groups.get("confounded", [])
    aside = f" Confounded, since the latent changes too: {listed(mixed)}." if mixed else ""
    if not one:
        return "".join(f"{part[:1].upper()}{part[1:]}. " for part in parts).strip() + aside
    subject = " the largest model is" if claim.key == "clearer" else ":"
    told = f"In this training{subject} {'; '.join(parts)}." if parts else ""
    return f"{told}{aside} One seed, so nothing is confirmed.".strip()


def bounded(comparison: Comparison) -> bool:
    """Whether the data give limits: one number a training gives none from one training."""
    return math.isfinite(comparison.reduction.low) and math.isfinite(comparison.reduction.high)


def _bare(comparison: Comparison, yes: str, no: str) -> str:
    """What the estimate alone says, where there is no interval."""
    return yes if comparison.reduction.estimate > comparison.judged.margin else no


def short(claim: Claim, comparison: Comparison) -> str:
    """What follows, in a few words: for a cell."""
    c, (yes, no) = comparison, WORDS[claim.key]
    if status(c) == "this training only":
        if not bounded(c):
            return f"{_bare(c, yes, no)} in this training, without an interval"
        words = {"yes": yes, "no": f"{no} by the margin", "open": "too close to call"}
        return f"{words[c.reading]} in this training"
    return c.judged.need.sentence if c.judged.need else "settled"


def remarks(claim: Claim) -> list[str]:
    """What else is known of the VAEs and autoencoders that a claim compares."""
    models = {m.name: m for c in claim.comparisons for m in (c.subject, c.reference)}
    out = []
    if claim.key != "clearer":
        gone = [m.name for m in models.values() if collapsed(m)]
        if gone:
            verb = "has" if len(gone) == 1 else "have"
            text = f"Posterior collapse: {listed(gone)} {verb} most latent elements switched off"
            if claim.key == "smoother":
                text += ", and the path of a decoder that ignores its latent is short"
            out.append(f"{text}.")
    if claim.key == "blurrier":
        shares = [
            f"{m.name} {percent(m.known('samples', 'sharpness_mean') / real, 0)}"
            for m in models.values()
            if (real := m.known("samples", "sharpness_real_mean"))
        ]
        if shares:
            out.append(f"Sharpness of the samples, real test faces being 100 %: {listed(shares)}.")
    return out


def collapsed(model: ModelResults) -> bool:
    """Whether any training of a VAE ended with its posterior collapsed."""
    return any(
        bool((content.get("latent_space") or {}).get("collapsed")) for content in model.details
    )


def listed(words: list[str]) -> str:
    """``a``, ``a and b``, ``a, b and c``."""
    return f"{', '.join(words[:-1])} and {words[-1]}" if len(words) > 1 else words[0]


def finding_sentence(finding: Finding) -> str:
    """A finding in one sentence."""
    f = finding
    if f.question == "reconstruction":
        a, b = (f"{value:.5f}" for value in f.means)
        lower = "lower" if f.effect.estimate >= 0 else "higher"
        text = (
            f"{f.subject.name} has an MSE of {a} on unseen people against {b} of "
            f"{f.reference.name} with the same latent of {f.subject.latent:,}: "
            f"{percent(abs(f.effect.estimate))} {lower} (reduction, {span(f.effect)})"
        )
    else:
        a, b = (f"{value:.3f}" for value in f.means)
        difference = f"{f.effect.estimate:+.3f}".replace("-", "−")
        text = (
            f"{f.subject.name} reaches an AUROC of {a} ({f.subject.best_score}) against {b} of "
            f"{f.reference.name} ({f.reference.best_score}): {difference} "
            f"({span(f.effect, in_percent=False)})"
        )
    return f"{text}. {_what_follows(f)}"


def _what_follows(finding: Finding) -> str:
    f = finding
    one = f.effect.scope == "this training only"
    start = "In this training " if one else "So "
    if one:
        reading = f.reading
    elif f.judged.outcome == "confirmed":
        reading = "better"
    elif f.judged.outcome == "refuted":
        reading = "worse"
    else:
        reading = "open"
    what = "reconstructs better" if f.question == "reconstruction" else "detects better"
    text = {
        "better": f"{start}{f.subject.name} {what}",
        "worse": f"{start}{f.reference.name} {what}",
        "open": f"{start}no difference is shown",
    }[reading]
    notes = []
    if reading == "open" and f.reading != "open":
        notes.append(f"several questions judged together, at {percent(f.judged.decided_at)}")
    if f.confounded:
        notes.append(f.confounded)
    elif f.question == "baseline" and not f.equal_latent:
        notes.append(
            f"latent sizes differ: {f.subject.latent:,} against {f.reference.latent:,} elements"
        )
    return text + (f" ({'; '.join(notes)})" if notes else "") + "."


def as_data(claims: list[Claim], findings: list[Finding], results: Results) -> dict[str, Any]:
    """`verdicts.json`: every sentence with the numbers it follows from."""
    return {
        "seeds": list(results.seeds),
        "data_digest": results.digest,
        "claims": [_claim(claim, results) for claim in claims],
        "findings": [_finding(finding) for finding in findings],
        "method": {
            "adjustment": "Holm (1979) within each claim and each question",
            "rule": "confirmed: the whole interval lies beyond the margin; refuted: no part of it "
            "does; else undecided; one seed: always undecided",
        },
    }


def _claim(claim: Claim, results: Results) -> dict[str, Any]:
    populations = sorted({c.population for c in claim.comparisons}, reverse=True)
    return {
        "claim": claim.key,
        "statement": claim.statement,
        "primary_metric": claim.measure,
        "margin": claim.margin,
        "not_tested": claim.untested or None,
        "remarks": remarks(claim),
        "headlines": {p: headline(claim, p, results) for p in populations},
        "comparisons": [
            {
                "family": c.family,
                "population": c.population,
                "subject": c.subject.name,
                "reference": c.reference.name,
                "means": {"subject": c.means[0], "reference": c.means[1]},
                "status": status(c),
                "reading": c.reading,
                "confounded": c.confounded or None,
                "sentence": sentence(claim, c, results),
                "verdict": c.judged.as_dict(),
                "secondary": {name: i.as_dict() for name, i in sorted(c.secondary.items())},
                "resampled_people": list(c.resampled) if c.resampled else None,
            }
            for c in claim.comparisons
        ],
    }


def _finding(finding: Finding) -> dict[str, Any]:
    f = finding
    return {
        "question": f.question,
        "family": f.family,
        "subject": f.subject.name,
        "reference": f.reference.name,
        "means": {"subject": f.means[0], "reference": f.means[1]},
        "reading": f.reading,
        "equal_latent": f.equal_latent,
        "confounded": f.confounded or None,
        "sentence": finding_sentence(f),
        "verdict": f.judged.as_dict(),
    }
