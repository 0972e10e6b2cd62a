"""A tiny project to train in."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ruamel.yaml import YAML
from tiny import MODELS, ROOT, Change


@pytest.fixture
def change(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Change:
    """A tiny project to work in, and a function that changes its params.yaml."""
    monkeypatch.chdir(tmp_path)
    shutil.copy(ROOT / "dvc.yaml", tmp_path)
    shutil.copytree(ROOT / "src", tmp_path / "src", ignore=shutil.ignore_patterns("__pycache__"))
    random = np.random.default_rng(0)
    Path("data/processed").mkdir(parents=True)
    ramp = np.linspace(0, 200, 64, dtype=np.float64)[:, None, None]
    for split, count in (("train", 20), ("val", 10), ("gate", 1), ("test", 1)):
        faces = ramp * random.uniform(0.2, 1, (count, 1, 1, 3)) + random.uniform(
            0, 50, (count, 64, 64, 3)
        )
        np.save(f"data/processed/{split}.npy", faces.astype(np.uint8))
    content = YAML(typ="safe").load((ROOT / "tests/params.yaml").read_text())
    content |= {"threads": 1, "device": "cpu", "models": dict(MODELS)}
    content["train"] |= {
        "epochs": 3, "compute": None, "batch_size": 8, "grids": 3, "patience": 3,
    }  # fmt: skip

    def write(model: str = "", processes: int = 1, **train: Any) -> None:
        content["train"] |= train
        if model:
            content["models"][model] = MODELS[model] | {"processes": processes}
        with Path("params.yaml").open("w") as handle:
            YAML().dump(content, handle)

    write()
    return write
