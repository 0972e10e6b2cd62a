"""The contact sheet: the most anomalous images, what the model made of them, and where it erred."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from clarity.files import atomic_path
from clarity.score.pictures import error_map

if TYPE_CHECKING:
    from clarity.score.detector import Detector
    from clarity.score.sources import Source

COLUMNS = 5
DPI = 110


def write_sheet(
    path: Path, source: Source, detector: Detector, top: list[tuple[float, int, str]]
) -> None:
    """Draw score-ordered images as original | reconstruction | error map.

    Args:
        path: a PNG.
        source: where the images are read from once more.
        detector: what scored them.
        top: score, place in the source, id; the highest score first.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    from clarity.models.base import in_colour

    read = [(row, source.read(row[1], row[1] + 1).images) for row in top]
    top = [row for row, image in read if len(image)]  # but what vanished since it was scored
    if not top:
        return
    images = np.concatenate([image for _, image in read])
    verdict = detector.judge(images, reconstruct=True)
    assert verdict.reconstruction is not None
    rows = -(-len(top) // COLUMNS)
    columns = min(COLUMNS, len(top))
    figure = Figure(figsize=(2.9 * columns, 1.35 * rows + 0.5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(rows, columns, squeeze=False)
    for axis in axes.flat:
        axis.axis("off")
    triples = zip(top, images, verdict.reconstruction, strict=True)
    for axis, ((score, _, name), original, made) in zip(axes.flat, triples, strict=False):
        pair = in_colour(original), in_colour(made)
        axis.imshow(np.concatenate([*pair, error_map(original, made)], axis=1))
        mark = "anomalous" if score > detector.threshold else "normal"
        short = name if len(name) <= 28 else f"…{name[-27:]}"
        axis.set_title(f"{short}\n{score:.4g}, {mark}", fontsize=7, parse_math=False)
    figure.suptitle(
        f"Most anomalous by {detector.score_name} (threshold {detector.threshold:.4g}): "
        "original, reconstruction, error map",
        fontsize=9,
    )
    with atomic_path(path) as temporary, warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph")  # a name in a script the font lacks
        figure.savefig(temporary, format="png", dpi=DPI, metadata={"Software": None})
