"""Claims and findings in sentences, and the same as data. Every word follows from the numbers."""

from __future__ import annotations

from typing import Any

from clarity.choice import FUSED
from clarity.compare.budgets import CONVERGED, LAST, TITLES, converged, improvement
from clarity.compare.claims import Claim, Comparison
from clarity.compare.findings import Finding
from clarity.compare.headlines import (
    WORDS,
    answer,
    bare,
    beaten,
    convergence,
    dissent,
    headline,
    place,
    status,
)
from clarity.compare.results import QUESTIONS, ModelResults, Results
from clarity.compare.vae_claims import pairs
from clarity.compare.words import bounded, figures, listed, of, percent, span, whole
from clarity.measures import Measure


def sentence(claim: Claim, comparison: Comparison, results: Results) -> str:
    """One comparison in a sentence: the two means, the reduction, its interval, what follows."""
    c = comparison
    where = "" if c.population == "samples" else f"on {place(c.population, results)}, "
    start = f"{TITLES[claim.question]}, {where}" if claim.question else where
    start = start[:1].upper() + start[1:]
    if claim.question:
        return f"{start}{_measured(c, results.primary)}. {outcome(claim, c)}"
    a, b = (figures(value) for value in c.means)
    unit = f" {claim.unit}" if claim.unit else ""
    lower = "lower" if c.reduction.estimate >= 0 else "higher"
    text = (
        f"{start}{c.subject.name} has a mean {claim.measure} of {a}{unit} against "
        f"{b}{unit} of {c.reference.name}: {percent(abs(c.reduction.estimate))} {lower} "
        f"(reduction, {span(c.reduction)})"
    )
    return f"{text}. {outcome(claim, c)}"


def _measured(c: Comparison | Finding, measure: Measure) -> str:
    """The means of a measure, and the effect on its distance from the original."""
    effect = c.reduction if isinstance(c, Comparison) else c.effect
    a, b = (of(measure, value) for value in c.means)
    text = f"{c.subject.name} has a mean {measure.label} of {a} against {b} of {c.reference.name}"
    amount, nearer = percent(abs(effect.estimate)), effect.estimate >= 0
    if measure.lower_is_better:
        return f"{text}: {amount} {'lower' if nearer else 'higher'} (reduction, {span(effect)})"
    return (
        f"{text}: its distance from a perfect {measure.perfect:g} is {amount} "
        f"{'smaller' if nearer else 'larger'} (reduction, {span(effect)})"
    )


def outcome(claim: Claim, comparison: Comparison) -> str:
    """What follows for the claim, as a sentence."""
    c, (yes, no) = comparison, WORDS[claim.key]
    margin = whole(claim.margin)
    if status(c) == "this training only":
        told = {
            "yes": f"is {yes}, by more than {margin}",
            "no": f"is {no} by more than {margin}",
            "open": f"may or may not be {yes} by more than {margin}",
        }[c.reading]
        told = told if bounded(c.reduction) else f"is {bare(c, yes, no)}, without an interval"
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


def short(claim: Claim, comparison: Comparison) -> str:
    """What follows, in a few words: for a cell."""
    c, (yes, no) = comparison, WORDS[claim.key]
    if status(c) == "this training only":
        if not bounded(c.reduction):
            return f"{bare(c, yes, no)} in this training, without an interval"
        words = {"yes": yes, "no": f"{no} by the margin", "open": "too close to call"}
        return f"{words[c.reading]} in this training"
    return c.judged.need.sentence if c.judged.need else "settled"


def remarks(claim: Claim, results: Results) -> list[str]:
    """What else is known of the models that a claim compares."""
    if claim.key == "clearer":
        return convergence(claim, results)
    models = {m.name: m for pair in pairs(results) for m in pair}
    out = []
    gone = [m.name for m in models.values() if collapsed(m)]
    if gone:
        verb = "has" if len(gone) == 1 else "have"
        text = f"Posterior collapse: {listed(gone)} {verb} most latent elements switched off"
        if claim.key == "smoother":
            text += ", and a decoder that ignores its latent walks smoothly"
        out.append(f"{text}.")
    return out + (_walks if claim.key == "smoother" else _sharpness)(list(models.values()), results)


def _walks(models: list[ModelResults], results: Results) -> list[str]:
    """How the pictures between two images look in numbers, which describe and do not judge."""
    told = [
        f"{m.name} {fade:.2f} and {m.known('latent_space', 'jump_mean', 'test'):.2f}"
        for m in models
        if (fade := m.known("latent_space", "crossfade_mean", "test"))
    ]
    if not told:
        return []
    return [
        f"Between two test {results.things}, how far the walk fades like a blend of pixels (1 is "
        f"two images shining through each other, 0 no fading), and its largest step over the mean "
        f"step: {listed(told)}. These numbers describe; they do not judge."
    ]


def _sharpness(models: list[ModelResults], results: Results) -> list[str]:
    """Sharpness of samples beside real images, and what is the prior's doing."""

    def shares(*keys: str) -> list[str]:
        return [
            f"{m.name} {percent(value / real, 0)}"
            for m in models
            if (real := m.known("samples", "sharpness_real_mean"))
            and (value := m.known("samples", *keys))
        ]

    out = []
    if drawn := shares("sharpness_mean"):
        out.append(
            f"Sharpness of the samples, real test {results.things} being 100 %: {listed(drawn)}."
        )
    if fitted := shares("fitted", "sharpness_mean"):
        out.append(
            "Drawn from a density fitted to its latents instead of the prior, the same decoder "
            f"gives: {listed(fitted)}. The difference is the prior’s doing."
        )
    return out


def collapsed(model: ModelResults) -> bool:
    """Whether any training of a VAE ended with its posterior collapsed."""
    return any(content.latent_space.collapsed for content in model.details)


def finding_sentence(finding: Finding, results: Results) -> str:
    """A finding in one sentence."""
    f = finding
    if f.question == "reconstruction":
        text = (
            f"On {results.people('test')}, {_measured(f, results.primary)}, both with a latent "
            f"of {f.subject.latent:,}"
        )
    else:
        a, b = (f"{value:.3f}" for value in f.means)
        difference = f"{f.effect.estimate:+.3f}".replace("-", "−")
        text = (
            f"Against kinds of anomaly {_known(f, results)}, {f.subject.name} reaches an AUROC of "
            f"{a} (score {f.subject.best_score}), {f.reference.name} {b} (score "
            f"{f.reference.best_score}): "
            f"{difference} ({span(f.effect, in_percent=False)})"
        )
    return f"{text}. {_what_follows(f)}"


def _known(finding: Finding, results: Results) -> str:
    """Whether its scores have seen the kinds; without a fused one they were chosen by them."""
    both = finding.subject.best_score, finding.reference.best_score
    chosen = FUSED not in both and results.kinds_in_val
    return "by which the score was chosen" if chosen else "never seen"


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
    """`verdicts.json`: every sentence with the numbers it follows from, the answer first."""
    asked = [claim for claim in claims if claim.question]
    return {
        "answer": [
            {"question": c.question, "sentence": answer(c, results).line()}
            for c in asked
            if c.question
        ],
        "measure": {
            name: getattr(results.primary, name)
            for name in ("key", "label", "name", "lower_is_better")
        },
        "seeds": list(results.seeds),
        "data_digest": results.digest,
        "claims": [_claim(claim, results) for claim in claims],
        "convergence": {
            model.name: {
                question: {"fell": improvement(model, question), "converged": there}
                for question in QUESTIONS
                if (there := converged(model, question)) is not None
            }
            for model in results.models
            if model.budgets
        },
        "findings": [_finding(finding, results) for finding in findings],
        "method": {
            "adjustment": "Holm (1979) within each claim and each question",
            "rule": "confirmed: the whole interval lies beyond the margin; refuted: no part of it "
            "does; else undecided; one seed: always undecided",
            "converged": f"the best validation MSE fell by less than {whole(CONVERGED)} over the "
            f"last {whole(LAST)} of the budget",
        },
    }


def _claim(claim: Claim, results: Results) -> dict[str, Any]:
    populations = sorted({c.population for c in claim.comparisons}, reverse=True)
    return {
        "claim": claim.key,
        "question": claim.question,
        "statement": claim.statement,
        "primary_metric": claim.measure,
        "margin": claim.margin,
        "not_tested": claim.untested or None,
        "withheld": dict(claim.withheld),
        "remarks": remarks(claim, results),
        "headlines": {p: headline(claim, p, results) for p in populations},
        "dissent": {p: dissent(claim, p) for p in populations if claim.question},
        **_linear(claim, results),
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
                "slope": c.slope.as_dict() if c.slope else None,
                "other_measures": {name: i.as_dict() for name, i in c.others.items()},
                "against": c.against,
                "resampled_people": list(c.resampled) if c.resampled else None,
            }
            for c in claim.comparisons
        ],
    }


def _linear(claim: Claim, results: Results) -> dict[str, Any]:
    """Of families that a linear model is ahead of; no key where there is none."""
    if not claim.linear:
        return {}
    return {
        "linear": {
            family: {
                "pca": found.pca.name,
                "models": [model.name for model in found.networks],
                "means": list(found.means),
                "effects": [effect.as_dict() for effect in found.effects],
                "sentence": beaten(claim, family, results),
            }
            for family, found in claim.linear.items()
        }
    }


def _finding(finding: Finding, results: Results) -> dict[str, Any]:
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
        "sentence": finding_sentence(f, results),
        "verdict": f.judged.as_dict(),
    }
