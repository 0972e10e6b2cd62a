"""What the numbers do not say: from the run itself, not a fixed disclaimer."""

from __future__ import annotations

from clarity.compare.claims import Claim, confounded
from clarity.compare.results import POPULATIONS, Population, Results
from clarity.compare.words import listed
from clarity.params import SYNTHETIC, Compare

#: Groups that a kind of anomaly should come from for its share of an interval to be estimated well.
FEW_SOURCES = 5
#: Groups of a split below which its intervals are called wide.
FEW_GROUPS = 30


def counts(results: Results) -> dict[Population, tuple[int, int]]:
    """Normal images and people (or groups) in train and in test."""
    out = {}
    for split in POPULATIONS:
        groups = results.groups(split)
        out[split] = (len(groups), len(set(groups)))
    return out


def few_sources(results: Results) -> dict[str, int]:
    """Kinds of anomaly in the test split that come from one to four groups, with the number."""
    anomalous = results.test[results.test["label"] == 1]
    numbers = anomalous.groupby("kind")["group"].nunique()
    return {str(kind): int(n) for kind, n in numbers.items() if n < FEW_SOURCES}


def sources(kind: str, number: int) -> str:
    """What the sources of a kind of anomaly are called: a photograph is nobody."""
    what = "photograph" if kind == "photograph" else "source"
    return f"{number} {what}" + ("s" if number > 1 else "")


def sentences(compare: Compare, results: Results, claims: list[Claim]) -> list[str]:
    """One sentence for every limit that holds in this run."""
    out = []
    images, people = counts(results)["test"]
    who = results.who
    if len(results.seeds) == 1 and any(not model.deterministic for model in results.models):
        out.append(
            f"There is one seed. Every interval is over {who}, for the training at hand; another "
            "seed may give another order of the models. Nothing is confirmed or refuted."
        )
    for family in results.families:
        models = results.family(family)
        reason = "" if models[0].traits.linear else confounded(models)
        if reason and len(models) > 1:
            out.append(f"The sizes of {family} are {reason}.")
    if results.grouped and people < FEW_GROUPS:
        out.append(
            f"The test split holds few {who}: {people} ({images} images). So intervals are "
            + ("none at all." if people == 1 else f"wide, and they speak of {who} like these.")
        )
    few = few_sources(results)
    if few:
        made = listed([f"{kind} ({sources(kind, number)})" for kind, number in few.items()])
        out.append(
            f"Anomalies of these kinds come from few sources: {made}. An interval over so few is "
            "not printed; they alone can make the intervals of an AUROC over all kinds wide."
        )
    out.append(_measure(results))
    out.append(
        "A change per doubling of parameters is a summary of the sizes trained here, with one "
        "recipe; a larger model may want another learning rate or more epochs."
    )
    if set(results.kinds) <= set(SYNTHETIC):
        out.append(
            "The anomalies were made from normal images. How well a model finds these says little "
            "about how well it finds others."
        )
    out.append(
        "Each model's anomaly score is the fused one, or, without one, that with the largest "
        "AUROC on validation images. "
        "Average precision depends on the share of anomalies in the test split, "
        f"here {results.test['label'].mean():.0%}, and has no interval."
    )
    gap = resampling_gap(claims)
    if gap is not None:
        out.append(
            f"The intervals were checked by another method: resampling {who} "
            f"{compare.resamples:,} times, trainings fixed, puts the limits of the reductions at "
            f"most {100 * gap:.1f} percentage points from those of the intervals shown."
        )
    return out


def _measure(results: Results) -> str:
    """What the primary measure is worth."""
    primary = results.primary
    if primary.key == "lsd":
        return (
            "LSD compares amounts of fine detail and ignores whether the detail is in its place; "
            "a picture of wrong detail may count as clear. compare.measure names another measure."
        )
    text = f"{primary.label} stands for what people see"
    if primary.opinion:
        text += (
            f": its rank correlation with people's opinions is {primary.opinion[0]:.2f} and "
            f"{primary.opinion[1]:.2f} on two published collections of distorted photographs"
        )
    return f"{text}. Whether it sees what you see in these images, `clarity eye` asks."


def resampling_gap(claims: list[Claim]) -> float | None:
    """Largest distance between limits shown and limits by resampling people.

    Only where the intervals shown are over people alone (one seed) do the two have one estimand.
    """
    gaps = [
        max(abs(c.reduction.low - c.resampled[0]), abs(c.reduction.high - c.resampled[1]))
        for claim in claims
        for c in claim.comparisons
        if c.resampled and c.reduction.scope == "this training only" and c.reduction.groups > 1
    ]
    return max(gaps, default=None)
