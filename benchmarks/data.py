"""Many images through `clarity ingest` and `clarity preprocess`: time, and memory.

    python benchmarks/data.py [--images 100000] [--jpegs 5000]

First an array of random images of 64×64×3, beside copying its file (5 GB of the temporary folder,
`TMPDIR`, for 100,000); then a folder of JPEGs of 256×256, beside Pillow's decoder alone in as many
threads as there are cores. Memory is the largest resident size of a stage's process, as the kernel
counts it; more than 1 GB (10⁹ bytes) is a failure.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from figures import Figure, save, show
from joblib import cpu_count  # type: ignore[import-untyped]
from PIL import Image
from ruamel.yaml import YAML

ROOT = Path(__file__).resolve().parent.parent
LIMIT = 1_000_000_000
STAGES = ("ingest", "preprocess")


def make_array(path: Path, images: int) -> None:
    """Write random images of low contrast, each unlike all others, a thousand at a time."""
    # Plain writes: a child's peak starts at what its parent held when it was started, and the pages
    # of a memory map would be in that.
    header = {"descr": "|u1", "fortran_order": False, "shape": (images, 64, 64, 3)}
    rng = np.random.default_rng(0)
    with path.open("wb") as handle:
        np.lib.format.write_array_header_1_0(handle, header)
        for start in range(0, images, 1000):
            rows = min(1000, images - start)
            handle.write(rng.integers(64, 192, (rows, 64, 64, 3), np.uint8).tobytes())


def make_jpegs(folder: Path, images: int) -> None:
    """Smooth pictures with some grain, ten to a subfolder."""
    rng = np.random.default_rng(0)
    for number in range(images):
        coarse = Image.fromarray(rng.integers(0, 256, (8, 8, 3), np.uint8))
        picture = np.asarray(coarse.resize((256, 256), Image.Resampling.BICUBIC), np.float32)
        picture = (picture + rng.normal(0, 6, picture.shape)).clip(0, 255)
        path = folder / f"group-{number // 10:05d}" / f"{number % 10}.jpg"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(picture.astype(np.uint8)).save(path, quality=90)


def decoded(path: Path) -> None:
    with Image.open(path) as picture:
        picture.convert("RGB").load()


def decode_all(folder: Path) -> None:
    with ThreadPoolExecutor(cpu_count()) as pool:
        list(pool.map(decoded, sorted(folder.rglob("*.jpg"))))


def measure(stage: str, folder: Path, env: Mapping[str, str] | None = None) -> tuple[float, int]:
    """Wall seconds and peak resident bytes of one of Clarity's commands."""
    started = time.perf_counter()
    command = [sys.executable, "-m", "clarity", stage]
    process = subprocess.Popen(command, cwd=folder, env=env, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - started
    if status != 0:
        raise SystemExit(f"{stage} failed with status {status}")
    return seconds, usage.ru_maxrss * 1024


def seconds(action: Callable[[], object]) -> float:
    started = time.perf_counter()
    action()
    return time.perf_counter() - started


def run(folder: Path, source: str) -> tuple[float, int]:
    """Seconds of both stages over ``folder/set``, and the larger of their peaks."""
    yaml = YAML()
    values = yaml.load(ROOT / "params.yaml")
    values["data"] |= {"source": source, "path": "set"}
    with (folder / "params.yaml").open("w") as handle:
        yaml.dump(values, handle)
    taken = [measure(stage, folder) for stage in STAGES]
    return sum(each for each, _ in taken), max(peak for _, peak in taken)


def main(
    images: Annotated[int, typer.Option(help="Of the array.")] = 100_000,
    jpegs: Annotated[int, typer.Option(help="Files of the folder.")] = 5_000,
    out: Annotated[Path | None, typer.Option(help="Figures as JSON.")] = None,
) -> None:
    """Measure and print a table."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "array"
        (folder / "set").mkdir(parents=True)
        array = folder / "set" / "trainingset.npy"
        make_array(array, images)
        copying = seconds(lambda: shutil.copy(array, folder / "copy.npy"))
        (folder / "copy.npy").unlink()
        taken, peak = run(folder, "npy")
        shutil.rmtree(folder)
        folder = Path(name) / "pictures"
        (folder / "set").mkdir(parents=True)
        make_jpegs(folder / "set", jpegs)
        decode_all(folder / "set")  # or the first to read them would wait for the disk
        decoding = seconds(lambda: decode_all(folder / "set"))
        pictures, other = run(folder, "folder")
    both = "ingest and preprocess"
    figures = [
        Figure(what=f"{both}, {images:,} images of an array", value=taken, unit="s"),
        Figure(what="the same, × copying its file", value=taken / copying, at_most=2.0),
        Figure(what=f"{both}, {jpegs:,} JPEGs of 256×256", value=pictures, unit="s"),
        Figure(
            what="the same, × the speed of the decoder alone",
            value=decoding / pictures,
            at_least=0.8,
        ),
        Figure(
            what="most memory of a stage",
            value=max(peak, other) / 1e6,
            unit="MB",
            at_most=LIMIT / 1e6,
        ),
    ]
    show(f"{cpu_count()} cores", figures)
    save(out, figures)
    if max(peak, other) > LIMIT:
        raise SystemExit(f"more than {LIMIT / 1e6:.0f} MB resident")


if __name__ == "__main__":
    typer.run(main)
