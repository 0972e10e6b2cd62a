"""A project after `compare`, written by hand: small networks, plausible figures, real formats.

What `tracking` reads is what docs/architecture.md says; the whole pipeline is tested elsewhere.
"""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from data_helpers import SHAPE
from PIL import Image
from ruamel.yaml import YAML
from safetensors.torch import save

from clarity.details import Details
from clarity.evaluate.scorer import fit_scorer
from clarity.files import sha256_bytes, write_bytes, write_json
from clarity.layout import INDEX, REPORTS, SOURCE, Training
from clarity.models.build import build, describe
from clarity.params import load_params

ROOT = Path(__file__).parent.parent
MODELS = {
    "conv-small": {"family": "conv", "widths": [2]},
    "pca-3": {"family": "pca", "latent": 3},
}
FACES = 4
EPOCHS = 6
SPLITS = ("train", "val", "gate", "test")
METRICS = {"mse": 0.01, "mae": 0.05, "psnr": 20.0, "ssim": 0.8, "lsd": 6.0, "haarpsi": 0.5}


def write_world(root: Path, models: dict[str, dict[str, object]] | None = None) -> None:
    """Write params.yaml and every output below ``root``, which is the working directory."""
    chosen = models or MODELS
    yaml = YAML()
    content = yaml.load((ROOT / "tests/params.yaml").read_text())
    content["models"] = chosen
    content["seeds"] = [0]
    with (root / "params.yaml").open("w") as handle:
        yaml.dump(content, handle)
    shutil.copy(ROOT / "dvc.yaml", root)
    write_index()
    for rank, name in enumerate(chosen):
        write_training(Training(name, 0), rank)
    write_reports(list(chosen))


def write_index() -> None:
    """index.csv and source.json."""
    INDEX.parent.mkdir(parents=True, exist_ok=True)
    SOURCE.parent.mkdir(parents=True, exist_ok=True)
    write_json(SOURCE, {"source": "faces", "licence": "free for research"})
    with INDEX.open("w", newline="") as handle:
        writer = csv.writer(handle)
        writer.writerow(["split", "label", "row", "id", "group", "kind", "has_mask", "sha256"])
        for split in SPLITS:
            for label, kind in ((0, "normal"), (1, "cutpaste")):
                if split == "train" and label:
                    continue
                for row in range(FACES):
                    digest = sha256_bytes(f"{split}{label}{row}".encode())
                    name = f"{split}/{row}" + ("#cutpaste" if label else "")
                    writer.writerow([split, label, row, name, f"p{row}", kind, label, digest])


def face(number: int, blur: float) -> Image.Image:
    """A round face, 64×64, the more blurred the higher ``blur``."""
    y, x = np.mgrid[-1:1:64j, -1:1:64j]
    skin = np.clip(1.2 - (x / 0.7) ** 2 - (y / 0.9) ** 2, 0, 1)
    rng = np.random.default_rng(number)
    for _ in range(6):
        (cx, cy), width = rng.uniform(-0.5, 0.5, 2), rng.uniform(0.05, 0.2)
        skin -= 0.5 * np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / (width**2 + blur**2))
    grey = (255 * np.clip(skin, 0, 1)).astype(np.uint8)
    tint = np.array([1.0, 0.8, 0.7])
    return Image.fromarray((grey[..., None] * tint).astype(np.uint8))


def grid(blurs: list[float]) -> Image.Image:
    """One row of the same faces for each blur."""
    picture = Image.new("RGB", (64 * FACES, 64 * len(blurs)))
    for row, blur in enumerate(blurs):
        for column in range(FACES):
            picture.paste(face(column, blur), (64 * column, 64 * row))
    return picture


def write_training(training: Training, rank: int = 0, *, shift: float = 0.0) -> None:
    """Outputs of `train` and `evaluate`; ``shift`` makes another training of the same model."""
    params = load_params(Path("params.yaml"))
    spec = params.model(training.model)
    torch.manual_seed(training.seed + rank)
    network = build(spec, training.model, SHAPE)
    description = describe(spec, training.model, training.seed, network)
    write_bytes(
        training.weights, save({k: v.contiguous() for k, v in network.state_dict().items()})
    )
    write_json(training.description, description)
    recipe = params.recipe(training.model).model_dump(mode="json")
    recipe["learning_rate"] += shift
    content = {
        "data": {"train.npy": "0" * 64},
        "parameters": {
            "name": training.model,
            "seed": training.seed,
            "model": spec.model_dump(mode="json", exclude={"train"}),
            "train": recipe,
        },
        "code": {},
        "torch": torch.__version__,
        "device": "cpu",
        "threads": 1,
    }
    fingerprint = sha256_bytes(json.dumps(content, sort_keys=True).encode())
    write_json(training.provenance, {**content, "fingerprint": fingerprint})
    with training.curves.open("w", newline="") as handle:
        writer = csv.writer(handle)
        writer.writerow(["epoch", "step", "learning_rate", "train_mse", "val_mse"])
        for epoch in range(EPOCHS):
            mse = (0.05 + shift) / (1 + epoch + rank)
            writer.writerow([epoch, 4 * epoch, 0.001, f"{mse:.6g}", f"{1.2 * mse:.6g}"])
    training.progress.mkdir(parents=True, exist_ok=True)
    for epoch in range(0, EPOCHS, 2):
        blur = 0.4 / (1 + epoch + rank)
        grid([0.0, blur]).save(training.progress / f"epoch-{epoch:04d}.png")
    write_evaluation(training, network, description, rank, shift)


def write_evaluation(
    training: Training,
    network: torch.nn.Module,
    description: dict[str, object],
    rank: int,
    shift: float,
) -> None:
    """Outputs of `evaluate`, with a scorer that really scores."""
    training.figures.mkdir(parents=True, exist_ok=True)
    grid([0.0, 0.2 / (1 + rank), 0.5]).save(training.figures / "grid.png")
    grid([0.1, 0.3]).save(training.figures / "extremes.png")
    size = int(str(description["latent"]))
    scorer = fit_scorer(torch.rand(12, size), torch.rand(8, 64, 64), torch.rand(8, size))
    scorer.save(training.evaluation / "scorer.safetensors")
    factor = 1 / (1 + rank) + shift
    kinds = {
        kind: {"auroc": 0.9 - 0.1 * factor, "ap": 0.8, "fpr95": 0.4, "n": FACES}
        for kind in ("all", "cutpaste")
    }
    details = {
        **{key: description[key] for key in ("family", "widths", "latent", "parameters")},
        "model": training.model,
        "seed": training.seed,
        "flops": 1000 * int(str(description["parameters"])),
        "weight_bytes": training.weights.stat().st_size,
        "reconstruction": {
            split: {metric: value * factor for metric, value in METRICS.items()} for split in SPLITS
        },
        "anomaly": {score: dict.fromkeys(SPLITS[1:], kinds) for score in ("mse", "normalised")},
        "threshold": {
            score: {
                "value": 0.7,
                "false_alarm_rate": 0.05,
                "test_false_alarms": 1,
                "test_misses": 2,
            }
            for score in ("mse", "normalised")
        },
        "best_score": "normalised",
        "latent_space": {"participation_ratio": 2.5},
        "samples": {"frechet": None},
    }
    Details.of(details).write(training.details)
    write_json(training.metrics, {"test_mse": METRICS["mse"] * factor})
    index = pd.read_csv(INDEX)[["split", "label", "row", "id", "group", "kind"]]
    for metric, value in METRICS.items():
        index[metric] = value * factor + 0.001 * index["row"]
    for score in ("mse", "normalised"):
        index[f"score_{score}"] = index["mse"] + index["label"]
    index.to_parquet(training.per_image)


def write_reports(names: list[str]) -> None:
    """Outputs of `compare`, as far as `publish` reads them."""
    (REPORTS / "figures").mkdir(parents=True, exist_ok=True)
    (REPORTS / "index.html").write_text("<!doctype html><title>Clarity</title><h1>Clarity</h1>")
    rows = "".join(f"| {name} | 0.01 |\n" for name in names)
    (REPORTS / "table.md").write_text("| model | test MSE |\n|---|---|\n" + rows)
    (REPORTS / "table.csv").write_text("model\n" + "\n".join(names) + "\n")
    write_json(REPORTS / "table.json", [{"model": name} for name in names])
    verdict = {"status": "undecided", "sentence": "Larger is not shown to be clearer."}
    write_json(REPORTS / "verdicts.json", {"claims": [verdict]})
