"""A project after `compare`, made in a second: linear faces, PCA models of known quality.

Faces are a mean and eight smooth components; anomalies leave their span. A PCA with eight
components therefore detects them, one with two hardly does. Formats and code are the real ones.
"""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from data_helpers import SHAPE
from ruamel.yaml import YAML
from safetensors.torch import save_file

from clarity.details import Details
from clarity.evaluate.anomaly import detection
from clarity.evaluate.calibration import calibrate
from clarity.evaluate.scorer import Scorer, fit_scorer
from clarity.files import sha256_bytes, write_json
from clarity.layout import INDEX, REPORTS, SOURCE, Training, anomalies, normals
from clarity.models.base import to_input
from clarity.models.build import build, describe
from clarity.params import Model

ROOT = Path(__file__).parents[2]
COMPONENTS = 8
PEOPLE = {"train": 40, "val": 20, "gate": 24, "test": 8}
EACH = 4
RATE = 0.05


def basis(seed: int = 7) -> np.ndarray:
    """Mean (grey) and components, smooth, (1 + K)×64×64×3 in about ±60."""
    rng = np.random.default_rng(seed)
    grid = np.linspace(0, 1, 64)
    waves = []
    for _ in range(COMPONENTS):
        fx, fy = rng.uniform(0.5, 3, 2)
        px, py = rng.uniform(0, 2 * np.pi, 2)
        wave = np.sin(2 * np.pi * fx * grid + px)[:, None] * np.cos(2 * np.pi * fy * grid + py)
        waves.append(wave[..., None] * rng.uniform(0.5, 1, 3))
    return np.concatenate([np.full((1, 64, 64, 3), 128.0), 30 * np.stack(waves)])


def faces(split: str, label: int, data_seed: int = 0) -> tuple[np.ndarray, list[str]]:
    """uint8 images and the person of each."""
    number = ("train", "val", "gate", "test").index(split)
    rng = np.random.default_rng([data_seed, number, label])
    people, shape = PEOPLE[split], basis()
    means = rng.normal(size=(people, COMPONENTS)) * 0.7
    codes = np.repeat(means, EACH, 0) + rng.normal(size=(people * EACH, COMPONENTS)) * 0.7
    images = shape[0] + np.tensordot(codes, shape[1:], 1)
    images += rng.normal(size=images.shape) * 4
    if label:
        rough = rng.normal(size=(len(images), 8, 8, 3)) * rng.uniform(2, 14, (len(images), 1, 1, 1))
        images += rough.repeat(8, 1).repeat(8, 2)
    groups = [f"{split}-{person}" for person in range(people) for _ in range(EACH)]
    return np.clip(images, 0, 255).round().astype(np.uint8), groups


def write_data(data_seed: int = 0) -> None:
    """data/processed below the working directory."""
    INDEX.parent.mkdir(parents=True, exist_ok=True)
    SOURCE.parent.mkdir(parents=True, exist_ok=True)
    write_json(SOURCE, {"source": "faces", "licence": "free for research", "seed": data_seed})
    rows = []
    for split in PEOPLE:
        for label, kind in ((0, "normal"), (1, "cutpaste")):
            if split == "train" and label:
                continue
            images, groups = faces(split, label, data_seed)
            np.save(anomalies(split) if label else normals(split), images)
            rows += [
                {
                    "split": split,
                    "label": label,
                    "row": row,
                    "id": f"{group}/{row}" + ("#cutpaste" if label else ""),
                    "group": group,
                    "kind": kind,
                    "has_mask": 0,
                    "sha256": sha256_bytes(image.tobytes()),
                }
                for row, (image, group) in enumerate(zip(images, groups, strict=True))
            ]
    pd.DataFrame(rows).to_csv(INDEX, index=False)


def write_params(models: list[str], **gate: object) -> None:
    """params.yaml with models called ``pca-K…`` (and no others)."""
    yaml = YAML()
    content = yaml.load((ROOT / "tests/params.yaml").read_text())
    content["models"] = {name: {"family": "pca", "latent": latent_of(name)} for name in models}
    content["seeds"] = [0]
    content["threads"] = 1
    # Timings of a busy machine decide nothing here, but where a test wants them to.
    content["gate"]["guards"] = {"false_alarms": 0.02, "latency": 50.0, "size": 50.0}
    content["gate"].update(gate)
    with Path("params.yaml").open("w") as handle:
        yaml.dump(content, handle)
    shutil.copy(ROOT / "dvc.yaml", ".")


def latent_of(name: str) -> int:
    """``pca-8`` and ``pca-8-again`` have 8 components."""
    return int(name.split("-")[1])


def write_training(name: str, *, jitter: float = 0.0) -> Training:
    """Outputs of `train` and `evaluate` for one model; ``jitter`` changes weights a little."""
    training = Training(name, 0)
    spec = Model(family="pca", latent=latent_of(name))
    network = build(spec, name, SHAPE)
    train = to_input(np.load(normals("train"))).flatten(1)
    mean = train.mean(0)
    # Principal directions by the small matrix of inner products between the images.
    centred = train - mean
    values, vectors = torch.linalg.eigh((centred @ centred.T).double())
    scale = values[-latent_of(name) :].sqrt()
    directions = (vectors[:, -latent_of(name) :] / scale).T.float() @ centred
    network.load_state_dict({"mean": mean + jitter, "components": directions.contiguous()})
    network.eval()
    training.directory.mkdir(parents=True, exist_ok=True)
    save_file(network.state_dict(), training.weights)
    write_json(training.description, describe(spec, name, 0, network))
    training.progress.mkdir(exist_ok=True)
    training.curves.write_text(
        "epoch,step,learning_rate,train_mse,val_mse\n0,0,0.1,0.05,0.05\n1,9,0.1,0.01,0.01\n"
    )
    fingerprint = sha256_bytes(f"{name}{jitter}".encode())
    write_json(training.provenance, {"fingerprint": fingerprint, "parameters": {"name": name}})
    write_evaluation(training, network, spec)
    return training


def write_evaluation(training: Training, network: torch.nn.Module, spec: Model) -> None:
    """details.json, scorer and table, computed with the real scorer."""
    pictures = {
        (split, label): np.load(anomalies(split) if label else normals(split))
        for split in ("val", "test", "gate")
        for label in (0, 1)
    }
    latents = network.encode(to_input(np.load(normals("train"))))  # type: ignore[operator]
    blank = fit_scorer(latents, torch.rand(8, 64, 64), latents)
    blank = replace(blank, usual_error=torch.ones(64, 64, dtype=torch.float64))
    with torch.inference_mode():
        seen = {
            key: blank.inspect(network, torch.from_numpy(images))  # type: ignore[arg-type]
            for key, images in pictures.items()
        }
    mse = {key: one.scores["mse"].double().numpy() for key, one in seen.items()}
    known = calibrate(mse["val", 0], np.arange(len(mse["val", 0])).astype(str), RATE)
    line = known.threshold(RATE)
    scorer: Scorer = replace(blank, thresholds={"mse": line}, best="mse", calibration=known)
    training.evaluation.mkdir(parents=True, exist_ok=True)
    scorer.save(training.evaluation / "scorer.safetensors")
    found = {s: {"all": detection(mse[s, 0], mse[s, 1])} for s in ("val", "test", "gate")}
    metrics = {
        s: {k: float(v.double().mean()) for k, v in seen[s, 0].metrics.items()}
        for s in ("val", "test")
    }
    Details.of(
        {
            "model": training.model,
            "seed": 0,
            "family": "pca",
            "widths": [],
            "latent": spec.latent,
            "parameters": 12288 * (1 + (spec.latent or 0)),
            "flops": 1000,
            "weight_bytes": training.weights.stat().st_size,
            "reconstruction": metrics,
            "anomaly": {"mse": found},
            "threshold": {
                "mse": {
                    "value": line,
                    "false_alarm_rate": RATE,
                    "test_false_alarms": 0.05,
                    "test_misses": 0.2,
                }
            },
            "best_score": "mse",
            "latent_space": {},
            "samples": {},
        }
    ).write(training.details)
    write_json(training.metrics, {"auroc": found["test"]["all"]["auroc"]})
    index = pd.read_csv(INDEX)
    index = index[index["split"] != "train"][["split", "label", "row", "id", "group", "kind"]]
    for metric in ("mse", "psnr", "ssim", "lsd"):
        index[metric] = 0.01
    index["score_mse"] = 0.01
    index.to_parquet(training.per_image)


def write_reports(names: list[str]) -> None:
    """Outputs of `compare`, as far as `publish` reads them."""
    (REPORTS / "figures").mkdir(parents=True, exist_ok=True)
    (REPORTS / "index.html").write_text("<!doctype html><title>Clarity</title>")
    (REPORTS / "table.md").write_text("| model |\n|---|\n" + "".join(f"| {n} |\n" for n in names))
    (REPORTS / "table.csv").write_text("model\n" + "\n".join(names) + "\n")
    write_json(REPORTS / "table.json", [{"model": name} for name in names])
    write_json(REPORTS / "verdicts.json", {"claims": []})


def write_world(models: list[str], *, data_seed: int = 0, **gate: object) -> None:
    """Everything that `publish` reads, for these models, below the working directory."""
    torch.set_num_threads(1)
    write_params(models, **gate)
    write_data(data_seed)
    for name in models:
        write_training(name, jitter=1e-4 if name.count("-") > 1 else 0.0)
    write_reports(models)


def entries() -> list[dict]:
    """The history's lines."""
    path = Path("registry/history.jsonl")
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def environment(root: Path) -> dict[str, str]:
    """For a command line in ``root``."""
    import sys

    bin_folder = Path(sys.executable).parent
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT)]),
        "PATH": os.pathsep.join([str(bin_folder), os.environ["PATH"]]),
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "OMP_NUM_THREADS": "1",
    }
