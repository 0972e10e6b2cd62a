"""What the flow costs over plain ``dvc repro``, and how busy two stages at once keep the cores.

    python benchmarks/flows.py [--stages 8] [--seconds 20] [--repeats 3]

Works on a toy project in a temporary folder, with stages that compute for a stated time; a real
Prefect server runs beside. Run it on a quiet machine.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Annotated

import psutil
import typer
from figures import Figure, save
from ruamel.yaml import YAML

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "flows")]
import toy  # noqa: E402
from tools import environment  # noqa: E402

FLOW = [sys.executable, "-m", "pipelines.reproduce"]
DVC = [sys.executable, "-m", "dvc", "repro"]
#: A stage that computes rather than sleeps: a fixed number of rounds, in as many threads as asked.
WORK = """
import hashlib, sys, threading
rounds, threads, out = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
block = b"x" * (1 << 20)
def work():
    for _ in range(rounds // threads):
        hashlib.sha256(block).digest()
workers = [threading.Thread(target=work) for _ in range(threads)]
for worker in workers:
    worker.start()
for worker in workers:
    worker.join()
open(out, "w").write("done\\n")
"""


def project(base: Path, stages: int, rounds: int, threads: int) -> Path:
    """Independent stages of equal work."""
    toy.make(base)
    (base / "work.py").write_text(WORK)
    graph = {
        "stages": {
            f"train-{number}": {
                "cmd": f"{sys.executable} work.py {rounds} {threads} out-{number}.txt",
                "deps": ["work.py"],
                "params": ["data"],
                "outs": [f"out-{number}.txt"],
            }
            for number in range(stages)
        }
    }
    yaml = YAML()
    with (base / "dvc.yaml").open("w") as handle:
        yaml.dump(graph, handle)
    params = yaml.load((base / "params.yaml").read_text())
    params["threads"] = threads
    with (base / "params.yaml").open("w") as handle:
        yaml.dump(params, handle)
    return base


def clear(root: Path) -> None:
    """Everything is to be done again."""
    for path in [*root.glob("out-*.txt"), root / "dvc.lock"]:
        path.unlink(missing_ok=True)
    shutil.rmtree(root / ".dvc" / "cache", ignore_errors=True)


def timed(root: Path, command: list[str], env: dict[str, str]) -> float:
    """Seconds of a command."""
    start = time.perf_counter()
    subprocess.run(command, cwd=root, env=env, check=True, capture_output=True)
    return time.perf_counter() - start


def median(root: Path, command: list[str], env: dict[str, str], repeats: int, fresh: bool) -> float:
    """Median seconds, each time from nothing or each time with nothing to do."""
    found = []
    for _ in range(repeats):
        if fresh:
            clear(root)
        found.append(timed(root, command, env))
    return statistics.median(found)


def busy(root: Path, env: dict[str, str], stages: int) -> tuple[float, float]:
    """Seconds of a parallel run, and how busy the cores were while two stages were ready.

    From the first stage's start until one stage is left, the starts of ``dvc`` between two stages
    counted in: they are the price of the flow.
    """
    clear(root)
    start = time.perf_counter()
    command = [*FLOW, "--max-parallel", "2"]
    flow = subprocess.Popen(
        command, cwd=root, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    shares = []
    begun = False
    while flow.poll() is None:
        share = psutil.cpu_percent(interval=0.25)
        begun = begun or any("work.py" in (p.info["cmdline"] or []) for p in listed())
        if begun and len(list(root.glob("out-*.txt"))) < stages - 1:
            shares.append(share)
    return time.perf_counter() - start, statistics.mean(shares)


def listed() -> list[psutil.Process]:
    """All processes with their command lines."""
    return list(psutil.process_iter(["cmdline"]))


def main(
    stages: Annotated[int, typer.Option(help="Stages of the toy project.")] = 8,
    seconds: Annotated[float, typer.Option(help="Computing time of one, one thread.")] = 20.0,
    repeats: Annotated[int, typer.Option(help="Repeats; the median is shown.")] = 3,
    out: Annotated[Path | None, typer.Option(help="Figures as JSON.")] = None,
) -> None:
    """Measure and print a table."""
    block = b"x" * (1 << 20)
    start = time.perf_counter()
    for _ in range(200):
        hashlib.sha256(block).digest()
    rounds = int(seconds / ((time.perf_counter() - start) / 200))
    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder)
        home = base / "home"
        home.mkdir()
        env = environment(PREFECT_HOME=str(home))
        os.environ.update(PREFECT_HOME=str(home))
        upgrade = [sys.executable, "-m", "prefect", "server", "database", "upgrade", "-y"]
        subprocess.run(upgrade, env=env, check=True, capture_output=True)
        (home / ".migrated").touch()
        from pipelines.processes.server import free_port, launch, wait_until_up

        port = free_port()
        server = launch(port, lasting=True)
        env["PREFECT_API_URL"] = wait_until_up(server, port)
        one = project(base / "one", stages, rounds, 1)
        two = project(base / "two", stages, rounds, 2)
        plain = median(one, DVC, env, repeats, fresh=True)
        flow = median(one, [*FLOW, "--max-parallel", "1"], env, repeats, fresh=True)
        idle_plain = median(one, DVC, env, repeats, fresh=False)
        idle_flow = median(one, FLOW, env, repeats, fresh=False)
        parallel, share = busy(one, env, stages)
        sequential = median(two, DVC, env, 1, fresh=True)
        server.stop()
        server.wait()
    print(f"{stages} stages of {seconds:g} s, {psutil.cpu_count()} cores, median of {repeats}")
    print(f"nothing to do       dvc repro {idle_plain:6.2f} s   flow {idle_flow:6.2f} s")
    over = 100 * (flow / plain - 1)
    print(f"all to do, 1 thread dvc repro {plain:6.1f} s   flow {flow:6.1f} s   (+{over:.1f} %)")
    print(f"two at once, 1 thread each    {parallel:6.1f} s, cores {share:.0f} % busy")
    print(f"one at a time, 2 threads      {sequential:6.1f} s (plain dvc repro)")
    said = f"{stages} stages of {seconds:g} s as a flow"
    figures = [
        Figure(
            what="a flow with nothing to do beside dvc repro",
            value=idle_flow - idle_plain,
            unit="s",
        ),
        Figure(what=f"{said}, one at a time, × dvc repro", value=flow / plain),
        Figure(
            what=f"{said}, two at once, × dvc repro with two threads a stage",
            value=parallel / sequential,
        ),
    ]
    save(out, figures)


if __name__ == "__main__":
    typer.run(main)
