"""What the pipeline costs around its computing: imports, DVC, and a run with nothing to do.

    python benchmarks/stages.py [--rounds 3]

On the tests' small project, real DVC and MLflow. From nothing, `dvc repro` is compared with the
same stages' commands, run one after the other in a copy; and a training's command with the seconds
that its steps took. With nothing to do it is compared with the same graph over empty files, and
with one that has no more than its stages, edges and outputs: no parameters, no matrix, no code.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Annotated, Any

import typer
from figures import Figure, of_rounds, save, show
from ruamel.yaml import YAML

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests"))
from project import Project, make_project  # noqa: E402

from clarity.files import read_json  # noqa: E402


def timed(project: Project, *command: str) -> float:
    """Seconds of a command."""
    started = time.perf_counter()
    project.run(*command)
    return time.perf_counter() - started


def stages(project: Project) -> dict[str, dict[str, Any]]:
    """Every stage of dvc.lock, in the order in which they were run."""
    found = YAML(typ="safe").load(project.path / "dvc.lock")["stages"]
    said = project.run("dvc", "repro", "--force", "--dry").stdout
    order = [line.split("'")[1] for line in said.splitlines() if "Running stage" in line]
    return {name: found[name] for name in order}


def emptied(project: Project, path: Path) -> Project:
    """The same project, done already, with nothing in its outputs."""
    empty = project.copy(path)
    for stage in stages(project).values():
        for out in stage.get("outs", ()):
            found = path / out["path"]
            for file in found.rglob("*") if found.is_dir() else [found]:
                if file.is_file():
                    file.unlink()  # it may be a link into the cache
                    file.touch()
    empty.run("dvc", "commit", "--force")
    return empty


def skeleton(project: Project, path: Path) -> Project:
    """The same stages, edges and outputs, by their names alone, done already."""
    listed = stages(project)
    made = {out["path"] for stage in listed.values() for out in stage.get("outs", ())}
    graph = {}
    for name, stage in listed.items():
        outs = [out["path"] for out in stage.get("outs", ())]
        within = [
            dep["path"]
            for dep in stage.get("deps", ())
            if any(one == dep["path"] or one.startswith(dep["path"] + "/") for one in made)
        ]
        writes = " && ".join(f"mkdir -p $(dirname {out}) && touch {out}" for out in outs)
        graph[name.replace("@", "-")] = {"cmd": writes or "true", "deps": within, "outs": outs}
    shutil.copytree(project.path / ".dvc", path / ".dvc", ignore=shutil.ignore_patterns("cache"))
    YAML().dump({"stages": graph}, path / "dvc.yaml")
    empty = Project(path)
    empty.git("init", "--quiet", "--initial-branch", "main")
    empty.repro()
    return empty


def main(
    rounds: Annotated[int, typer.Option(help="Repeats; the median is taken.")] = 3,
    out: Annotated[Path | None, typer.Option(help="Figures as JSON.")] = None,
) -> None:
    """Measure and print a table."""
    around: list[float] = []
    beside: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        fresh = make_project(Path(folder) / "project")
        for turn in range(rounds):
            whole = fresh.copy(Path(folder) / f"whole-{turn}")
            seconds = timed(whole, "dvc", "repro")
            alone = fresh.copy(Path(folder) / f"alone-{turn}")
            commands = {name: stage["cmd"] for name, stage in stages(whole).items()}
            taken = {name: timed(alone, "sh", "-c", cmd) for name, cmd in commands.items()}
            around.append((seconds - sum(taken.values())) / len(taken))
            for name, command in taken.items():
                beside.setdefault(name.partition("@")[0], []).append(command)
                if name.startswith("train@"):
                    timings = read_json(alone.path / "mlruns/timings" / f"{name[6:]}.json")
                    spent = command - timings["train_seconds"]
                    beside.setdefault("a training beside its steps", []).append(spent)
        empty = emptied(whole, Path(folder) / "empty")
        bare = skeleton(whole, Path(folder) / "skeleton")
        idle = [
            [timed(project, "dvc", "repro") for project in (whole, empty, bare)]
            for _ in range(2 * rounds)
        ]
    trained = beside.pop("a training beside its steps")
    figures: list[Figure] = [
        of_rounds("dvc repro from nothing beside its stages' commands, a stage", around, unit="s"),
        of_rounds("a training beside its steps", trained, unit="s", at_most=2.0),
        *(
            of_rounds(f"clarity {name} of a few small pictures and models", found, unit="s")
            for name, found in beside.items()
        ),
        of_rounds("dvc repro with nothing to do", [ours for ours, *_ in idle], unit="s"),
        of_rounds("the same, × that over empty files", [a / b for a, b, _ in idle], at_most=1.2),
        of_rounds("the same, × stages and edges alone", [a / b for a, _, b in idle]),
    ]
    show(f"{len(commands)} stages", figures)
    save(out, figures)


if __name__ == "__main__":
    typer.run(main)
