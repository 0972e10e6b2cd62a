"""Other sizes and channels, through the whole pipeline, scoring and serving."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from data_helpers import clarity_here, save_pictures
from PIL import Image
from project import Project, make_project

from clarity.layout import Shape

MODELS = {
    "conv-small": {"family": "conv", "widths": [4, 8]},
    "conv-large": {"family": "conv", "widths": [8, 8]},
    "vae-tiny": {"family": "vae", "widths": [4, 4], "latent": 2},
    "pca-3": {"family": "pca", "latent": 3},
}


def small_project(path: Path, shape: Shape) -> Project:
    """Twelve people in small pictures, to be brought to ``shape``."""
    project = make_project(path).here()
    save_pictures(path / "data/own", people=12, each=3, size=(50, 40))
    project.change(
        {
            "data": {"source": "folder"},
            "preprocess": {"size": shape.size, "channels": shape.channels},
            "models": {"fcn-small": None, **MODELS},
            "train": {"shift": 2, "batch_size": 8},
        }
    )
    return project


def run(project: Project, *arguments: str) -> str:
    result = clarity_here(project.path, *arguments)
    assert result.code == 0, result.complained
    return result.said


@pytest.mark.parametrize(
    "shape", [Shape(32, 1), pytest.param(Shape(128, 3), marks=pytest.mark.slow)], ids=str
)
def test_the_whole_pipeline_follows_size_and_channels(
    shape: Shape, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = small_project(tmp_path / "project", shape)
    monkeypatch.chdir(project.path)
    # A served model's process keeps the store's address: here, the test's before.
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    run(project, "ingest")
    run(project, "preprocess")
    for name in ("train", "val", "gate_anomalies", "test_anomalies"):
        assert np.load(f"data/processed/{name}.npy", mmap_mode="r").shape[1:] == shape.stored
    assert np.load("data/processed/val_masks.npy").shape[1:] == shape.stored[:2]
    index = pd.read_csv("data/processed/index.csv")
    kinds = {"normal", "cutpaste", "occlusion", "shuffled", "inverted", "photograph"}
    assert set(index["kind"]) == kinds
    said = ""
    for model in MODELS:
        run(project, "train", model, "0")
        said += run(project, "evaluate", model, "0")
        description = json.loads(Path(f"models/{model}-0/model.json").read_text())
        assert Shape.described(description) == shape
        details = json.loads(Path(f"evaluations/{model}-0/details.json").read_text())
        assert len(details["frequency"]["cycles"]) == shape.size // 2
        table = pd.read_parquet(f"evaluations/{model}-0/per_image.parquet")
        small = shape.size < 41
        assert set(details.get("left_out", {})) == ({"vif", "ms_ssim"} if small else set())
        assert table["vif"].isna().all() == small
    assert ("VIF needs 41 pixels, images have 32" in said) == small
    run(project, "compare")
    page = Path("reports/index.html").read_text()
    assert ("so it is left out" in page) == small
    # Four models and their originals, eight faces each, with gaps of four pixels.
    assert Image.open("reports/figures/wall.png").height == 5 * (shape.size + 4) - 4
    run(project, "publish")
    run(project, "promote")
    scored_and_served(project, shape)
    refused_for_another_size(project, shape)


def scored_and_served(project: Project, shape: Shape) -> None:
    """Pictures of any size come to the model's; arrays of another shape are refused."""
    from fastapi.testclient import TestClient

    from clarity.score.pictures import encode_png
    from clarity.score.server import application

    run(project, "score", "data/own", "--output", "scores")
    batch = pd.read_parquet("scores/scores.parquet")
    assert len(batch) == 36
    app, _ = application("champion")
    pictures = [np.asarray(Image.open(f"data/own/{name}")) for name in batch["id"][:3]]
    params = {"return_reconstruction": True, "return_error_map": True}
    frame = {"columns": ["image"], "data": [[encode_png(picture)] for picture in pictures]}
    wrong = np.zeros((1, 64, 64, 3), int).tolist()
    with TestClient(app) as client:
        answer = client.post("/invocations", json={"dataframe_split": frame, "params": params})
        refusal = client.post("/invocations", json={"inputs": wrong})
    served = pd.DataFrame(answer.json()["predictions"])
    np.testing.assert_allclose(served["score"], batch["score"][:3], rtol=1e-4)
    assert refusal.status_code == 400
    assert f"expected N×{shape}, found 1×64×64×3" in refusal.json()["message"]


def refused_for_another_size(project: Project, shape: Shape) -> None:
    """Neither a model nor packed images of one size pass for those of another."""
    project.change({"preprocess": {"size": 64}})
    for stage in (("train", "conv-small", "0"), ("evaluate", "conv-small", "0")):
        result = clarity_here(project.path, *stage)
        assert result.code == 2
        assert "not" in result.complained
        assert "64×64" in result.complained
        assert "preprocess" in result.complained
        assert result.complained.count("\n") == 1
    run(project, "preprocess")
    result = clarity_here(project.path, "evaluate", "conv-small", "0")
    assert result.code == 2
    assert f"reads images of {shape}, data/processed holds 64×64" in result.complained
    # The champion cannot judge the new images: it is said, and nobody scores drift with it.
    from clarity.errors import ClarityError
    from clarity.score.watch import drift_of

    with pytest.raises(ClarityError, match=f"reads images of {shape}"):
        drift_of(project.path / "data/own", "champion")
