"""Plausible evaluations with known effects, written by the contract of docs/architecture.md."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from zlib import crc32

import numpy as np
import pandas as pd
import yaml
from PIL import Image
from scipy.stats import rankdata

from clarity.layout import Training

PEOPLE = {"train": 24, "val": 4, "gate": 6, "test": 6}
KINDS = ("cutpaste", "inverted", "occlusion", "photograph", "shuffled")
#: name: family, widths, latent, parameters, LSD (train, test), MSE (train, test), detection.
DEFAULT = {
    "fcn-small": ("fcn", [512, 64], 3, 12_749_091, (14.0, 14.6), (0.011, 0.020), 0.9),
    "fcn-large": ("fcn", [2048, 64], 3, 55_893_043, (11.0, 14.5), (0.007, 0.019), 1.1),
    "conv-small": ("conv", [16, 128], 2048, 345_955, (4.0, 4.2), (0.002, 0.0021), 0.7),
    "conv-large": ("conv", [64, 512], 8192, 5_512_579, (2.0, 2.1), (0.0007, 0.0008), 0.5),
    "pca-3": ("pca", [], 3, 49_155, (16.0, 16.2), (0.015, 0.0168), 0.6),
    "pca-64": ("pca", [], 64, 798_720, (9.0, 9.4), (0.003, 0.006), 1.0),
}
WITH_VAE = {
    **DEFAULT,
    "ae-small": ("ae", [16, 128], 64, 700_000, (8.5, 9.0), (0.004, 0.007), 1.0),
    "ae-large": ("ae", [64, 512], 64, 7_000_000, (7.0, 8.9), (0.002, 0.006), 1.2),
    "vae-small": ("vae", [16, 128], 64, 730_000, (11.0, 11.2), (0.006, 0.009), 1.1),
    "vae-large": ("vae", [64, 512], 64, 7_300_000, (10.8, 11.1), (0.005, 0.008), 1.3),
}


def write_world(root: Path, models: dict = DEFAULT, seeds: tuple[int, ...] = (0,)) -> None:
    """Write params.yaml, data/processed/index.csv, models/ and evaluations/ under ``root``."""
    index = _index()
    (root / "data/processed").mkdir(parents=True, exist_ok=True)
    index.to_csv(root / "data/processed/index.csv", index=False, lineterminator="\n")
    write_params(root, models, seeds)
    (root / "data/raw").mkdir(parents=True, exist_ok=True)
    source = {"source": "faces", "name": None, "rows": 400, "inputs": {}}
    source |= {"licence": "free to use with credit", "credit": "The Database of Faces, AT&T"}
    (root / "data/raw/source.json").write_text(json.dumps(source))
    for name in models:
        for seed in seeds:
            write_training(root, name, seed, models[name], index)


def write_params(root: Path, models: dict, seeds: tuple[int, ...], **compare: object) -> None:
    """The project's own params.yaml with these models, seeds and changes of ``compare``."""
    content = yaml.safe_load(Path(__file__).parents[2].joinpath("params.yaml").read_text())
    content["seeds"] = list(seeds)
    content["models"] = {
        name: {"family": family}
        | ({"widths": widths} if widths else {})
        | ({} if family == "conv" else {"latent": latent})
        for name, (family, widths, latent, *_) in models.items()
    }
    content["compare"].update({"dpi": 60} | compare)
    (root / "params.yaml").write_text(yaml.safe_dump(content, sort_keys=False))


def _index() -> pd.DataFrame:
    rows, person = [], 0
    for split, people in PEOPLE.items():
        normals = []
        for _ in range(people):
            person += 1
            normals += [(f"s{person}/{i}.pgm", f"s{person}") for i in range(1, 11)]
        rows += [(split, 0, row, i, g, "normal", 0) for row, (i, g) in enumerate(normals)]
        if split != "train":
            made = [(f"{i}#{kind}", g, kind) for kind in KINDS for i, g in normals]
            rows += [
                (split, 1, row, i, g, k, int(k == "cutpaste")) for row, (i, g, k) in enumerate(made)
            ]
    columns = ["split", "label", "row", "id", "group", "kind", "has_mask"]
    frame = pd.DataFrame(rows, columns=columns)
    frame["sha256"] = [hashlib.sha256(i.encode()).hexdigest() for i in frame["id"]]
    return frame.sort_values(["split", "label", "row"], ignore_index=True)


def write_training(root: Path, name: str, seed: int, spec: tuple, index: pd.DataFrame) -> None:
    """Everything that `train` and `evaluate` write of one training and `compare` reads."""
    family, widths, latent, parameters, lsd, mse, detection = spec
    own = np.random.default_rng([crc32(name.encode()), 0 if family == "pca" else seed])
    shared = np.random.default_rng(1)
    people = {g: shared.normal(0, 0.08) for g in index["group"].unique()}
    image = shared.normal(0, 0.10, len(index))
    effect = np.array([people[g] for g in index["group"]]) + image
    train = (index["split"] == "train").to_numpy()
    seed_effect = 0.0 if family == "pca" else own.normal(0, 0.01)

    def measure(means: tuple[float, float]) -> np.ndarray:
        noise = own.normal(0, 0.04, len(index))
        return np.where(train, *means) * np.exp(effect + noise + seed_effect)

    frame = index[["split", "label", "row", "id", "group", "kind"]].copy()
    frame["mse"] = measure(mse)
    frame["mae"] = np.sqrt(frame["mse"]) * 0.7
    frame["psnr"] = -10 * np.log10(frame["mse"])
    frame["ssim"] = np.clip(1 - 12 * frame["mse"], 0, 1)
    frame["lsd"] = measure(lsd)
    label = frame["label"].to_numpy()
    frame["score_mse"] = (
        shared.normal(0, 1, len(index)) + label * detection + own.normal(0, 0.3, len(index))
    )
    frame["score_ssim"] = frame["score_mse"] * 0.5 + own.normal(0, 1, len(index)) + 0.3 * label
    frame["pixel_auroc"] = np.nan
    frame["recon_nats"] = frame["kl_nats"] = np.nan

    training = Training(name, seed)
    (root / training.directory).mkdir(parents=True, exist_ok=True)
    (root / training.figures).mkdir(parents=True, exist_ok=True)
    frame.to_parquet(root / training.per_image, index=False)
    epochs = np.arange(21)
    val = mse[1] * (1 + 4 * np.exp(-epochs / 4)) * np.exp(own.normal(0, 0.02, 21))
    pd.DataFrame(
        {
            "epoch": epochs,
            "step": epochs * 8,
            "learning_rate": 1e-3,
            "train_mse": val * mse[0] / mse[1],
            "val_mse": val,
        }
    ).to_csv(root / training.curves, index=False)
    (root / training.description).write_text(json.dumps({"family": family, "latent": latent}))
    anomaly = {
        score: {split: _judge(frame, score, split) for split in ("val", "gate", "test")}
        for score in ("mse", "ssim")
    }
    details = {
        "model": name, "seed": seed, "family": family, "widths": widths, "latent": latent,
        "parameters": parameters, "flops": parameters * 2, "weight_bytes": parameters * 4,
        "best_score": "mse", "anomaly": anomaly,
    }  # fmt: skip
    if family in ("ae", "vae"):
        level = 1.0 if family == "ae" else 0.8
        pairs = {
            split: [[f"s{i}", f"s{i + 1}"] for i in range(1, 33)] for split in ("train", "test")
        }
        values = {
            s: list(
                level * np.exp(shared.normal(0, 0.2, 32) + own.normal(0, 0.03, 32) + seed_effect)
            )
            for s in pairs
        }
        details["latent_space"] = {"path_length": values, "path_pairs": pairs}
        details["latent_space"]["collapsed"] = name == "vae-large"
        sharp = (0.5 if family == "ae" else 0.3) * np.exp(seed_effect)
        details["samples"] = {
            "sharpness": list(sharp * np.exp(own.normal(0, 0.2, 64))),
            "sharpness_mean": float(sharp),
            "sharpness_real_mean": 1.0,
        }
    (root / training.details).write_text(json.dumps(details))
    _pictures(root / training.figures, family, float(np.mean(lsd)))


def _judge(frame: pd.DataFrame, score: str, split: str) -> dict:
    part = frame[frame["split"] == split]
    out = {}
    for kind in ("all", *KINDS):
        use = (part["label"] == 0) | (kind == "all") | (part["kind"] == kind)
        label = part.loc[use, "label"].to_numpy() == 1
        ranks = rankdata(part.loc[use, f"score_{score}"])
        n, m = int(label.sum()), int((~label).sum())
        auroc = (ranks[label].sum() - n * (n + 1) / 2) / (n * m)
        out[kind] = {"auroc": float(auroc), "ap": 0.8, "fpr95": 0.5, "n": n}
    return out


def _pictures(folder: Path, family: str, blur: float) -> None:
    rng = np.random.default_rng(2)
    y, x = np.mgrid[0:64, 0:64] / 63
    faces = []
    for _ in range(8):
        a, b, c = rng.uniform(2, 9, 3)
        grey = 0.5 + 0.25 * np.sin(a * x + b * y) + 0.25 * np.sin(40 * x * y + c)
        faces.append(np.repeat(grey[..., None], 3, axis=2))
    original = np.concatenate(faces, axis=1)
    rebuilt = 0.5 + (original - 0.5) * np.exp(-blur / 20)
    strip = np.concatenate([original, rebuilt, np.abs(original - rebuilt) * 3])
    pixels = Image.fromarray((strip * 255).clip(0, 255).astype(np.uint8))
    pixels.save(folder / "strip.png")
    names = ["grid", "extremes", "latent_map"]
    names += ["traversal"] if family in ("fcn", "vae") else []
    names += ["samples", "interpolation"] if family in ("ae", "vae") else []
    for name in names:
        pixels.save(folder / f"{name}.png")
