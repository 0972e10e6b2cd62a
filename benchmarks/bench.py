"""Every figure of speed in one run, each beside the bound it is meant to keep: `make bench`.

    python benchmarks/bench.py                      # all parts: two to three hours on two cores
    python benchmarks/bench.py --part steps --part stages --quick

Each part is a benchmark of this folder and runs in a process of its own, one at a time; ratios are
taken within a part, side by side. Figures go to `benchmarks/results.json` with machine, versions
and load, and as tables to `docs/benchmarks.md`, between its two marks. A part that is not run keeps
its figures. Run it on a quiet machine: the load at the start is written down.
"""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

import psutil
import typer
from figures import HEADS, Figure
from joblib import cpu_count  # type: ignore[import-untyped]

from clarity.files import read_json, write_json, write_text

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results.json"
PAGE = ROOT / "docs" / "benchmarks.md"
MARKS = ("<!-- figures -->\n", "<!-- end of figures -->\n")
#: Part: its title, its command, and what makes it quick (and its figures rough).
PARTS: dict[str, tuple[str, list[str], list[str]]] = {
    "quality": (
        "Seconds to a quality",
        ["quality.py"],
        ["--seeds", "1", "--model", "conv-small"],
    ),
    "steps": ("Steps of a training", ["training.py"], ["--rounds", "1", "--seconds", "1"]),
    "neighbours": ("Beside other work", ["neighbours.py"], ["--rounds", "1", "--seconds", "3"]),
    "stages": ("Around the computing", ["stages.py"], ["--rounds", "1"]),
    "flows": ("As a flow", ["flows.py"], ["--repeats", "1", "--seconds", "5"]),
    "data": ("Many images", ["data.py"], ["--images", "10000", "--jpegs", "500"]),
    "growth": ("Growth", ["growth.py"], ["--runs", "300", "--models", "2", "--models", "8"]),
    "scoring": ("Scoring", ["scoring.py"], ["--images", "256"]),
}
VERSIONS = ("torch", "torchvision", "numpy", "dvc", "mlflow", "prefect")


def machine() -> dict[str, Any]:
    """What the figures depend on beside the code."""
    text = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    names = [line.partition(": ")[2] for line in text.splitlines() if "model name" in line]
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "processor": names[0] if names else platform.processor(),
        "cores": cpu_count(),
        "memory_gb": round(psutil.virtual_memory().total / 1e9),
        "load": round(os.getloadavg()[0], 1),
        "python": platform.python_version(),
        **{name: version(name) for name in VERSIONS},
    }


def page(results: dict[str, Any]) -> str:
    """The figures as Markdown, a table a part."""
    lines = []
    for part, (title, _, _) in PARTS.items():
        if part not in results:
            continue
        found, where = results[part]["figures"], results[part]["machine"]
        used = ", ".join(f"{name} {where[name]}" for name in VERSIONS)
        lines += [
            f"### {title}",
            f"`python benchmarks/{PARTS[part][1][0]}`, {where['date']}: {where['cores']} cores "
            f"({where['processor']}), {where['memory_gb']} GB, load {where['load']} at the start; "
            f"Python {where['python']}, {used}.",
            "",
            "| " + " | ".join(HEADS) + " |",
            "|---|--:|--:|--:|---|",
        ]
        for each in found:
            cells = Figure.model_validate(each).cells()
            lines.append("| " + " | ".join(cells) + " |")
        lines.append("")
    return "\n".join(lines)


def main(
    part: Annotated[list[str] | None, typer.Option("--part", help=", ".join(PARTS))] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Few rounds; printed, not kept.")] = False,
    data: Annotated[Path | None, typer.Option("--data", help="Pictures for `quality`.")] = None,
    seeds: Annotated[int | None, typer.Option(help="Runs of each model in `quality`.")] = None,
) -> None:
    """Run the parts, keep what they found."""
    unknown = sorted(set(part or ()) - set(PARTS))
    if unknown:
        raise typer.BadParameter(f"no part {unknown[0]}; there are {', '.join(PARTS)}")
    results: dict[str, Any] = read_json(RESULTS) if RESULTS.exists() else {}
    for name in part or PARTS:
        title, command, less = PARTS[name]
        print(f"--- {title}", flush=True)
        more = less if quick else []
        if name == "quality":
            more = [*more, *(["--data", str(data.resolve())] if data else [])]
            more = [*more, *(["--seeds", str(seeds)] if seeds else [])]
        with tempfile.TemporaryDirectory() as folder:
            out = Path(folder) / "figures.json"
            where = machine()
            script = str(ROOT / "benchmarks" / command[0])
            subprocess.run(
                [sys.executable, script, *command[1:], *more, "--out", str(out)],
                cwd=ROOT,
                check=True,
            )
            results[name] = {"machine": where, "figures": read_json(out)["figures"]}
        if quick:
            continue
        write_json(RESULTS, results)
        before, _, rest = PAGE.read_text().partition(MARKS[0])
        after = rest.partition(MARKS[1])[2]
        write_text(PAGE, before + MARKS[0] + page(results) + MARKS[1] + after)


if __name__ == "__main__":
    typer.run(main)
