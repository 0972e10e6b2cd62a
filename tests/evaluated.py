"""A project whose tiny models are trained and evaluated without DVC, in processes of their own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from ruamel.yaml import YAML

ROOT = Path(__file__).parent.parent
MODELS: dict[str, dict[str, Any]] = {
    "fcn-tiny": {"family": "fcn", "widths": [16], "latent": 3},
    "conv-tiny": {"family": "conv", "widths": [4, 8]},
    "ae-tiny": {"family": "ae", "widths": [4, 8], "latent": 6},
    "vae-tiny": {"family": "vae", "widths": [4, 8], "latent": 6},
    "pca-4": {"family": "pca", "latent": 4},
}
COUNTS = {"train": 18, "val": 8, "gate": 8, "test": 12}
KINDS = ("dent", "inverted")
TRAIN = "import sys; from clarity.train.stage import train; [train(m, 0) for m in sys.argv[1:]]"
EVALUATE = TRAIN.replace(
    "train.stage import train", "evaluate.stage import evaluate_training as train"
)


def run(project: Path, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Python with these arguments in the project."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1"}
    result = subprocess.run(
        [sys.executable, *arguments], cwd=project, env=environment, capture_output=True, text=True
    )
    assert not check or result.returncode == 0, result.stdout + result.stderr
    return result


def make_world(path: Path, models: dict[str, dict[str, Any]], device: str = "cpu") -> Path:
    """The project, its images packed and nothing trained yet."""
    yaml = YAML()
    params = yaml.load((ROOT / "tests/params.yaml").read_text())
    params["models"] = models
    params["device"], params["threads"], params["seeds"] = device, 1, [0]
    params["train"].update(epochs=1, grids=1, batch_size=8)
    params["evaluate"].update(batch_size=5, faces=3, pairs=3, steps=4, samples=8, components=2)
    path.mkdir(parents=True, exist_ok=True)
    with (path / "params.yaml").open("w") as file:
        yaml.dump(params, file)
    shutil.copy(ROOT / "dvc.yaml", path)
    (path / "src").symlink_to(ROOT / "src")
    _packed(path / "data" / "processed")
    return path


def _packed(folder: Path) -> None:
    """Smooth pictures of people with two views each; cut-outs with masks, and inverted ones."""
    rng = np.random.default_rng(0)
    folder.mkdir(parents=True)
    line = np.linspace(0, np.pi, 64)
    rows = []
    for split, count in COUNTS.items():
        people = rng.random((count // 2, 3, 4)).repeat(2, axis=0)
        waves = [np.outer(np.sin(line * k), np.cos(line * (4 - k))) for k in range(4)]
        faces = np.einsum("nck,khw->nhwc", people, np.stack(waves)) / 4 + 0.5
        faces += rng.normal(0, 0.02, faces.shape)
        normals = (faces.clip(0, 1) * 255).astype(np.uint8)
        np.save(folder / f"{split}.npy", normals)
        for row in range(count):
            rows.append((split, 0, row, f"{split}{row}", f"{split}-p{row // 2}", "normal", 0))
        if split == "train":
            continue
        masks = np.zeros((2 * count, 64, 64), np.uint8)
        masks[:count, 20:40, 10:30] = 1
        cut = np.where(masks[:count, ..., None] == 1, 255 - normals, normals)
        np.save(folder / f"{split}_anomalies.npy", np.concatenate([cut, normals[:, ::-1]]))
        np.save(folder / f"{split}_masks.npy", masks)
        for row in range(2 * count):
            kind, of = KINDS[row // count], row % count
            name = f"{split}{of}#{kind}"
            rows.append((split, 1, row, name, f"{split}-p{of // 2}", kind, int(row < count)))
    names = ["split", "label", "row", "id", "group", "kind", "has_mask"]
    pd.DataFrame(rows, columns=names).assign(sha256="0").to_csv(folder / "index.csv", index=False)
