"""The pass over every image: metrics, anomaly scores and pixel AUROC, in bounded memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch

from clarity.errors import ClarityError
from clarity.evaluate import frequency
from clarity.evaluate.anomaly import pixel_auroc
from clarity.evaluate.forward import encode, through
from clarity.evaluate.images import Images, Part, concatenated
from clarity.evaluate.local import fit_local
from clarity.evaluate.perceptual import EVERY, SAMPLE, SAMPLED, perceptual
from clarity.evaluate.pixels import Ranking, pooled, ranking
from clarity.evaluate.reconstruction import METRICS, image_metrics, squared_error
from clarity.evaluate.scorer import Scorer, fit_scorer
from clarity.evaluate.spectrum import luma, transforms
from clarity.layout import JUDGED_SPLITS, SPLITS
from clarity.models.base import Autoencoder, at_most

#: Training latents that statistics are taken of: at most so many images, and so many numbers.
MOST_LATENTS, MOST_NUMBERS = 4096, 2**24
#: Validation normals that the scorer is fitted to: at most so many of 64×64 pixels, fewer larger.
MOST_NORMALS = 4096
#: Training normals that the error by its place is fitted to, likewise.
MOST_LOCAL = 2048
#: Training normals that the cheap perceptual measures are taken of, at most: the mean's standard
#: error is then 2 % of what images differ by. Of other splits every normal counts.
MOST_COMPARED = 2048
#: The splits that models are compared on.
POPULATIONS = ("train", "test")
KEYS = ("split", "label", "row", "id", "group", "kind")


@dataclass
class Measured:
    """What the pass found.

    Attributes:
        table: ``per_image.parquet``; without scores until `judging.with_sides`.
        hf_bias: mean signed spectral difference of each split's normals, dB.
        pixels: pooled pixel AUROC by split and kind.
        plane: every image's latent in the first two principal components of the training latents,
            row for row with the table; zeros for a second one that does not exist.
    """

    table: pd.DataFrame
    hf_bias: dict[str, float]
    pixels: dict[str, dict[str, Ranking]]
    plane: np.ndarray


@contextmanager
def progress(steps: int, what: str) -> Iterator[Iterable[int]]:
    """Count to ``steps`` with a bar on a terminal, silently elsewhere."""
    from rich.console import Console
    from rich.progress import track

    console = Console(stderr=True)
    yield track(
        range(steps), what, console=console, transient=True, disable=not console.is_terminal
    )


def train_latents(model: Autoencoder, images: Images, batch_size: int) -> torch.Tensor:
    """Latents of training normals, M×D float32 on the CPU: all, or an evenly spaced sample."""
    probe = encode(model, images.batch("train", 0, np.zeros(1, np.int64)))
    most = max(2, min(MOST_LATENTS, MOST_NUMBERS // probe.shape[1]))
    rows = images.sample("train", most)
    return concatenated([encode(model, b) for b in images.chunks("train", rows, batch_size)])


def fitted_scorer(
    model: Autoencoder, images: Images, latents: torch.Tensor, batch_size: int
) -> Scorer:
    """The scorer of a model from training latents and errors and validation normals; no thresholds
    yet."""
    errors, codes = [], []
    most = at_most(MOST_NORMALS, images.shape)
    for batch in images.chunks("val", images.sample("val", most), batch_size):
        passed = through(model, batch)
        errors.append(squared_error(passed.reconstruction, passed.original))
        codes.append(passed.latent)
    train, rows = images.normals("train"), images.sample("train", at_most(MOST_LOCAL, images.shape))
    passes = (through(model, batch) for batch in images.chunks("train", rows, batch_size))
    local = fit_local(
        (luma(one.reconstruction) - luma(one.original) for one in passes),
        people=train.loc[train["row"].isin(rows), "group"].nunique(),
    )
    return fit_scorer(latents, concatenated(errors), concatenated(codes), local)


def measure(model: Autoencoder, scorer: Scorer, images: Images, batch_size: int) -> Measured:
    """Every image once through the network, in the index's order.

    Raises:
        ClarityError: the network gives values that are not finite.
    """
    index = images.index
    columns: dict[str, np.ndarray] = {}
    pixels: dict[str, dict[str, Ranking]] = {split: {} for split in JUDGED_SPLITS}
    bias: dict[Part, list[float]] = {}
    kinds = index["kind"].to_numpy()
    masked = index["has_mask"].to_numpy() == 1
    plane = np.zeros((len(index), 2))
    work = list(images.batches(batch_size))

    def put(name: str, places: np.ndarray, values: torch.Tensor | np.ndarray) -> None:
        if name not in columns:
            columns[name] = np.full(len(index), np.nan)
        columns[name][places] = values.cpu().numpy() if torch.is_tensor(values) else values

    compared = compared_places(images)
    for name in (*METRICS, *EVERY, *SAMPLE, "pixel_auroc", "recon_nats", "kl_nats"):
        columns[name] = np.full(len(index), np.nan)
    with progress(len(work), "evaluate") as steps:
        for step in steps:
            (split, label), places, rows = work[step]
            batch = images.batch(split, label, rows)
            seen = scorer.inspect(model, batch)
            for name in METRICS:
                put(name, places, seen.metrics[name])
            if label == 0:
                pair = seen.reconstruction, seen.original
                for name, some, values in likeness(*pair, places, compared):
                    put(name, some, values)
            for name, values in seen.signals.items():
                put(f"signal_{name}", places, values)
            if seen.recon_nats is not None and seen.kl_nats is not None:
                put("recon_nats", places, seen.recon_nats)
                put("kl_nats", places, seen.kl_nats)
            axes = scorer.principal_plane(seen.latent)
            plane[places, : axes.shape[1]] = axes.cpu().numpy()
            bias.setdefault((split, label), []).append(float(seen.metrics["hf_bias"].sum()))
            with_mask = masked[places]
            if label == 1 and with_mask.any():
                errors = seen.error_map.double().cpu().numpy()[with_mask]
                truth = images.masks[split][rows[with_mask]]
                put("pixel_auroc", places[with_mask], pixel_auroc(errors, truth))
                for kind in sorted(set(kinds[places][with_mask])):
                    these = kinds[places][with_mask] == kind
                    pixels[split].setdefault(kind, ranking(kind)).add(errors[these], truth[these])

    for name, some, values in costly_likeness(model, images, batch_size):
        put(name, some, values)
    table = pd.concat([index[list(KEYS)], pd.DataFrame(columns, index=index.index)], axis=1)
    wrong = ~np.isfinite(table[list(METRICS)].to_numpy()).all(axis=1)
    if wrong.any():
        raise ClarityError(
            f"image {index['id'].to_numpy()[wrong][0]!r}: the network gives values that are not "
            "finite; train the model again with a lower train.learning_rate"
        )
    count = {split: len(images.arrays[split, 0]) for split in SPLITS}
    means = {split: sum(bias[split, 0]) / count[split] for split in SPLITS if (split, 0) in bias}
    return Measured(table, means, pixels, plane)


def compared_places(images: Images) -> np.ndarray:
    """Whether each row of the index is one that the cheap perceptual measures are taken of: every
    normal but those of train beyond an evenly spaced sample; from the index alone, so the same for
    every model."""
    compared = np.array(images.index["label"] == 0)
    sample = images.sample("train", MOST_COMPARED)
    compared[np.delete(_places(images, "train"), sample)] = False
    return compared


def _places(images: Images, split: str) -> np.ndarray:
    """Places in the index of a split's normals, by their row."""
    index = images.index
    here = np.flatnonzero((index["split"] == split) & (index["label"] == 0))
    found: np.ndarray = here[np.argsort(index["row"].to_numpy(np.int64)[here])]
    return found


def likeness(
    reconstruction: torch.Tensor, original: torch.Tensor, places: np.ndarray, compared: np.ndarray
) -> Iterator[tuple[str, np.ndarray, torch.Tensor]]:
    """Each cheap perceptual measure of a batch that stands at ``places`` of the index: its name,
    where what was measured stands, and the values."""
    some = compared[places]
    if some.any():
        these = torch.from_numpy(some).to(original.device)
        found = perceptual(reconstruction[these], original[these], every=True)
        for name, values in found.items():
            yield name, places[some], values


def costly_likeness(
    model: Autoencoder, images: Images, batch_size: int
) -> Iterator[tuple[str, np.ndarray, torch.Tensor]]:
    """The same of the costly measures, for an evenly spaced sample of each population's normals."""
    for split in POPULATIONS:
        rows = images.sample(split, SAMPLED)
        places, first = _places(images, split)[rows], 0
        for batch in images.chunks(split, rows, batch_size):
            passed = through(model, batch)
            found = perceptual(passed.reconstruction, passed.original, every=False)
            for name, values in found.items():
                yield name, places[first : first + len(batch)], values
            first += len(batch)


def measure_populations(model: Autoencoder, images: Images, batch_size: int) -> pd.DataFrame:
    """Every measure of the normals of train and test alone: ``same_compute.parquet``."""
    index = images.index
    compared = compared_places(images)
    names = [*METRICS, *EVERY, *SAMPLE]
    values = np.full((len(index), len(names)), np.nan)
    for (split, label), places, rows in images.batches(batch_size):
        if split not in POPULATIONS or label == 1:
            continue
        passed = through(model, images.batch(split, label, rows))
        pair = passed.reconstruction, passed.original
        metrics = image_metrics(*pair)
        for name in METRICS:
            values[places, names.index(name)] = metrics[name].cpu().numpy()
        for name, some, column in likeness(*pair, places, compared):
            values[some, names.index(name)] = column.cpu().numpy()
    for name, some, column in costly_likeness(model, images, batch_size):
        values[some, names.index(name)] = column.cpu().numpy()
    table = pd.concat(
        [index[list(KEYS)], pd.DataFrame(values, columns=names, index=index.index)], axis=1
    )
    normals = index["split"].isin(POPULATIONS) & (index["label"] == 0)
    return table[normals].reset_index(drop=True)


def population_means(table: pd.DataFrame) -> dict[str, dict[str, float]] | None:
    """Means of every measure over each population; None for an empty table."""
    if table.empty:
        return None
    names = [*METRICS, *EVERY, *SAMPLE]
    parts = {split: table[table["split"] == split] for split in POPULATIONS}
    return {split: {n: float(part[n].mean()) for n in names} for split, part in parts.items()}


def spectra(model: Autoencoder, images: Images, batch_size: int) -> dict[str, torch.Tensor]:
    """``frequency.safetensors``: ring powers of error and original of a sample of each population,
    float32 N×R, and the rows they are of."""
    found = {}
    for split in POPULATIONS:
        rows = images.sample(split, frequency.MOST)
        errors, powers = [], []
        for batch in images.chunks(split, rows, batch_size):
            passed = through(model, batch)
            pair = transforms(passed.reconstruction, passed.original)
            errors.append(frequency.ring_powers(pair.reconstruction - pair.original))
            powers.append(frequency.ring_powers(pair.original))
        found[f"{split}/rows"] = torch.from_numpy(rows.astype(np.int64))
        found[f"{split}/error"] = concatenated(errors).float()
        found[f"{split}/power"] = concatenated(powers).float()
    return found


def reconstruction_figures(measured: Measured) -> dict[str, dict[str, float]]:
    """Means over the normals of each split: `METRICS`, ``hf_bias``, and a VAE's nats."""
    normals = measured.table[measured.table["label"] == 0]
    result = {}
    for split in SPLITS:
        part = normals[normals["split"] == split]
        wanted = (*EVERY, *SAMPLE, "recon_nats", "kl_nats")
        names = [*METRICS, *(name for name in wanted if part[name].notna().any())]
        result[split] = {name: float(part[name].mean()) for name in names}
        result[split]["hf_bias"] = measured.hf_bias[split]
        result[split]["n"] = len(part)
    return result


def pixel_figures(measured: Measured) -> dict[str, dict[str, float | None]]:
    """Pooled pixel AUROC by split and kind, all kinds with masks together as ``all``."""
    result: dict[str, dict[str, float | None]] = {}
    for split, kinds in measured.pixels.items():
        result[split] = {"all": pooled(kinds.values())}
        result[split] |= {kind: found.auroc() for kind, found in kinds.items()}
    return result
