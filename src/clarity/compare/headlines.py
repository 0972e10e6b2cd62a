"""The answer: a claim on a population in a sentence, both questions in a line or a table each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from clarity.compare.budgets import TITLES, converged, improvement
from clarity.compare.claims import Claim, Comparison
from clarity.compare.linear import POPULATION, briefly, sentence
from clarity.compare.results import POPULATIONS, ModelResults, Results
from clarity.compare.words import bounded, listed, percent, span, upper, whole
from clarity.measures import MEASURES

#: What each claim says of the subject, and of a subject of which it is not true.
WORDS = {
    "clearer": ("clearer", "not clearer"),
    "smoother": ("smoother", "not smoother"),
    "blurrier": ("blurrier", "not blurrier"),
}
#: The loss that is not worth a word.
PLAIN = "MSE"
_ONE = "One seed, so nothing is confirmed."
#: So many models that had not converged are named; more are counted.
_NAMED = 3
#: From here on a distance is told as so many times another, not by so many per cent.
_TIMES = 2
_OUTCOMES = {"confirmed": "yes", "refuted": "no", "undecided": "open"}


def status(comparison: Comparison) -> str:
    """``confirmed``, ``refuted``, ``undecided``, or ``this training only``."""
    if comparison.reduction.scope == "this training only":
        return "this training only"
    return comparison.judged.outcome


def place(population: str, results: Results) -> str:
    """What a population is called; samples belong to none of them and are ``samples``."""
    for known in POPULATIONS:
        if population == known:
            return results.people(known)
    return "samples"


def headline(claim: Claim, population: str, results: Results) -> str:
    """A claim on one population in one sentence, all families together."""
    found = claim.of(population)
    if claim.untested:
        return f"{upper(claim.untested)}."
    if claim.key != "clearer":
        return _of_vaes(claim, found)
    text = (
        f"Does a larger model reconstruct {place(population, results)} more clearly? "
        f"{upper('; '.join(clauses(claim, population)))}."
    )
    return " ".join([text, *_caveats(claim, results)])


@dataclass(frozen=True)
class Answer:
    """A question about size on both populations.

    Attributes:
        asked: the question; where it was not tested, that and why, and nothing else.
        places: what the populations are called, unseen images first.
        families: the answer for each family on each of ``places``.
        notes: what must stand beside it.
    """

    asked: str
    places: tuple[str, ...] = ()
    families: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def line(self) -> str:
        """All of it in one line."""
        told = []
        for k, where in enumerate(self.places):
            each = [f"{family} {found[k]}" for family, found in self.families.items()]
            told.append(f"On {where}: {'; '.join(each)}.")
        return " ".join([self.asked, *told, *self.notes])


def answer(claim: Claim, results: Results) -> Answer:
    """A question about size, answered on both populations."""
    title = TITLES[claim.question or "alike"]
    if claim.untested:
        return Answer(f"{title}: {claim.untested}.")
    populations = tuple(reversed(POPULATIONS))
    by_population = [_by_family(claim, population) for population in populations]
    return Answer(
        f"{title}, does a larger model reconstruct more clearly?",
        tuple(place(population, results) for population in populations),
        {family: tuple(one[family] for one in by_population) for family in by_population[0]},
        (
            *briefly(claim.linear.values(), results.people(POPULATION)),
            *_caveats(claim, results),
        ),
    )


def beaten(claim: Claim, family: str, results: Results) -> str:
    """That a linear model is ahead of a family's smallest and largest size; empty where not."""
    found = claim.linear.get(family)
    return sentence(found, results.primary, results.people(POPULATION)) if found else ""


def clauses(claim: Claim, population: str) -> list[str]:
    """``conv yes, by 6.2 %``: one for each family, those not compared last."""
    return [f"{family} {told}" for family, told in _by_family(claim, population).items()]


def _by_family(claim: Claim, population: str) -> dict[str, str]:
    told = {c.family: _told(claim, c) for c in claim.of(population)}
    return told | {family: f"no answer, {why}" for family, why in claim.withheld.items()}


def clause(claim: Claim, c: Comparison) -> str:
    """The answer for one family."""
    return f"{c.family} {_told(claim, c)}"


def _told(claim: Claim, c: Comparison) -> str:
    amount, estimate = percent(abs(c.reduction.estimate)), percent(c.reduction.estimate)
    one = status(c) == "this training only"
    reading = c.reading if one else _OUTCOMES[c.judged.outcome]
    if not bounded(c.reduction):
        told = f"{estimate}, without an interval"
    elif reading == "yes":
        told = f"yes, by {amount}"
    elif reading == "no" and c.reduction.high < 0 and -c.reduction.estimate >= claim.margin:
        far = 1 - c.reduction.estimate
        apart = f"{far:.1f} times as far from the original" if far >= _TIMES else f"by {amount}"
        told = f"no, the larger is less clear, {apart}"
    elif reading == "no":
        told = f"no, not by as much as {whole(claim.margin)} ({estimate})"
    else:
        told = f"{'too close to call' if one else 'undecided'} ({estimate}; {span(c.reduction)})"
    also = [
        what
        for what, a, b in (
            ("latent", c.subject.latent, c.reference.latent),
            ("loss", c.subject.loss, c.reference.loss),
            ("optimiser", c.subject.optimizer, c.reference.optimizer),
        )
        if a != b
    ]
    verb = "changes" if len(also) == 1 else "change"
    notes = [f"its {' and '.join(also)} {verb} too"] if also else []
    if 2 * len(c.against) > len(c.others):
        notes.append(f"{len(c.against)} of {len(c.others)} other measures see the opposite")
    return told + (f" ({'; '.join(notes)})" if notes else "")


def _caveats(claim: Claim, results: Results) -> list[str]:
    """What must stand beside the answer: models that had not converged, and one seed."""
    out = []
    found = _convergence(claim, results)
    if any(model.loss != PLAIN for model, _, _ in found):
        losses = dict.fromkeys((m.family, m.loss) for m, _, _ in found)
        told = listed([f"{family} with {loss}" for family, loss in losses])
        out.append(f"Trained: {told}.")
    late = [m.name for m, done, _ in found if not done]
    if late:
        named = listed(late) if len(late) <= _NAMED else f"{len(late)} of {len(found)} models"
        named = "No model" if len(late) == len(found) else named
        told = "had converged" if len(late) == len(found) else "had not converged"
        out.append(f"{named} {told}, so more training may change this.")
    if any(status(c) == "this training only" for c in claim.comparisons):
        out.append(_ONE)
    return out


def _convergence(claim: Claim, results: Results) -> list[tuple[ModelResults, bool, float]]:
    """Model, whether it had converged, and the last part's improvement, of families compared."""
    question = claim.question or "alike"
    families = {c.family for c in claim.comparisons}
    models = [m for m in results.models if m.family in families]
    return [(m, bool(converged(m, question)), improvement(m, question) or 0.0) for m in models]


def convergence(claim: Claim, results: Results) -> list[str]:
    """For each family, whether its models had converged when the budget ended."""
    out = []
    found = _convergence(claim, results)
    for family in dict.fromkeys(model.family for model, _, _ in found):
        mine = [(m.name, done, share) for m, done, share in found if m.family == family]
        late = [(name, share) for name, done, share in mine if not done]
        if late:
            names = listed([name for name, _ in late])
            shares = listed([percent(share) for _, share in late])
            whose = "their" if len(late) > 1 else "its"
            out.append(
                f"{names} had not converged: over the last quarter of the budget {whose} "
                f"validation error still fell by {shares}."
            )
        else:
            most = percent(max(share for _, _, share in mine))
            out.append(
                f"All sizes of {family} had converged: over the last quarter of the budget their "
                f"validation error fell by {most} at most."
            )
    return out


def dissent(claim: Claim, population: str) -> list[str]:
    """For each family, the measures whose sign is not that of the headline."""
    out = []
    for c in claim.of(population):
        if not c.others:
            continue
        names = [f"{MEASURES[key].label} ({percent(c.others[key].estimate)})" for key in c.against]
        if names:
            verb = "sees" if len(names) == 1 else "see"
            rest = len(c.others) - len(names)
            out.append(
                f"For {c.family}, {listed(names)} {verb} the opposite of {claim.measure}, "
                f"{rest} other measure{'' if rest == 1 else 's'} the same."
            )
        else:
            out.append(
                f"For {c.family}, all {len(c.others)} other measures agree on the direction."
            )
    return out


def _of_vaes(claim: Claim, found: list[Comparison]) -> str:
    yes, no = WORDS[claim.key]
    one = all(status(c) == "this training only" for c in found)
    groups: dict[str, list[str]] = {}
    for c in found:
        told = {"yes": yes, "no": f"{no} by the margin", "open": "too close to call"}[c.reading]
        if one and not bounded(c.reduction):
            told = f"{bare(c, yes, no)}, without an interval,"
        elif not one:
            told = c.judged.outcome
        groups.setdefault(told, []).append(f"{c.subject.name} ({percent(c.reduction.estimate)})")
    parts = [f"{told} for {listed(names)}" for told, names in groups.items()]
    if one:
        return f"In this training: {'; '.join(parts)}. {_ONE}"
    return " ".join(f"{upper(part)}." for part in parts)


def bare(comparison: Comparison, yes: str, no: str) -> str:
    """What the estimate alone says, where there is no interval."""
    return yes if comparison.reduction.estimate > comparison.judged.margin else no
