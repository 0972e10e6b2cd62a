"""A training beside busy processes: how much slower than its fair share of the cores explains.

    python benchmarks/neighbours.py [--model conv-small] [--rounds 3]

The model's own batches and params.yaml's threads, first alone and then beside one and two processes
that never wait, in turns. Beside n of them t threads have t / (t + n) of the cores, where that is
fewer than they have alone. A bound of 1.3 leaves room for the caches that they share.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from figures import Figure, of_rounds, save, show
from joblib import cpu_count  # type: ignore[import-untyped]
from threadpoolctl import threadpool_limits
from training import WARM, Case, ours

from clarity.models.device import hold_memory, prepare
from clarity.params import load_params


@contextmanager
def busy(count: int) -> Iterator[None]:
    """So many processes that compute without a pause."""
    code = "while True: pass"
    started = [subprocess.Popen([sys.executable, "-c", code]) for _ in range(count)]
    try:
        yield
    finally:
        for each in started:
            each.kill()
            each.wait()


def explained(threads: int, others: int) -> float:
    """How many times slower fair shares make it."""
    cores = cpu_count()
    alone = min(threads, cores)
    return alone / min(alone, cores * threads / (threads + others))


def main(
    model: Annotated[list[str] | None, typer.Option(help="A key of models; several.")] = None,
    rounds: Annotated[int, typer.Option(help="Repeats; the median is taken.")] = 3,
    seconds: Annotated[float, typer.Option(help="Of each training a round.")] = 8.0,
    out: Annotated[Path | None, typer.Option(help="Figures as JSON.")] = None,
) -> None:
    """Measure and print a table."""
    out = out and out.resolve()
    params = load_params()
    device = prepare(params.device, params.threads)
    hold_memory()
    figures: list[Figure] = []
    here = Path.cwd()
    with tempfile.TemporaryDirectory() as folder, threadpool_limits(params.threads):
        os.chdir(folder)
        for name in model or ["conv-small", "conv-large", "fcn-small"]:
            case = Case(params, name, params.recipe(name).batch_size, device)
            case.steps = max(WARM, round(seconds * ours(case) / case.batch))
            slower: dict[int, list[float]] = {1: [], 2: []}
            for _ in range(rounds):
                alone = ours(case)
                for others, found in slower.items():
                    with busy(others):
                        found.append(alone / ours(case) / explained(params.threads, others))
            figures += [
                of_rounds(
                    f"a step of {name} beside {others} busy process{'es' * (others > 1)}, "
                    "× what its share of the cores explains",
                    found,
                    at_most=1.3,
                )
                for others, found in slower.items()
            ]
        os.chdir(here)
    show(f"{params.threads} threads on {cpu_count()} cores", figures)
    save(out, figures)


if __name__ == "__main__":
    typer.run(main)
