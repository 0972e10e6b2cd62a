"""100,000 images of 64×64×3 through ``clarity ingest`` and ``clarity preprocess``.

Run it from the project's root: ``python benchmarks/data_memory.py [--images N]``. It needs about
5 GB of disk in the temporary folder (``TMPDIR``) for 100,000 images and prints, for each stage,
the wall time and the largest resident memory of its process. Fails above 1 GB (10⁹ bytes).
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
LIMIT = 1_000_000_000


def make(path: Path, images: int) -> None:
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


def measure(stage: str, folder: Path) -> tuple[float, int]:
    """Wall seconds and peak resident bytes of one stage, as the kernel counts them."""
    started = time.perf_counter()
    process = subprocess.Popen([sys.executable, "-m", "clarity", stage], cwd=folder)
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - started
    if status != 0:
        raise SystemExit(f"{stage} failed with status {status}")
    return seconds, usage.ru_maxrss * 1024


def main() -> None:
    """Make the images, run both stages, print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=100_000)
    images = parser.parse_args().images
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "set").mkdir()
        make(folder / "set" / "trainingset.npy", images)
        text = (ROOT / "params.yaml").read_text()
        text = text.replace("source: faces", "source: npy").replace("path: data/own", "path: set")
        (folder / "params.yaml").write_text(text)
        peaks = []
        for stage in ("ingest", "preprocess"):
            seconds, peak = measure(stage, folder)
            peaks.append(peak)
            print(f"{stage}: {images} images, {seconds:.1f} s, peak {peak / 1e6:.0f} MB resident")
        shutil.rmtree(folder / "set")
    if max(peaks) > LIMIT:
        raise SystemExit(f"more than {LIMIT / 1e6:.0f} MB resident")


if __name__ == "__main__":
    main()
