"""The pictures of one model, each as PNG bytes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from textwrap import fill

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from torch import Tensor

from clarity.choice import PANEL
from clarity.evaluate.forward import decode
from clarity.evaluate.images import Images
from clarity.evaluate.latent import traversal, walk
from clarity.evaluate.panel import Panel
from clarity.evaluate.scorer import Scorer
from clarity.evaluate.sheet import (
    BRIGHTEST,
    INK,
    QUIET,
    Band,
    as_bytes,
    error_colours,
    png,
    sheet,
    strip,
)
from clarity.models.base import Autoencoder

#: Distinguishable with any colour vision (Okabe & Ito 2008).
BLUE, COLOURS = "#0072B2", ("#D55E00", "#CC79A7", "#009E73", "#E69F00", "#56B4E9", "#7F3C8D")
MARKERS = ("^", "s", "D", "v", "P", "X")
ERROR_NOTE = (
    f"Error: root mean square over the colour channels, from 0 (black) to {BRIGHTEST} and more."
)
#: Images in a row of `extremes`, walks in `interpolation`, columns of walks and traversals.
EXTREMES, WALKS, COLUMNS = 8, 4, 9
#: Rows of a traversal: elements of the latent, or principal directions where there are more.
ROWS = 5
#: Pictures in a row of the panel, and the grey of their frames.
PANEL_ROW, FRAME = 9, 190
#: Points of each kind in the map, at most.
POINTS = 1500


def grid(
    model: Autoencoder, scorer: Scorer, images: Images, rows: NDArray[np.int64], name: str
) -> tuple[bytes, bytes]:
    """``grid.png`` and ``strip.png``: original, reconstruction and error of these test faces."""
    seen = scorer.inspect(model, batch := images.batch("test", 0, rows))
    original = batch.cpu().numpy()
    rebuilt, errors = as_bytes(seen.reconstruction), error_colours(seen.error_map)
    captions = [f"MSE {mse:.4f}" for mse in seen.metrics["mse"].tolist()]
    bands = [
        Band("Original", original),
        Band("Reconstruction", rebuilt),
        Band("Error", errors, captions),
    ]
    note = f"Images of the test split, none of them seen in training. {ERROR_NOTE}"
    return sheet(bands, f"{name}: reconstructions", note), strip([original, rebuilt, errors])


def extremes(
    model: Autoencoder,
    scorer: Scorer,
    images: Images,
    table: pd.DataFrame,
    name: str,
) -> bytes:
    """``extremes.png``: the most and the least anomalous test images by the best score.

    Masks that the source brought are outlined in the error maps.
    """
    best = scorer.best or "mse"
    test = table[table["split"] == "test"]
    order = test.sort_values(f"score_{best}", kind="stable", ascending=False)
    count = min(EXTREMES, len(order))
    bands: list[Band] = []
    masked = images.brought_masks("test")
    for side, chosen in (("Most", order[:count]), ("Least", order[::-1][:count])):
        stored = np.stack(
            [
                images.arrays["test", int(row_label)][int(row)]
                for row_label, row in zip(chosen["label"], chosen["row"], strict=True)
            ]
        )
        batch = images.batch("test", 0, np.zeros(1, np.int64)).new_tensor(stored)
        seen = scorer.inspect(model, batch)
        captions = [
            f"{kind}\n{score:.3g}"
            for kind, score in zip(chosen["kind"], chosen[f"score_{best}"], strict=True)
        ]
        colours = [COLOURS[0] if anomalous else BLUE for anomalous in chosen["label"]]
        masks = np.zeros(stored.shape[:3], np.uint8)
        for place, (label, row) in enumerate(zip(chosen["label"], chosen["row"], strict=True)):
            if label and row in masked:
                masks[place] = images.masks["test"][int(row)]
        bands += [
            Band(f"{side} anomalous", stored),
            Band("Reconstruction", as_bytes(seen.reconstruction)),
            Band(
                "Error", error_colours(seen.error_map), captions, colours,
                masks if masks.any() else None,
            ),
        ]  # fmt: skip
    line = scorer.thresholds.get(best)
    above = "" if line is None else f" Flagged above {line:.3g}."
    note = f"Test images by score “{best}”, the one in use.{above} {ERROR_NOTE}"
    if any(band.masks is not None for band in bands):
        note += " Outlined: where the source’s masks say that the anomaly is."
    return sheet(bands, f"{name}: the most and the least anomalous test images", note)


def obvious(shown: Panel, alarms: NDArray[np.bool_], name: str) -> bytes:
    """``panel.png``: the pictures that nobody would call normal, and what the detector says.

    Args:
        alarms: N, row for row with the panel, whether the best score lies above its threshold.
    """
    bands = []
    framed = shown.pictures.copy()  # white on white is to be seen, too
    framed[:, [0, -1]] = framed[:, :, [0, -1]] = FRAME
    for start in range(0, len(shown.names), PANEL_ROW):
        here = range(start, min(start + PANEL_ROW, len(shown.names)))
        captions = [
            f"{'alarm' if alarms[k] else 'let through'}\n{fill(PANEL[shown.names[k]], 12)}"
            for k in here
        ]
        colours = [QUIET if alarms[k] else COLOURS[0] for k in here]
        bands.append(Band("", framed[list(here)], captions, colours))
    return sheet(bands, f"{name}: pictures that nobody would call normal")


def traversals(model: Autoencoder, latents: Tensor, device_of: Tensor, name: str) -> bytes:
    """``traversal.png``: what each element of the latent changes."""
    size = latents.shape[1]
    grid_latents, labels = traversal(latents, ROWS, COLUMNS)
    bands = [
        Band(label.capitalize(), as_bytes(decode(model, row.to(device_of.device))))
        for label, row in zip(labels, grid_latents, strict=True)
    ]
    if size <= ROWS:
        title = f"{name}: each element of the latent in turn"
        note = "From the 2 % to the 98 % quantile of the training images; the others at the median."
    else:
        title = f"{name}: leading principal directions of the latent ({size:,} elements)"
        note = "From -2.5 to 2.5 standard deviations of the training images around their mean."
    return sheet(bands, title, note)


def interpolation(
    model: Autoencoder,
    ends: tuple[Tensor, Tensor],
    originals: tuple[NDArray[np.uint8], NDArray[np.uint8]],
    name: str,
) -> bytes:
    """``interpolation.png``: straight walks in the latent space between pairs of test faces.

    Args:
        ends: latents of first and second faces, P×D each.
        originals: the faces themselves, uint8 P×H×H×C each.
    """
    bands = []
    for place, latents in enumerate(walk(ends[0][:WALKS], ends[1][:WALKS], COLUMNS - 1)):
        decoded = as_bytes(decode(model, latents))
        tiles = np.concatenate([originals[0][place][None], decoded, originals[1][place][None]])
        captions: list[str] = []
        if place == min(WALKS, len(ends[0])) - 1:
            steps = [f"{100 * step / (COLUMNS - 1):.0f} %" for step in range(COLUMNS)]
            captions = ["image A", *steps, "image B"]
        bands.append(Band("", tiles, captions))
    note = "First and last column: unseen originals. Between: decoded latents."
    return sheet(bands, f"{name}: walks between images through the latent space", note)


def drawn(
    made: Sequence[NDArray[np.uint8]],
    real: NDArray[np.uint8],
    name: str,
    source: str,
    note: str,
) -> bytes:
    """``samples.png``: samples of each source (uint8 N×H×H×C), and a last row of real faces."""
    columns = 8
    bands = []
    for some, label in zip(made, ("Sampled", "Fitted"), strict=False):
        for start in range(0, min(len(some), 3 * columns), columns):
            bands.append(Band(label if not start else "", some[start : start + columns]))
    bands.append(Band("Real", real[:columns]))
    return sheet(bands, f"{name}: samples from {source}", note)


def latent_map(
    points: Mapping[str, NDArray[np.float64]], shares: Sequence[float], name: str
) -> bytes:
    """``latent_map.png``: test images in the plane of largest variance of training latents.

    Args:
        points: n×2 coordinates by kind, ``normal`` first.
        shares: of the training latents' variance along both axes.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.2, 5.4), dpi=110, facecolor="white", layout="constrained")
    axes = figure.add_subplot()
    for place, (kind, xy) in enumerate(points.items()):
        step = -(-len(xy) // POINTS)
        xy = xy[:: max(step, 1)]
        normal = kind == "normal"
        axes.scatter(
            xy[:, 0],
            xy[:, 1],
            label=kind,
            color=BLUE if normal else COLOURS[(place - 1) % len(COLOURS)],
            marker="o" if normal else MARKERS[(place - 1) % len(MARKERS)],
            s=26 if normal else 20,
            zorder=3 if normal else 2,
            alpha=0.75,
            edgecolors="white",
            linewidths=0.4,
        )
    every = np.concatenate(list(points.values()))
    for set_limits, values in ((axes.set_xlim, every[:, 0]), (axes.set_ylim, every[:, 1])):
        low, high = np.quantile(values, [0.005, 0.995])
        pad = 0.06 * (high - low) or 1.0
        set_limits(low - pad, high + pad)
    for axis, word, share in zip(
        (axes.xaxis, axes.yaxis), ("First", "Second"), shares, strict=True
    ):
        axis.set_label_text(f"{word} principal component ({share:.0%} of variance)", size=9)
        axis.label.set_color(INK)
    axes.tick_params(labelsize=8, colors=QUIET)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    axes.set_title(f"{name}: latents of test images", loc="left", size=11, weight="bold", color=INK)
    figure.legend(loc="outside right upper", frameon=False, fontsize=9, labelcolor=INK)
    return png(figure)
