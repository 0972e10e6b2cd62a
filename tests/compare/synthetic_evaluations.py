"""Plausible evaluations with known effects, written by the contract of docs/architecture.md."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from zlib import crc32

import numpy as np
import pandas as pd
import torch
import yaml
from data_helpers import SHAPE
from PIL import Image
from safetensors.numpy import save_file
from safetensors.torch import save_file as save_torch
from scipy.stats import rankdata

from clarity.details import Details
from clarity.layout import Training
from clarity.models.build import build, describe
from clarity.params import Model

PEOPLE = {"train": 24, "val": 4, "gate": 6, "test": 6}
KINDS = ("cutpaste", "inverted", "occlusion", "photograph", "shuffled")
#: name: family, widths, latent, parameters, 1 - HaarPSI and MSE (train, test each), detection.
#: The widths are tiny, so that there can be weights; the parameters are those of the real sizes.
DEFAULT = {
    "fcn-small": ("fcn", [8, 4], 3, 12_749_091, (0.35, 0.365), (0.011, 0.020), 0.9),
    "fcn-large": ("fcn", [16, 8], 3, 55_893_043, (0.275, 0.3625), (0.007, 0.019), 1.1),
    "conv-small": ("conv", [4, 8], 2048, 345_955, (0.10, 0.105), (0.002, 0.0021), 0.7),
    "conv-large": ("conv", [8, 16], 8192, 5_512_579, (0.05, 0.0525), (0.0007, 0.0008), 0.5),
    "pca-3": ("pca", [], 3, 49_155, (0.40, 0.405), (0.015, 0.0168), 0.6),
    "pca-64": ("pca", [], 64, 798_720, (0.225, 0.235), (0.003, 0.006), 1.0),
}
WITH_VAE = {
    **DEFAULT,
    "ae-small": ("ae", [4, 8], 64, 700_000, (0.2125, 0.225), (0.004, 0.007), 1.0),
    "ae-large": ("ae", [8, 16], 64, 7_000_000, (0.175, 0.2225), (0.002, 0.006), 1.2),
    "vae-small": ("vae", [4, 8], 64, 730_000, (0.275, 0.28), (0.006, 0.009), 1.1),
    "vae-large": ("vae", [8, 16], 64, 7_300_000, (0.27, 0.2775), (0.005, 0.008), 1.3),
}
#: Epochs of the two budgets: every size alike, and for the same compute (GFLOP by epoch below).
ALIKE, COMPUTE = 20, {"small": 40, "large": 10}
GFLOP = {"small": 0.05, "large": 0.2}


def write_world(root: Path, models: dict = DEFAULT, seeds: tuple[int, ...] = (0,)) -> None:
    """Write params.yaml, data/processed/index.csv, models/ and evaluations/ under ``root``."""
    index = _index()
    (root / "data/processed").mkdir(parents=True, exist_ok=True)
    index.to_csv(root / "data/processed/index.csv", index=False, lineterminator="\n")
    write_params(root, models, seeds)
    (root / "data/raw").mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(4)
    for split in ("train", "test"):
        shape = (10 * PEOPLE[split], 64, 64, 3)
        packed = pixels.integers(0, 256, shape, dtype=np.uint8)
        np.save(root / f"data/processed/{split}.npy", packed)
    source: dict[str, object] = {"source": "faces", "name": None, "rows": 400, "inputs": {}}
    source |= {"licence": "free to use with credit", "credit": "The Database of Faces, AT&T"}
    (root / "data/raw/source.json").write_text(json.dumps(source))
    for name in models:
        for seed in seeds:
            write_training(root, name, seed, models[name], index)


def write_params(root: Path, models: dict, seeds: tuple[int, ...], **compare: object) -> None:
    """The project's own params.yaml with these models, seeds and changes of ``compare``."""
    content = yaml.safe_load(Path(__file__).parents[1].joinpath("params.yaml").read_text())
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
    family, widths, latent, parameters, distance, mse, detection = spec
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
    _measures(frame, measure(distance), measure(mse), family)
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
    _same_compute(root, training, frame, family)
    _frequency(root, training, index, distance, own)
    size = "small" if name.endswith("small") else "large"
    epochs = np.arange(max(ALIKE, COMPUTE[size]) + 1)
    # The fcn converge early, the others are still on their way when the budget ends.
    pace = 2 if family == "fcn" else 6
    val = mse[1] * (1 + 4 * np.exp(-epochs / pace)) * np.exp(own.normal(0, 1e-3, len(epochs)))
    pd.DataFrame(
        {
            "epoch": epochs,
            "step": epochs * 8,
            "learning_rate": 1e-3,
            "train_mse": val * mse[0] / mse[1],
            "val_mse": val,
        }
    ).to_csv(root / training.curves, index=False)
    _weights(root, training, spec, size)
    anomaly = {
        score: {split: _judge(frame, score, split) for split in ("val", "gate", "test")}
        for score in ("mse", "ssim")
    }
    passed = {"black": 1.0, "gradient": 0.5} if name == "fcn-small" else {}
    details = {
        "model": name, "seed": seed, "family": family, "widths": widths, "latent": latent,
        "parameters": parameters, "flops": parameters * 2, "weight_bytes": parameters * 4,
        "best_score": "mse", "anomaly": anomaly,
        "threshold": {score: _threshold(frame, score) for score in ("mse", "ssim")},
        "unseen_kind": {
            score: {split: {"mean": one["all"]["auroc"] - 0.01} for split, one in found.items()}
            for score, found in anomaly.items()
        },
        "panel": {
            score: {"let_through": passed, "share": sum(passed.values()) / 11}
            for score in ("mse", "ssim")
        },
        "fused_weights": None, "reconstruction": {},
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
        details["latent_space"]["crossfade_mean"] = {"train": 0.8 * level, "test": 0.8 * level}
        details["latent_space"]["jump_mean"] = {"train": 1.1, "test": 1.2}
        details["latent_space"]["collapsed"] = name == "vae-large"
        sharp = (0.5 if family == "ae" else 0.3) * np.exp(seed_effect)
        details["samples"] = {
            "sharpness": list(sharp * np.exp(own.normal(0, 0.2, 64))),
            "sharpness_mean": float(sharp),
            "sharpness_real_mean": 1.0,
            "fitted": {"sharpness_mean": 0.45} if family == "vae" else None,
        }
    Details.of(details).write(root / training.details)
    _pictures(root / training.figures, family, 40 * float(np.mean(distance)))


def _measures(frame: pd.DataFrame, distance: np.ndarray, mse: np.ndarray, family: str) -> None:
    """Every measure that follows from a distance; LSD turns the sizes of conv round."""
    distance = np.clip(distance, 0, 0.99)
    frame["mse"] = mse
    frame["mae"] = np.sqrt(mse) * 0.7
    frame["psnr"] = -10 * np.log10(mse)
    frame["haarpsi"] = 1 - distance
    frame["gmsd"] = 0.3 * distance
    frame["mdsi"] = 0.5 * distance
    frame["fsim"] = 1 - 0.5 * distance
    # A slow one is taken of every other image.
    frame["vif"] = np.where(frame["row"] % 2 == 0, np.exp(-2 * distance), np.nan)
    frame["dss"] = 1 - distance
    frame["ms_ssim"] = 1 - 0.6 * distance
    frame["ssim"] = np.clip(1 - 12 * mse, -1, 1)
    frame["lsd"] = 0.4 / distance if family == "conv" else 40 * distance


def _same_compute(root: Path, training: Training, frame: pd.DataFrame, family: str) -> None:
    """For the same compute the large model is a quarter further off, the small one a tenth less."""
    use = (frame["label"] == 0) & frame["split"].isin(["train", "test"])
    keys = ["split", "label", "row", "id", "group", "kind"]
    mine = frame.loc[use, [*keys, "mse", "haarpsi"]].reset_index(drop=True)
    factor = 0.9 if training.model.endswith("small") else 1.25
    distance, mse = 1 - mine["haarpsi"].to_numpy(), mine["mse"].to_numpy()
    _measures(mine, factor * distance, factor * mse, family)
    if family == "pca":
        mine = mine.iloc[:0]
    mine.to_parquet(root / training.same_compute_table, index=False)


def _frequency(
    root: Path,
    training: Training,
    index: pd.DataFrame,
    distance: tuple[float, float],
    own: np.random.Generator,
) -> None:
    """A share of power that falls with frequency, to one half at 2.4 / distance cycles."""
    rings = np.arange(1, 33)
    tensors: dict[str, np.ndarray] = {}
    for split, far in zip(("train", "test"), distance, strict=True):
        rows = np.arange(((index["split"] == split) & (index["label"] == 0)).sum())
        power = 100.0 / rings**2 * np.ones((len(rows), 1))
        lost = 0.5 * (rings * far / 2.4) ** 1.5
        error = power * lost * np.exp(own.normal(0, 0.1, (len(rows), 1)))
        tensors |= {
            f"{split}/rows": rows.astype(np.int64),
            f"{split}/error": error.astype(np.float32),
            f"{split}/power": power.astype(np.float32),
        }
    save_file(tensors, root / training.frequency)


def _weights(root: Path, training: Training, spec: tuple, size: str) -> None:
    """Untrained weights of tiny networks, and model.json with both budgets."""
    family, widths, latent, *_ = spec
    entry = {"family": family, "widths": widths} | ({} if family == "conv" else {"latent": latent})
    torch.manual_seed(crc32(training.name.encode()))
    network = build(Model.model_validate(entry), training.model, SHAPE)
    tensors = {name: value.contiguous() for name, value in network.state_dict().items()}
    save_torch(tensors, root / training.weights)
    save_torch({} if family == "pca" else tensors, root / training.same_compute)
    description = describe(Model.model_validate(entry), training.model, training.seed, network)
    budgets: dict[str, dict[str, float] | None] = {"alike": None, "compute": None}
    if family != "pca":
        budgets = {
            name: {"epoch": epochs, "epochs": epochs, "gflop_per_image": epochs * GFLOP[size]}
            for name, epochs in (("alike", ALIKE), ("compute", COMPUTE[size]))
        }
    (root / training.description).write_text(json.dumps(description | {"budgets": budgets}))


def _threshold(frame: pd.DataFrame, score: str) -> dict:
    normal = frame.loc[(frame["split"] == "val") & (frame["label"] == 0), f"score_{score}"]
    return {"value": float(normal.quantile(0.95)), "false_alarm_rate": 0.05}


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
    names = ["grid", "extremes", "latent_map", "panel"]
    names += ["traversal"] if family in ("fcn", "vae") else []
    names += ["samples", "interpolation"] if family in ("ae", "vae") else []
    for name in names:
        pixels.save(folder / f"{name}.png")
