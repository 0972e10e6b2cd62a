"""Pictures that `evaluate` made, chosen and made small enough to be carried in the page."""

from __future__ import annotations

from typing import Any

from clarity.compare.results import ModelResults, Results
from clarity.compare.style import palette
from clarity.compare.table import Row
from clarity.compare.words import upper

#: Wider pictures are made this wide (pixels), so that the page stays a few megabytes.
_WIDEST = 960

#: At most so many models of a kind of picture; in the latent space the VAE and the plain
#: autoencoder beside it come first.
_MOST = {
    "panel": 1,
    "extremes": 2,
    "traversal": 3,
    "interpolation": 2,
    "latent_map": 4,
    "samples": 4,
}

Item = tuple[bytes, str, str]


def collect(
    results: Results, best: ModelResults | None, rows: dict[str, Row]
) -> dict[str, list[Item]]:
    """PNG, alternative text and caption of the pictures, by kind.

    Of each family its largest model is shown, and among detectors the best before them; the rest
    lies in ``evaluations/``. A kind that no model has is an empty list.
    """
    largest = [results.family(family)[-1] for family in results.families]
    by_rank = [best, *(model for model in largest if model is not best)] if best else largest
    by_latent = sorted(largest, key=lambda model: model.traits.latents_shown)
    # A latent of few elements is the one whose elements are turned one at a time.
    orders = {
        "panel": by_rank,
        "extremes": by_rank,
        "traversal": sorted(by_latent, key=lambda model: model.latent),
    }
    out: dict[str, list[Item]] = {}
    for kind, most in _MOST.items():
        models = orders.get(kind, by_latent)
        items = [
            item
            for model in models
            if (item := _item(kind, model, rows[model.name], results.things))
        ]
        out[kind] = items[:most]
    return out


def _item(kind: str, model: ModelResults, row: Row, things: str) -> Item | None:
    path = model.trainings[0].figures / f"{kind}.png"
    if not path.is_file():
        return None
    return _small(path), _text(kind, model, row, things), f"{model.name} (latent {model.latent:,})"


def _small(path: Any) -> bytes:
    from PIL import Image

    with Image.open(path) as image:
        picture = image.convert("RGB")
    if picture.width > _WIDEST:
        height = round(picture.height * _WIDEST / picture.width)
        picture = picture.resize((_WIDEST, height), Image.Resampling.LANCZOS)
    return palette(picture)


def _text(kind: str, model: ModelResults, row: Row, things: str) -> str:
    if kind == "extremes":
        return (
            f"Test images that {model.name} finds most and least anomalous by its score "
            f"{model.best_score}; its AUROC is {row['auroc']:.3f}"
        )
    if kind == "panel":
        return (
            f"The panel of pictures that nobody would call normal, and whether {model.name} raises "
            f"the alarm by its score {model.best_score}"
        )
    if kind == "traversal":
        return (
            f"{upper(things)} decoded by {model.name} as its latent of {model.latent:,} is moved: "
            "a row for each element, or principal direction where there are many, while the "
            "others stay"
        )
    if kind == "interpolation":
        return (
            f"{upper(things)} decoded by {model.name} along straight lines between pairs of latents"
        )
    if kind == "latent_map":
        return (
            f"Map of the test images in two directions of {model.name}'s latent space, "
            "normals and anomalies in different colours"
        )
    drawn = "the prior" if model.traits.prior else "a distribution fitted to the latents"
    return f"{upper(things)} that {model.name} decodes from latents drawn from {drawn}"
