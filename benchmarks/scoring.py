"""Batch scoring against the bare forward pass, on the same images, side by side; and its memory.

    python benchmarks/scoring.py                       # every model of params.yaml, untrained
    python benchmarks/scoring.py --model conv-large --images 2048
    python benchmarks/scoring.py --memory 100000       # peak resident memory for so many images

Weights do not change how long a network takes, so none are needed; the score is the fused one with
every signal weighed, which is the most that there is to do. The two are measured in turns,
image for image the same, as CPU seconds of the whole process: `clarity score`'s reading, scoring
and writing on one side, the network's forward pass on batches of the same size on the other.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from figures import Figure, save
from rich.console import Console

from clarity.choice import FUSED
from clarity.details import Details, Threshold
from clarity.evaluate.forward import through
from clarity.evaluate.fused import LEFT_OUT, Examples, Fused
from clarity.evaluate.local import fit_local
from clarity.evaluate.reconstruction import squared_error
from clarity.evaluate.scorer import fit_scorer
from clarity.evaluate.sides import scaled
from clarity.evaluate.spectrum import luma
from clarity.models.base import to_input
from clarity.models.build import build
from clarity.params import load_params
from clarity.score.batch import score_parts
from clarity.score.detector import BATCH, Detector
from clarity.score.sources import Reading, open_source

ROUNDS = 5


def detector_of(name: str, score: str) -> Detector:
    """An untrained model with a fitted scorer."""
    params = load_params()
    network = build(params.model(name), name, params.preprocess.shape).eval()
    images = torch.randint(0, 256, (80, *params.preprocess.shape.stored), dtype=torch.uint8)
    passed = through(network, images)
    errors = squared_error(passed.reconstruction, passed.original)
    local = fit_local([luma(passed.reconstruction) - luma(passed.original)], people=len(images))
    scorer = fit_scorer(passed.latent, errors, passed.latent, local)
    with torch.inference_mode():
        signals = scorer.inspect(network, images).signals
    scorer = replace(scorer, turns=dict.fromkeys(signals, 0.0), fused=everything(signals))
    details = Details(
        model=name,
        family=params.model(name).family,
        latent=network.latent_size,
        parameters=0,
        flops=0,
        weight_bytes=0,
        reconstruction={},
        anomaly={},
        threshold={score: Threshold(value=0.0, false_alarm_rate=0.05)},
        best_score=score,
    )
    return Detector(network, scorer, details)


def everything(signals: dict[str, torch.Tensor]) -> Fused:
    """A fused score in which no weight is 0."""
    names = tuple(name for name in signals if name not in LEFT_OUT)
    normal = np.stack([scaled(name, signals[name]).numpy() for name in names], axis=1)
    kinds = np.array(["normal", "odd"]).repeat(len(normal))
    both, people = np.concatenate([normal, normal + 1]), np.arange(len(kinds)).astype(str)
    fitted = Examples(names, both, normal, kinds == "odd", kinds, people).fit(kinds != "")
    return replace(fitted, weights=np.ones_like(fitted.weights))


def seconds(action: Callable[[], object], clock: Callable[[], float]) -> float:
    start = clock()
    action()
    return clock() - start


def ratio(name: str, score: str, path: Path, images: np.ndarray, wall: bool) -> tuple[float, float]:
    """Images a second of the bare forward pass, and of scoring."""
    detector, source = detector_of(name, score), open_source(path)
    source.reading = Reading(detector.shape)
    clock = time.perf_counter if wall else time.process_time

    def bare() -> None:
        with torch.inference_mode():
            for start in range(0, len(images), BATCH):
                detector.model(to_input(images[start : start + BATCH]))

    def scored() -> None:
        with tempfile.TemporaryDirectory() as folder:
            score_parts(source, detector, Path(folder), Console(quiet=True))

    bare()
    pairs = [(seconds(bare, clock), seconds(scored, clock)) for _ in range(ROUNDS)]
    first, second = np.median(np.array(pairs), axis=0)
    return len(images) / first, len(images) / second


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--model", action="append")
    parser.add_argument("--score", default=FUSED)
    parser.add_argument("--images", type=int, default=1024)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--wall", action="store_true", help="wall clock, on a quiet machine")
    parser.add_argument("--memory", type=int, help="score so many images once; peak memory")
    parser.add_argument("--out", type=Path, help="figures as JSON")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "images.npy"
        if options.memory:
            write_images(path, options.memory, rng)
            name = (options.model or ["conv-small"])[0]
            before = resident()
            detector = detector_of(name, options.score)
            parts = Path(folder) / "parts"
            source = open_source(path)
            source.reading = Reading(detector.shape)
            score_parts(source, detector, parts, Console(quiet=True))
            print(f"{name}: {options.memory:,} images, peak {peak():.0f} MiB ({before:.0f} before)")
            return
        images = rng.integers(0, 256, (options.images, 64, 64, 3), dtype=np.uint8)
        np.save(path, images)
        print(f"{'model':<14}{'bare/s':>9}{'scored/s':>10}{'ratio':>8}   score: {options.score}")
        figures, params = [], load_params()
        for name in options.model or params.models:
            bare, scored = ratio(name, options.score, path, images, options.wall)
            print(f"{name:<14}{bare:>9.0f}{scored:>10.0f}{scored / bare:>8.1%}", flush=True)
            what = f"clarity score by {name}, × the speed of the forward pass"
            aim = None if params.model(name).traits.fitted else 0.8
            figures.append(Figure(what=what, value=scored / bare, at_least=aim))
        save(options.out, figures)


def write_images(path: Path, count: int, rng: np.random.Generator) -> None:
    """An array of noise, a piece at a time: it is not to be in memory when that is measured."""
    piece = rng.integers(0, 256, (500, 64, 64, 3), dtype=np.uint8)
    with path.open("wb") as handle:
        header = {"descr": "|u1", "fortran_order": False, "shape": (count, 64, 64, 3)}
        np.lib.format.write_array_header_1_0(handle, header)
        for start in range(0, count, len(piece)):
            handle.write(piece[: count - start].tobytes())


def resident() -> float:
    """Resident memory now, MiB."""
    import psutil

    return float(psutil.Process().memory_info().rss) / 2**20


def peak() -> float:
    """Highest resident memory so far, MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()
