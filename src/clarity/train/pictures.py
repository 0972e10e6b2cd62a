"""Grids of the same validation faces, as training improves their reconstructions."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image

from clarity.files import atomic_path
from clarity.models.base import Autoencoder, in_colour, to_images, to_input
from clarity.train.data import Images

#: Faces in a grid, and screen pixels of one image pixel.
FACES, SCALE, GAP = 8, 2, 2


def grid_faces(count: int) -> torch.Tensor:
    """Row numbers of the faces that every model's grids show: evenly spaced over the split."""
    return torch.linspace(0, count - 1, min(FACES, count), dtype=torch.float64).round().long()


@torch.no_grad()
def save_grid(network: Autoencoder, images: Images, path: Path) -> None:
    """Write a PNG: originals in the first row, the network's reconstructions in the second."""
    stored = images.rows(grid_faces(len(images)))
    network.eval()
    pair = stored.cpu().numpy(), to_images(network(to_input(stored)))
    rows = in_colour(np.stack(pair))
    rows = rows.repeat(SCALE, axis=2).repeat(SCALE, axis=3)
    framed = np.pad(rows, ((0, 0), (0, 0), (GAP, GAP), (GAP, GAP), (0, 0)), constant_values=255)
    _, count, height, width, channels = framed.shape
    picture = framed.transpose(0, 2, 1, 3, 4).reshape(2 * height, count * width, channels)
    with atomic_path(path) as temporary:
        Image.fromarray(picture).save(temporary, format="PNG", optimize=False)
