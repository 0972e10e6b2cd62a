"""The pairs on numbered sheets, to be looked at on paper or in any picture viewer."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import numpy as np

from clarity.eye.draw import Trial
from clarity.eye.pictures import Picture, Shown

#: Pairs on a sheet, screen pixels to a pixel, and the room around.
ROWS, TIMES, GAP, LEFT, TOP = 6, 3, 16, 72, 44
#: Neutral, mid-way between black and white in lightness: no side gains from its surround.
GREY, INK = (117, 117, 117), (255, 255, 255)


def sheets(trials: Sequence[Trial], shown: Sequence[Shown], question: str) -> dict[str, bytes]:
    """PNG by file name, ``sheet-01.png`` on: left, middle, right, and each pair's number."""
    pairs = list(zip(trials, shown, strict=True))
    parts = [pairs[start : start + ROWS] for start in range(0, len(pairs), ROWS)]
    digits = max(2, len(str(len(parts))))
    return {
        f"sheet-{number:0{digits}d}.png": _sheet(part, question)
        for number, part in enumerate(parts, 1)
    }


def _sheet(part: Sequence[tuple[Trial, Shown]], question: str) -> bytes:
    from PIL import Image, ImageDraw, ImageFont

    high, wide = (TIMES * side for side in part[0][1].left.shape[:2])
    columns = len(_sides(part[0][1]))
    width = LEFT + columns * (wide + GAP)
    sheet = Image.new("RGB", (max(width, 560), TOP + len(part) * (high + GAP)), GREY)
    draw = ImageDraw.Draw(sheet)
    large, small = ImageFont.load_default(size=26), ImageFont.load_default(size=15)
    draw.text((GAP, TOP // 2), question, fill=INK, font=small, anchor="lm")
    for row, (trial, pictures) in enumerate(part):
        top = TOP + row * (high + GAP)
        draw.text((LEFT // 2, top + high // 2), str(trial.number), INK, font=large, anchor="mm")
        for column, picture in enumerate(_sides(pictures)):
            sheet.paste(_enlarged(picture), (LEFT + column * (wide + GAP), top))
    out = io.BytesIO()
    sheet.save(out, format="PNG", optimize=True)
    return out.getvalue()


def _sides(shown: Shown) -> list[Picture]:
    middle = [] if shown.middle is None else [shown.middle]
    return [shown.left, *middle, shown.right]


def _enlarged(picture: Picture) -> Any:
    """Every pixel as a square: nothing is smoothed, nothing left out."""
    from PIL import Image

    return Image.fromarray(np.repeat(np.repeat(picture, TIMES, axis=0), TIMES, axis=1))
