"""Stage ``evaluate``: every figure of one training, on every split."""

from __future__ import annotations

import copy
import shutil
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from safetensors.torch import load as load_weights
from safetensors.torch import save
from threadpoolctl import threadpool_limits

from clarity.details import Details
from clarity.errors import ClarityError, in_a_line
from clarity.evaluate import cost
from clarity.evaluate.figures import obvious
from clarity.evaluate.frequency import finest_detail, kept
from clarity.evaluate.images import Images
from clarity.evaluate.judging import judge, panel_alarms, with_judgement, with_scores
from clarity.evaluate.measure import (
    KEYS,
    POPULATIONS,
    Measured,
    fitted_scorer,
    measure,
    measure_populations,
    pixel_figures,
    population_means,
    reconstruction_figures,
    spectra,
    train_latents,
)
from clarity.evaluate.panel import named, panel
from clarity.evaluate.perceptual import EVERY, SAMPLE
from clarity.evaluate.portrait import Portrait
from clarity.evaluate.reconstruction import METRICS
from clarity.evaluate.schema import checked
from clarity.files import atomic_path, note_json, read_json, write_bytes, write_json
from clarity.layout import (
    INDEX,
    JUDGED_SPLITS,
    PROCESSED,
    SPLITS,
    Outputs,
    Shape,
    Training,
    anomalies,
    masks,
    normals,
)
from clarity.measures import MEASURES
from clarity.models.base import Autoencoder
from clarity.models.build import load
from clarity.models.device import hold_memory, prepare
from clarity.params import Params, load_params

INDEX_COLUMNS = ("split", "label", "row", "id", "group", "kind", "has_mask")


def evaluate_training(model: str, seed: int) -> None:
    """Measure the training of ``model`` from ``seed`` and write its evaluation.

    Args:
        model: a key of ``models`` in params.yaml.
        seed: one of ``seeds``.

    Raises:
        ClarityError: files are missing, do not fit each other, or the network is broken.
    """
    params = load_params()
    params.model(model)
    training = Training(model, seed)
    evaluate(params, training, load(training.directory), {"model": model, "seed": seed})


def evaluate(
    params: Params, training: Outputs, network: Autoencoder, known: dict[str, Any]
) -> None:
    """Measure a network on every split and write its evaluation.

    Args:
        params: the checked parameters.
        training: whose files are written.
        network: of ``training``, in eval mode.
        known: what stands first in details.json: which network it is.

    Raises:
        ClarityError: files are missing, do not fit each other, or the network is broken.
    """
    started = time.monotonic()
    settings = params.evaluate
    device = prepare(params.device, params.threads)
    hold_memory()
    images = open_images(params.preprocess.shape, device)
    network = network.to(device)
    if network.shape != images.shape:
        raise ClarityError(
            f"{training.directory}: reads images of {network.shape}, {PROCESSED} holds "
            f"{images.shape}; run `dvc repro {training.made_by}`"
        )
    description = read_json(training.description)
    with threadpool_limits(params.threads):
        latents = train_latents(network, images, settings.batch_size)
        scorer = fitted_scorer(network, images, latents, settings.batch_size)
        measured = measure(network, scorer, images, settings.batch_size)
        scorer, measured, fitted = with_scores(scorer, measured)
        judged = judge(measured.table, settings.false_alarm_rate, fitted)
        scorer = with_judgement(scorer, judged)
        shown = panel(images.arrays["val", 0])
        alarms = panel_alarms(network, scorer, shown, device)
        portrait = Portrait(
            network, description["family"], scorer, images, latents, settings, training.name
        )
        latent_space, samples = portrait.latent_space(), portrait.samples()
        pictures = portrait.pictures(measured)
        pictures["panel.png"] = obvious(shown, alarms[judged.best], training.name)
        rings = spectra(network, images, settings.batch_size)
        other = same_compute(training, network, measured, images, settings.batch_size)
    shares = {
        split: kept(
            rings[f"{split}/error"].double().numpy(), rings[f"{split}/power"].double().numpy()
        )
        for split in POPULATIONS
    }
    content = {
        **known,
        **{key: description[key] for key in ("family", "widths", "latent", "parameters")},
        "flops": cost.flops(network),
        "weight_bytes": training.weights.stat().st_size,
        "reconstruction": reconstruction_figures(measured),
        "same_compute": population_means(other),
        "frequency": {
            "cycles": list(range(1, images.shape.size // 2 + 1)),
            **{split: values.tolist() for split, values in shares.items()},
        },
        "finest_detail": {
            split: finest_detail(values, images.shape.size) for split, values in shares.items()
        },
        "anomaly": judged.anomaly,
        "unseen_kind": judged.unseen_kind,
        "threshold": judged.threshold,
        "best_score": judged.best,
        "fused_weights": judged.weights,
        "panel": {name: shown.judged(flags) for name, flags in alarms.items()},
        "pixel_auroc": pixel_figures(measured),
        "latent_space": latent_space,
        "samples": samples,
    }
    if short := left_out(images.shape):
        content["left_out"] = short
        print(f"evaluate: {training.name}: left out: " + "; ".join(short.values()))
    if params.preprocess.white is not None:  # what scores new pictures reads them alike
        content["white"] = params.preprocess.white
    details = Details.of(content)
    _write(training, details, measured, pictures)
    scorer.save(training.scorer)
    write_bytes(training.frequency, save(rings))
    with atomic_path(training.same_compute_table) as temporary:
        other.to_parquet(temporary, index=False, compression="zstd")
    _warn(training, details)
    _write_timings(training.timings, network, settings.batch_size, started)
    figures = _metrics(details)
    print(
        f"evaluate: {training.name}: test MSE {figures['test_mse']:.5f}, "
        f"HaarPSI {figures['test_haarpsi']:.3f}, AUROC {_shown(figures['auroc'])} "
        f"by score {judged.best!r}"
    )


def same_compute(
    training: Outputs, network: Autoencoder, measured: Measured, images: Images, batch_size: int
) -> pd.DataFrame:
    """Measures of the weights that the budget "for the same compute" kept; no rows without one."""
    compared = measured.table["split"].isin(POPULATIONS) & (measured.table["label"] == 0)
    columns = [*KEYS, *METRICS, *EVERY, *SAMPLE]
    alike = measured.table.loc[compared, columns].reset_index(drop=True)
    if not isinstance(training, Training):
        return alike.iloc[:0]
    try:
        content = training.same_compute.read_bytes()
    except FileNotFoundError:
        raise ClarityError(
            f"{training.same_compute}: no such file; run `dvc repro {training.made_by}`"
        ) from None
    if content == training.weights.read_bytes():
        return alike
    weights = load_weights(content)
    if not weights:
        return alike.iloc[:0]
    network = copy.deepcopy(network)
    network.load_state_dict(weights)
    return measure_populations(network, images, batch_size)


def left_out(shape: Shape) -> dict[str, str]:
    """Measures that images of this shape are too small for, and the reason of each."""
    return {
        name: f"{MEASURES[name].label} needs {MEASURES[name].smallest} pixels, images have "
        f"{shape.size}"
        for name in (*EVERY, *SAMPLE)
        if MEASURES[name].smallest > shape.size
    }


def open_images(shape: Shape, device: torch.device) -> Images:
    """The packed images, memory-mapped, and their index; checked to fit each other.

    Raises:
        ClarityError: a file is missing, broken, of another length than the index says, or holds
            images of another shape.
    """
    text = dict.fromkeys(("split", "id", "group", "kind", "sha256"), "str")
    try:
        index = pd.read_csv(INDEX, dtype=text, keep_default_na=False)
    except FileNotFoundError:
        raise ClarityError(f"{INDEX}: no such file; run `dvc repro preprocess`") from None
    missing = [name for name in INDEX_COLUMNS if name not in index]
    if missing:
        raise ClarityError(f"{INDEX}: column {missing[0]} is missing; run `dvc repro preprocess`")
    arrays = {(split, 0): _array(normals(split)) for split in SPLITS}
    arrays |= {(split, 1): _array(anomalies(split)) for split in JUDGED_SPLITS}
    counted = Counter(zip(index["split"], index["label"], strict=True))
    for (split, label), array in arrays.items():
        path = anomalies(split) if label else normals(split)
        if array.shape[1:] != shape.stored:
            raise ClarityError(
                f"{path}: images of {'×'.join(map(str, array.shape[1:]))}, not {shape} as "
                "preprocess.size and preprocess.channels say; run `dvc repro preprocess`"
            )
        listed = counted.pop((split, label), 0)
        if len(array) != listed:
            raise ClarityError(
                f"{path}: {len(array)} images, but {INDEX} lists {listed}; "
                "run `dvc repro -f preprocess`"
            )
        if not listed and not label:
            raise ClarityError(f"{path}: no images; give the split a larger share")
    if counted:
        split, label = next(iter(counted))
        raise ClarityError(f"{INDEX}: split {split!r} with label {label} is not known")
    return Images(index, arrays, {split: _array(masks(split)) for split in JUDGED_SPLITS}, device)


def _array(path: Path) -> np.ndarray:
    try:
        array: np.ndarray = np.load(path, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError:
        raise ClarityError(f"{path}: no such file; run `dvc repro preprocess`") from None
    except (ValueError, EOFError) as error:
        reason = f"broken array ({in_a_line(error)})"
        raise ClarityError(f"{path}: {reason}; run `dvc repro -f preprocess`") from None
    return array


def _write(
    training: Outputs, details: Details, measured: Measured, pictures: dict[str, bytes]
) -> None:
    table = checked(measured.table, str(training.per_image))
    with atomic_path(training.per_image) as temporary:
        table.to_parquet(temporary, index=False, compression="zstd")
    details.write(training.details)
    write_json(training.metrics, _metrics(details))
    shutil.rmtree(training.figures, ignore_errors=True)
    for name, content in pictures.items():
        write_bytes(training.figures / name, content)


def _metrics(details: Details) -> dict[str, Any]:
    """The few figures for ``metrics.json``."""
    test, train = (details.reconstruction[split] for split in ("test", "train"))
    found = details.anomaly[details.best_score]["test"]["all"]
    return {
        **{key: getattr(details, key) for key in ("parameters", "flops", "latent")},
        **{f"test_{name}": test[name] for name in ("haarpsi", "mse", "psnr", "ssim", "lsd")},
        **{f"train_{name}": train[name] for name in ("haarpsi", "mse", "lsd")},
        "auroc": found["auroc"],
        "auroc_unseen_kind": details.unseen_kind[details.best_score]["test"]["mean"],
        "ap": found["ap"],
        "panel_let_through": details.panel[details.best_score].share,
    }


def _warn(training: Outputs, details: Details) -> None:
    """Say aloud what a reader of figures must know."""
    best = details.best_score
    passed = details.panel[best].let_through
    if passed:
        print(
            f"evaluate: {training.name}: score {best!r} calls normal what nobody would: "
            f"{named(passed)}",
            file=sys.stderr,
        )
    space = details.latent_space
    if space.collapsed:
        print(
            f"evaluate: {training.name}: posterior collapse: only {space.active_units} of "
            f"{details.latent} latent elements carry anything; lower train.beta or lengthen "
            "train.kl_warmup",
            file=sys.stderr,
        )


def _write_timings(path: Path, network: Any, batch_size: int, started: float) -> None:
    """Add what the clock measured to the training's timings."""
    took = {"evaluate_seconds": time.monotonic() - started}
    figures = {**took, **cost.measured(network, batch_size)}
    note_json(path, {name: round(value, 4) for name, value in figures.items()})


def _shown(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.3f}"
