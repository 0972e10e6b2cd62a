"""How the figures look: colours and marks by family, fonts, and PNG without a time or a version."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from clarity.params import ENSEMBLE, FAMILIES, family_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: By family; `name_families` adds those of one's own.
COLOURS = {key: family_of(key).colour for key in (*FAMILIES, ENSEMBLE)}
MARKS = {key: family_of(key).mark for key in COLOURS}
#: For families of one's own, in order of name; the first again where they do not last.
_MORE = (("#7A6000", "P"), ("#5B4DB2", "v"), ("#00707F", "*"), ("#8C3B2E", "<"))
#: Lines of a family's sizes, from the smallest to the largest.
DASHES: tuple[Any, ...] = ((0, (1, 1.5)), (0, (5, 2)), "-", (0, (5, 1.5, 1, 1.5)))

SETTINGS: dict[Any, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 10,
    "axes.titlesize": 10.5,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#E3E3E3",
    "grid.linewidth": 0.7,
    "axes.axisbelow": True,
    "legend.frameon": False,
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
}


def name_families(families: Sequence[str]) -> None:
    """Give families of one's own a colour and a mark; Clarity's keep theirs."""
    for place, family in enumerate(one for one in families if ":" in one):
        COLOURS[family], MARKS[family] = _MORE[place % len(_MORE)]


def shade(family: str, place: int, sizes: int) -> str:
    """The family's colour for the model at ``place`` of ``sizes``: paler the smaller it is."""
    white = 0.55 * (1 - (place + 1) / sizes)
    parts = (int(COLOURS[family][at : at + 2], 16) for at in (1, 3, 5))
    return "#" + "".join(f"{round(part + (255 - part) * white):02X}" for part in parts)


def dash(place: int, sizes: int) -> Any:
    """The line of the model at ``place`` of ``sizes``: the largest is always solid."""
    lines = {1: DASHES[2:3], 2: (DASHES[0], DASHES[2]), 3: DASHES[:3]}.get(sizes, DASHES)
    return lines[place % len(lines)]


def panels(
    number: int, columns: int, height: float, narrow: bool, **more: Any
) -> tuple[Figure, list[Any], int]:
    """A figure of ``number`` panels of ``height`` inches: panels in reading order, and columns."""
    from matplotlib import pyplot

    columns = 1 if narrow else min(columns, number)
    lines = -(-number // columns)
    figure, grid = pyplot.subplots(
        lines, columns, figsize=(4.4 if narrow else 9.2, 0.5 + height * lines),
        layout="constrained", squeeze=False, **more,
    )  # fmt: skip
    found = list(grid.flat)
    for axes in found[number:]:
        axes.set_visible(False)
    return figure, found[:number], columns


def legend(figure: Figure, axes: Any, narrow: bool) -> None:
    """One legend for all panels, below them."""
    handles, labels = axes.get_legend_handles_labels()
    columns = 3 if narrow else len(labels)
    figure.legend(handles, labels, loc="outside lower center", ncols=columns)


def png(figure: Figure, dpi: int) -> bytes:
    """The figure as PNG: 256 colours, no metadata, the same bytes every time."""
    from matplotlib import pyplot
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from PIL import Image

    # `savefig` draws everything twice, the first time for the layout alone.
    figure.set_dpi(dpi)
    canvas: Any = FigureCanvasAgg(figure)
    canvas.draw()
    pyplot.close(figure)
    return palette(Image.fromarray(np.asarray(canvas.buffer_rgba())[..., :3]))


def palette(image: Any) -> bytes:
    """A PIL image as an optimised PNG of at most 256 colours."""
    from PIL import Image

    small = image.quantize(256, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    out = io.BytesIO()
    small.save(out, format="PNG", optimize=True)
    return out.getvalue()
