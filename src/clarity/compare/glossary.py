"""What the page's abbreviations mean: spelled out where each first stands, explained at its end."""

from __future__ import annotations

import html
import re
from dataclasses import dataclass

from clarity.compare.results import Results
from clarity.measures import MEASURES, Measure
from clarity.params import family_of


@dataclass(frozen=True)
class Term:
    """One abbreviation.

    Attributes:
        key: of its anchor, ``#g-KEY``.
        labels: as it is written, the usual one first.
        name: spelled out.
        text: what it is, a sentence or two.
    """

    key: str
    labels: tuple[str, ...]
    name: str
    text: str

    @property
    def label(self) -> str:
        return self.labels[0]


_OTHERS = (
    Term(
        "auroc", ("AUROC", "AUROCs"), "area under the receiver operating characteristic",
        "The chance that a random anomaly has a higher score than a random normal image; "
        "0.5 is chance, 1 is perfect.",
    ),
    Term(
        "ap", ("AP",), "average precision",
        "The mean precision over all thresholds, weighted by the recall each gains; by chance the "
        "share of anomalies.",
    ),
    Term(
        "flops", ("FLOPs",), "floating-point operations",
        "Of one image's reconstruction; a multiplication with its addition counts two.",
    ),
    Term(
        "gflop", ("GFLOP",), "10⁹ floating-point operations",
        "Spent on each training image over the whole training, forward and backward.",
    ),
    Term(
        "holm", ("Holm",), "step-down correction for several comparisons, 1979",
        "Several comparisons judged together are each asked for more confidence, so that the "
        "chance of any wrong decision among them stays at the stated one.",
    ),
    Term("db", ("dB",), "decibels", "Ten times the decimal logarithm of a ratio of powers."),
    Term(
        "sha", ("SHA-256",), "secure hash algorithm with 256 bits",
        "A checksum: two files with the same one are the same file.",
    ),
)  # fmt: skip
#: Anomaly scores, as docs/metrics/anomaly-scores.md defines them.
SCORES = {
    "mse": "the mean squared error of the reconstruction",
    "ssim": "1 minus the structural similarity of the reconstruction",
    "lsd": "the log-spectral distance of the reconstruction",
    "normalised": "the squared error over what is usual at that pixel, averaged over pixels",
    "peak": "the largest error in any one place, over what is usual there",
    "latent": "the distance of the latent from those of the training images (Mahalanobis)",
    "combined": "the error over what is usual, and how unusual the latent is, on a common scale",
    "fused": "all the others, weighed by a regression on validation images",
    "elbo": "the negative evidence lower bound: how unlikely the VAE finds the image",
}
#: Signals that only the fused score uses, by what their names begin with; a number follows.
_SIGNALS = {
    "local": "the largest error of a patch of 6 pixels against errors of training images there "
    "(Mahalanobis)",
    "joint": "how unusual all of them are together, as the normals vary (Mahalanobis)",
    "patch_": "the largest error of a patch of {} pixels, over what varies in it",
    "share_": "the error of detail of {} cycles an image, up to twice as fine, over its own power",
    "band_": "the error of detail of {} cycles an image, up to twice as fine",
}


def signal(name: str) -> str:
    """What a signal of the fused score measures; empty where this version does not know it."""
    for start, text in _SIGNALS.items():
        if name.startswith(start):
            return text.format(name.removeprefix(start))
    return SCORES.get(name, "")


def terms(results: Results) -> list[Term]:
    """Those of this run: its measures, its families, and what every page speaks of."""
    measures = [_measure(MEASURES[key]) for key in results.measures]
    families = [_family(family) for family in results.families]
    return measures + families + list(_OTHERS)


def _family(family: str) -> Term:
    row = family_of(family)
    return Term(re.sub(r"\W+", "-", row.key), row.labels, row.name, row.text)


def _measure(measure: Measure) -> Term:
    text = "Lower is better" if measure.lower_is_better else "Higher is better"
    if measure.perfect is not None:
        text += f"; {measure.perfect:g} for an identical picture"
    if measure.source:
        text += f" ({measure.source})"
    if measure.opinion:
        text += (
            f". Its rank correlation with people's opinions is {measure.opinion[0]:.2f} (TID2013) "
            f"and {measure.opinion[1]:.2f} (KADID-10k, both collections of distorted photographs)"
        )
    return Term(measure.key.replace("_", "-"), (measure.label,), measure.name, f"{text}.")


#: Elements in whose text no term is linked.
_LEAVE = {"a", "code", "pre", "style", "title", "h1", "h2", "h3", "h4", "th", "caption", "summary"}
_TAG = re.compile(r"<(/?)([a-zA-Z0-9]+)[^>]*>")


def link(page: str, known: list[Term], end: str) -> str:
    """Link each term where it first stands in running text, and spell it out there.

    Args:
        page: HTML; ``>`` in attributes is written as an entity.
        end: text at which to stop: where the glossary itself begins.
    """
    head, body = page.split("<body>", 1)
    body, mark, rest = body.partition(end)
    waiting = {label: term for term in known for label in term.labels}
    pattern = re.compile(
        r"(?<![\w-])(" + "|".join(sorted(map(re.escape, waiting), key=len, reverse=True))
        + r")(?![\w-])"
    )  # fmt: skip
    done: set[str] = set()
    out, inside, place = [], 0, 0

    def spelled(match: re.Match[str]) -> str:
        label = match.group(1)
        term = waiting[label]
        if term.key in done:
            return label
        done.add(term.key)
        name = html.escape(term.name)
        there = name in match.string[match.end() : match.end() + len(name) + 40]
        return f'<a href="#g-{term.key}">{label}</a>' + ("" if there else f" ({name})")

    for tag in _TAG.finditer(body):
        text = body[place : tag.start()]
        out += [text if inside else pattern.sub(spelled, text), tag.group()]
        place = tag.end()
        if tag.group(2) in _LEAVE:
            inside += -1 if tag.group(1) else 1
    out.append(body[place:])
    # A number and its percent sign stay on one line.
    return f"{head}<body>{''.join(out)}{mark}{rest}".replace(" %", "\u00a0%")
