"""The anomaly scores by name, and the one rule by which a training or a model uses one of them."""

from __future__ import annotations

from collections.abc import Container, Sequence

from clarity.details import Separation

#: All the others weighed in one.
FUSED = "fused"
#: The anomaly scores (`clarity.evaluate.scorer`), the simplest first.
SCORES = ("mse", "ssim", "lsd", "normalised", "peak", "latent", "combined", "elbo", FUSED)

#: Pictures that no detector may call normal (`clarity.evaluate.panel`), and what they are called.
PANEL = {
    "black": "black",
    "white": "white",
    "grey": "even grey",
    "gradient": "gradient",
    "stripes": "stripes",
    "checkerboard": "checkerboard",
    "noise": "noise",
    "half": "half missing",
    "negative": "inverted colours",
    "channel": "one colour channel",
    "mosaic": "mosaic of 4 pixels",
}


def best_score(trainings: Sequence[Separation]) -> tuple[str, float]:
    """The fused score where there is one, and its figure on ``val`` (`val_figure`), averaged over
    trainings; else the score with the largest figure.

    The best of some twenty single scores is the luckiest as well: on other people it was worse than
    the fused one even where it had been better on ``val`` (docs/metrics/anomaly-scores.md). Of
    equals the simplest: the one that stands first in `SCORES`. A score that one of the trainings
    has no figure of is left out; where none is left (``val`` without anomalies) it is the simplest
    there is, and its figure NaN.

    Args:
        trainings: ``details.json`` of one or more trainings of a model.
    """
    names = sorted(set.intersection(*(set(one.anomaly) for one in trainings)), key=_place)
    figures: dict[str, float] = {}
    for name in names:
        values = [val_figure(one, name) for one in trainings]
        known = [value for value in values if value is not None]
        if len(known) == len(trainings):
            figures[name] = sum(known) / len(known)
    if not figures:
        return names[0], float("nan")
    best = FUSED if FUSED in figures else max(figures, key=lambda name: figures[name])
    return best, figures[best]


def val_figure(details: Separation, score: str) -> float | None:
    """By what scores are chosen on ``val``: mean AUROC over kinds, each left out of the fit.

    Of an evaluation from before that was measured, the AUROC of all kinds together. None where
    ``val`` has no anomalies.
    """
    apart = details.unseen_kind.get(score, {}).get("val")
    if apart is not None:
        found = apart["mean"]
    else:
        found = details.anomaly[score].get("val", {}).get("all", {}).get("auroc")
    return None if found is None else float(found)


def unseen_column(kind: str, score: str, columns: Container[object]) -> str:
    """Which column of per_image.parquet has ``score`` as it was fitted without a kind of anomaly.

    The fused one has columns for the kinds of ``val``; any other kind it has not seen, and another
    score is fitted to none.
    """
    apart = f"unseen_{kind}"
    return apart if score == FUSED and apart in columns else f"score_{score}"


def _place(name: str) -> tuple[int, str]:
    return SCORES.index(name) if name in SCORES else len(SCORES), name
