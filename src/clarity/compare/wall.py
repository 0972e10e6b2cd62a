"""The wall: the same faces, original first, then every model's reconstruction of them."""

from __future__ import annotations

import io
import math
from dataclasses import dataclass
from typing import Any

from clarity.compare.results import ModelResults, Results
from clarity.compare.style import palette
from clarity.errors import ClarityError

#: Parts of `strip.png`, from the top.
ORIGINAL, RECONSTRUCTION, ERROR = range(3)


@dataclass(frozen=True)
class Strip:
    """One row of the wall: ``caption`` and the bare tiles, side by side."""

    model: str
    caption: str
    image: Any


def strips(results: Results, part: int) -> list[Strip]:
    """A row for each model; before the reconstructions, one of the originals.

    Pictures are those of the first seed.

    Raises:
        ClarityError: a strip is missing or has another size than the first.
    """
    rows: list[Strip] = []
    size = None
    for model in results.models:
        image = _strip(model)
        size = size or image.size
        if image.size != size or image.height != 3 * results.size:
            path = model.trainings[0].figures / "strip.png"
            right = f"{size[0]}×{3 * results.size}"
            raise ClarityError(
                f"{path}: {image.width}×{image.height} pixels, expected {right}; "
                f"run `dvc repro -f evaluate@{model.trainings[0].name}`"
            )
        if part == RECONSTRUCTION and not rows:
            rows.append(Strip("original", "Originals", _cut(image, ORIGINAL)))
        rows.append(Strip(model.name, model.name, _cut(image, part)))
    return rows


def _strip(model: ModelResults) -> Any:
    from PIL import Image, UnidentifiedImageError

    training = model.trainings[0]
    path = training.figures / "strip.png"
    try:
        with Image.open(path) as image:
            return image.convert("RGB")
    except FileNotFoundError:
        raise ClarityError(
            f"{path}: no such file; run `dvc repro -f evaluate@{training.name}`"
        ) from None
    except (UnidentifiedImageError, OSError):
        raise ClarityError(
            f"{path}: not a readable picture; run `dvc repro -f evaluate@{training.name}`"
        ) from None


def _cut(image: Any, part: int) -> Any:
    side = image.height // 3
    return image.crop((0, part * side, image.width, (part + 1) * side))


def png_bytes(image: Any) -> bytes:
    """A strip as PNG, colours untouched."""
    out = io.BytesIO()
    image.save(out, format="PNG", optimize=True)
    return out.getvalue()


def picture(rows: list[Strip]) -> bytes:
    """The rows below each other with their names, as one PNG (for `dvc plots` and the README)."""
    from PIL import Image, ImageDraw, ImageFont

    font = ImageFont.load_default(size=14)
    longest = max(math.ceil(font.getlength(row.model)) for row in rows)
    left, gap, side = max(116, longest + 12), 4, rows[0].image.height
    width = left + rows[0].image.width
    sheet = Image.new("RGB", (width, len(rows) * (side + gap) - gap), "white")
    draw = ImageDraw.Draw(sheet)
    for place, row in enumerate(rows):
        top = place * (side + gap)
        draw.text((4, top + side // 2), row.model, fill="#222222", font=font, anchor="lm")
        sheet.paste(row.image, (left, top))
    return palette(sheet)
