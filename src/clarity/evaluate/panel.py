"""Pictures that no detector may call normal: a fixed panel, drawn, no files.

A lens cap, a lamp, a torn cable: what an autoencoder may reconstruct better than a face, because it
is simpler (Serrà et al. 2020). docs/metrics/detection.md shows them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clarity.choice import PANEL

Bytes = NDArray[np.uint8]

#: Normals that the derived pictures are made of: the first of ``val``.
DERIVED_FROM = 4
#: Pixels of a stripe, of a square of the checkerboard, and of a tile of the mosaic.
STRIPE, SQUARE, TILE = 4, 8, 4


@dataclass(frozen=True)
class Panel:
    """The pictures, uint8 N×H×H×C, and what each shows, N names; several may show the same."""

    names: tuple[str, ...]
    pictures: Bytes

    def judged(self, alarms: NDArray[np.bool_]) -> dict[str, Any]:
        """What a detector lets through.

        Args:
            alarms: N, whether it called the picture anomalous.

        Returns:
            ``let_through``: share of each kind of picture that passed as normal, of those that did
            in part or whole, in the panel's order; ``share``: mean over all kinds, so that a kind
            of four pictures weighs no more than a kind of one; ``pictures``: how many there are.
        """
        kinds = tuple(dict.fromkeys(self.names))
        of = np.array(self.names)
        shares = {kind: float(1 - alarms[of == kind].mean()) for kind in kinds}
        return {
            "let_through": {kind: share for kind, share in shares.items() if share},
            "share": sum(shares.values()) / len(shares),
            "pictures": len(self.names),
        }


def panel(normals: Bytes) -> Panel:
    """The panel; of ``normals``, images of the data (uint8 N×H×H×C), the first few serve.

    One colour channel alone is no picture of its own where there is but one.
    """
    size, channels = normals.shape[1], normals.shape[3]
    drawn = list(_drawn(size, channels))
    for name, change in _CHANGES.items():
        if name == "channel" and channels == 1:
            continue
        drawn += [(name, change(image, k)) for k, image in enumerate(normals[:DERIVED_FROM])]
    return Panel(tuple(name for name, _ in drawn), np.stack([picture for _, picture in drawn]))


def _drawn(size: int, channels: int) -> list[tuple[str, Bytes]]:
    """Those that need no image of the data."""

    def grey(values: NDArray[Any]) -> Bytes:
        return np.repeat(np.rint(values).astype(np.uint8)[..., None], channels, axis=2)

    y, x = np.indices((size, size))
    ramp = np.linspace(0, 255, size)
    noise = np.random.default_rng(0).integers(0, 256, (size, size, channels), np.uint8)
    return [
        ("black", grey(np.zeros_like(x))),
        ("white", grey(np.full_like(x, 255))),
        ("grey", grey(np.full_like(x, 128))),
        ("gradient", grey(ramp[x])),
        ("gradient", grey(ramp[y])),
        ("stripes", grey(x // STRIPE % 2 * 255)),
        ("stripes", grey(y // STRIPE % 2 * 255)),
        ("checkerboard", grey((x // SQUARE + y // SQUARE) % 2 * 255)),
        ("noise", noise),
    ]


def _half(image: Bytes, turn: int) -> Bytes:
    """Half of it black: right, left, lower, upper."""
    changed, middle = image.copy(), len(image) // 2
    lost = slice(middle, None) if turn % 2 == 0 else slice(middle)
    changed[(slice(None), lost) if turn % 4 < 2 else (lost, slice(None))] = 0
    return changed


def _channel(image: Bytes, turn: int) -> Bytes:
    """Red, green or blue alone."""
    changed = np.zeros_like(image)
    here = turn % image.shape[2]
    changed[..., here] = image[..., here]
    return changed


def _mosaic(image: Bytes, turn: int) -> Bytes:
    """Every tile of four by four pixels its mean."""
    side = len(image) // TILE
    means = image.reshape(side, TILE, side, TILE, -1).mean((1, 3)).round().astype(np.uint8)
    return np.repeat(np.repeat(means, TILE, axis=0), TILE, axis=1)


_CHANGES: Mapping[str, Callable[[Bytes, int], Bytes]] = {
    "half": _half,
    "negative": lambda image, turn: 255 - image,
    "channel": _channel,
    "mosaic": _mosaic,
}


def named(let_through: Mapping[str, float]) -> str:
    """What passed, in words: ``black, gradient (50% of them)``."""
    return ", ".join(
        PANEL.get(kind, kind) + (f" ({share:.0%} of them)" if share < 1 else "")
        for kind, share in let_through.items()
    )
