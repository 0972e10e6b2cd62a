"""Rows of image tiles with labels and captions, as PNG bytes that repeat."""

from __future__ import annotations

import io
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from clarity.models.base import in_colour

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Pictures = NDArray[np.uint8]

#: Screen pixels of a tile (more where images have more), of the gap between two, and of the lines
#: of text around them.
TILE, GAP, CAPTION, BAND_GAP, TITLE, NOTE, MARGIN = 96, 4, 17, 10, 34, 17, 12
DPI = 100
INK, QUIET = "#222222", "#5f5f5f"
#: Of a mask's outline: light blue, which no error has, and its width in screen pixels.
OUTLINE, WIDTH = (120, 220, 255), 1
#: Root error shown in the brightest colour; the same in every picture, so that models compare.
BRIGHTEST = 0.4


@dataclass(frozen=True)
class Band:
    """One row of tiles: a label to its left, captions below (lines of text each, and a colour).

    ``masks``: uint8 N×H×H, not 0 within what is outlined; None: nothing is.
    """

    label: str
    tiles: Pictures
    captions: Sequence[str] = ()
    colours: Sequence[str] = field(default_factory=tuple)
    masks: NDArray[np.uint8] | None = None


def as_bytes(images: Tensor) -> Pictures:
    """N×C×H×W on [0, 1] as uint8 N×H×W×C, rounded."""
    rounded = (images.clamp(0, 1) * 255).round().byte()
    stored: Pictures = rounded.permute(0, 2, 3, 1).contiguous().cpu().numpy()
    return stored


def error_colours(errors: Tensor) -> Pictures:
    """Squared errors (N×H×W) as colours (uint8 N×H×W×3): black at 0, bright at `BRIGHTEST`."""
    from matplotlib import colormaps

    scaled = (errors.double().sqrt() / BRIGHTEST).clamp(0, 1).cpu().numpy()
    coloured: Pictures = (colormaps["inferno"](scaled)[..., :3] * 255).round().astype(np.uint8)
    return coloured


def sheet(bands: Sequence[Band], title: str, note: str = "") -> bytes:
    """Draw the bands below each other.

    All tiles are one picture on the figure, a screen pixel each: a matplotlib axes for every tile
    takes ten times as long.
    """
    from matplotlib.figure import Figure

    tile = max(TILE, *(band.tiles.shape[1] for band in bands))
    longest = max(len(band.label) for band in bands)
    left = MARGIN + (8 * longest + 12 if longest else 0)
    columns = max(len(band.tiles) for band in bands)
    width = max(left + columns * (tile + GAP) + MARGIN, 8 * len(title) + 2 * MARGIN)
    notes = textwrap.wrap(note, (width - 2 * MARGIN) // 7)
    lines = [max((words.count("\n") + 1 for words in band.captions), default=0) for band in bands]
    heights = [tile + CAPTION * count + BAND_GAP for count in lines]
    height = TITLE + sum(heights) + NOTE * len(notes) + (MARGIN if notes else 0)
    figure = Figure(figsize=(width / DPI, height / DPI), dpi=DPI, facecolor="white")
    canvas = np.full((height, width, 3), 255, np.uint8)

    def write(x: float, y: float, words: str, **style: Any) -> None:
        figure.text(x / width, 1 - y / height, words, **style)

    write(MARGIN, TITLE / 2, title, size=11, weight="bold", color=INK, va="center")
    top = TITLE
    for band, room in zip(bands, heights, strict=True):
        write(MARGIN, top + tile / 2, band.label, size=10, color=INK, va="center")
        for place, picture in enumerate(in_colour(band.tiles)):
            x = left + place * (tile + GAP)
            shown = enlarged(picture, tile)
            if band.masks is not None:
                shown = outlined(shown, band.masks[place])
            canvas[top : top + tile, x : x + tile] = shown
            if place < len(band.captions):
                colour = band.colours[place] if band.colours else QUIET
                write(
                    x + tile / 2, top + tile + 3, band.captions[place],
                    size=8, color=colour, va="top", ha="center", linespacing=1.25,
                )  # fmt: skip
        top += room
    for place, words in enumerate(notes):
        write(MARGIN, top + NOTE * (place + 0.5), words, size=8.5, color=QUIET, va="center")
    figure.figimage(canvas, origin="upper")
    return png(figure)


def enlarged(picture: Pictures, side: int = TILE) -> Pictures:
    """One image (uint8 H×W×3) at ``side``×``side`` pixels, smoothly."""
    from PIL import Image

    return np.asarray(Image.fromarray(picture).resize((side, side), Image.Resampling.BICUBIC))


def outlined(picture: Pictures, mask: NDArray[np.uint8]) -> Pictures:
    """A picture (uint8 S×S×3) with a line round what a mask (H×H) marks, outside of it."""
    from PIL import Image
    from scipy.ndimage import binary_dilation

    size = picture.shape[1], picture.shape[0]
    marked = Image.fromarray(mask.astype(bool)).resize(size, Image.Resampling.NEAREST)
    inside = np.asarray(marked, dtype=bool)
    shown = picture.copy()
    shown[binary_dilation(inside, np.ones((3, 3), bool), iterations=WIDTH) & ~inside] = OUTLINE
    return shown


def strip(rows: Sequence[Pictures]) -> bytes:
    """Rows of bare tiles, side by side and below each other, without margin or label."""
    from PIL import Image

    coloured = [list(in_colour(row)) for row in rows]
    picture = np.concatenate([np.concatenate(row, axis=1) for row in coloured], axis=0)
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, format="PNG")
    return buffer.getvalue()


def png(figure: Figure) -> bytes:
    """A figure's bytes, without the writer's name or any date."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()
