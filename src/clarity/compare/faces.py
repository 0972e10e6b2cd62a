"""Three faces beside each headline: what the smallest and the largest model make of them.

They are chosen by the primary measure alone: where it sees the largest gain from the smallest to
the largest model, the median one, and the largest loss. So a reader can check by looking.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clarity.compare.claims import Claim, Comparison
from clarity.compare.results import ModelResults, Population, Question, Results, distances
from clarity.errors import ClarityError
from clarity.files import read_json
from clarity.layout import normals
from clarity.params import Params

Pixels = NDArray[np.uint8]
#: Times that each pixel is repeated, so that none is hidden and none invented.
ENLARGED = 2
_GAP = 4


@dataclass(frozen=True)
class Pick:
    """One face of a comparison, of the first seed.

    Attributes:
        what: why it is here: ``largest gain``, ``median``, ``largest loss``.
        row: among the normals of its split.
        before, after: the primary measure of the smallest and of the largest model.
        tiles: original, smallest, largest: uint8 3×H×H×3.
    """

    what: str
    row: int
    before: float
    after: float
    tiles: Pixels


@dataclass(frozen=True)
class Trio:
    """The three faces of one comparison."""

    question: Question
    family: str
    population: Population
    small: str
    large: str
    picks: tuple[Pick, ...]


def trios(results: Results, claims: Sequence[Claim], params: Params) -> list[Trio]:
    """Three faces for every comparison of sizes, in the order of the claims.

    Raises:
        ClarityError: weights or packed images are missing or broken.
    """
    from clarity.models.device import prepare

    # Pictures of eight bits: the CPU's are those of any device, and every machine has one.
    prepare("cpu", params.threads)
    network = cache(_network)  # the same models stand in several comparisons
    return [
        _trio(results, claim.question, comparison, network)
        for claim in claims
        if claim.question
        for comparison in claim.comparisons
    ]


def _trio(
    results: Results, question: Question, c: Comparison, network: Callable[[Path, Path], Any]
) -> Trio:
    population: Population = "train" if c.population == "train" else "test"
    key = results.primary.key
    small, large = (_first(model, question, population, key) for model in (c.reference, c.subject))
    gains = distances(key, small) - distances(key, large)
    rows = results.rows[population][key]
    chosen = _chosen(gains)
    picked = rows[[place for _, place in chosen]]
    from clarity.models.base import in_colour

    originals = _originals(population, picked)
    before, after = (
        _reconstructed(model, question, originals, network) for model in (c.reference, c.subject)
    )
    return Trio(
        question=question,
        family=c.family,
        population=population,
        small=c.reference.name,
        large=c.subject.name,
        picks=tuple(
            Pick(
                what,
                int(rows[place]),
                float(small[place]),
                float(large[place]),
                in_colour(np.stack([originals[at], before[at], after[at]])),
            )
            for at, (what, place) in enumerate(chosen)
        ),
    )


def _first(
    model: ModelResults, question: Question, population: Population, key: str
) -> NDArray[np.float64]:
    measured = model.measured(question)
    assert measured is not None
    first: NDArray[np.float64] = measured[population][key][0]
    return first


def _chosen(gains: NDArray[np.float64]) -> list[tuple[str, int]]:
    """The places of most, median and least gain, and what each is; ties by place."""
    order = np.argsort(-gains, kind="stable")
    most, median, least = (int(order[at]) for at in (0, (len(order) - 1) // 2, -1))
    return [
        ("largest gain" if gains[most] > 0 else "smallest loss", most),
        ("median", median),
        ("largest loss" if gains[least] < 0 else "smallest gain", least),
    ]


def _originals(split: Population, rows: NDArray[np.int64]) -> Pixels:
    path = normals(split)
    try:
        images = np.load(path, mmap_mode="r", allow_pickle=False)
        return np.stack([np.asarray(images[row], dtype=np.uint8) for row in rows])
    except FileNotFoundError:
        raise ClarityError(f"{path}: no such file; run `dvc repro preprocess`") from None
    except (ValueError, IndexError):
        raise ClarityError(f"{path}: broken or too short; run `dvc repro -f preprocess`") from None


def _reconstructed(
    model: ModelResults,
    question: Question,
    images: Pixels,
    network: Callable[[Path, Path], Any],
) -> Pixels:
    import torch

    from clarity.models.base import to_images, to_input

    training = model.trainings[0]
    path = training.weights if question == "alike" else training.same_compute
    made = network(training.description, path)
    with torch.inference_mode():
        return to_images(made(to_input(images)))


def _network(description: Path, weights: Path) -> Any:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    from clarity.models.build import rebuild

    try:
        tensors = load_file(weights)
    except FileNotFoundError:
        raise ClarityError(f"{weights}: no such file; run `dvc repro` or `dvc checkout`") from None
    except (SafetensorError, ValueError) as error:
        raise ClarityError(f"{weights}: broken ({error}); restore it with dvc checkout") from None
    return rebuild(read_json(description), tensors)


def strip(pick: Pick) -> Any:
    """Original, smallest and largest side by side, enlarged, as a PIL image."""
    from PIL import Image

    side = pick.tiles.shape[1] * ENLARGED
    sheet = Image.new("RGB", (3 * side + 2 * _GAP, side), "white")
    for place, tile in enumerate(pick.tiles):
        grown = Image.fromarray(tile).resize((side, side), Image.Resampling.NEAREST)
        sheet.paste(grown, (place * (side + _GAP), 0))
    return sheet


def sheet(results: Results, found: Sequence[Trio]) -> Any:
    """All trios of the headline's question on test images, as one PIL image (for `dvc plots`)."""
    from PIL import Image, ImageDraw, ImageFont

    mine = [t for t in found if t.question == "alike" and t.population == "test"]
    side, left, head = results.size * ENLARGED, 4, 44
    strips = [[strip(pick) for pick in trio.picks] for trio in mine]
    wide = 3 * side + 2 * _GAP
    size = (left + 3 * (wide + 16), max(len(mine), 1) * (side + head))
    page = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(page)
    font = ImageFont.load_default(size=13)
    if not mine:
        draw.text((left, 8), "No family with two sizes trained alike", fill="#222222", font=font)
    for line, (trio, pictures) in enumerate(zip(mine, strips, strict=True)):
        top = line * (side + head)
        for column, (pick, picture) in enumerate(zip(trio.picks, pictures, strict=True)):
            x = left + column * (wide + 16)
            # The font that Pillow brings has no arrow.
            told = f"{pick.what}: {results.primary.label} {values(results, pick)}"
            told = told.replace("→", "to")
            draw.text((x, top + 5), told, fill="#222222", font=font)
            names = f"original, {trio.small}, {trio.large}"
            draw.text((x, top + 23), names, fill="#555555", font=font)
            page.paste(picture, (x, top + head - 2))
    return page


def values(results: Results, pick: Pick) -> str:
    """``0.695 → 0.714``."""
    digits = results.primary.digits
    return f"{pick.before:.{digits}f} → {pick.after:.{digits}f}"
