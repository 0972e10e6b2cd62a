"""The models of a tiny project, and what it writes."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

from clarity.layout import Training

ROOT = Path(__file__).parent.parent.parent
MODELS = {
    "fcn": {"family": "fcn", "widths": [16], "latent": 3},
    "conv": {"family": "conv", "widths": [4, 8]},
    "ae": {"family": "ae", "widths": [4, 8], "latent": 6},
    "vae": {"family": "vae", "widths": [4, 8], "latent": 6},
    "pca": {"family": "pca", "latent": 3},
}
Change = Callable[..., None]


def rows(name: str) -> list[dict[str, float]]:
    with Training(name, 0).curves.open() as handle:
        return [{key: float(value) for key, value in row.items()} for row in csv.DictReader(handle)]
