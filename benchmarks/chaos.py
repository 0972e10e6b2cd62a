"""Faults at random moments, and whether the next command ends as if nothing had happened.

    python benchmarks/chaos.py [--faults 100] [--seed 0] [--out benchmarks/chaos.json]

On the tests' small project, real DVC, git and MLflow. Each fault hits one stage, one command or a
whole run (the flow; `parallel`: several stages at once without it), in a copy of a finished project
in which that has to run again: SIGKILL to what was started (`dvc`, the flow) alone, to the stage
alone and to both at once; SIGTERM; Ctrl-C to the whole group; a full disk (no file may grow beyond
a random size); little memory (a random bound of the address space); folders that may not be
written; a clock that was set back a day since the files were written; and the same command started
twice. Then the same command runs undisturbed. It must end well, with the outputs of a run that
nobody disturbed, byte for byte, and nothing may be left running. A command of Clarity's has no
stage below it: there both are the same process.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import random
import re
import resource
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
import uuid
from collections import Counter
from contextlib import closing, suppress
from pathlib import Path

import psutil

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "tests"))

from project import Project, make_project  # noqa: E402

from clarity.files import sha256_bytes, sha256_file, write_json  # noqa: E402

STAGES = {
    "ingest": ["data/raw"],
    "preprocess": ["data/processed"],
    "train@fcn-small-0": ["models/fcn-small-0"],
    "train@conv-small-0": ["models/conv-small-0"],
    "evaluate@fcn-small-0": ["evaluations/fcn-small-0"],
    "compare": ["reports"],
    "publish": ["mlruns/published.json"],
    "networks": ["data/networks"],
    # Not stages: what `COMMANDS` runs.
    "score": ["scores/scores.csv"],
    "flow": ["models/fcn-small-0", "evaluations/fcn-small-0", "reports"],
    "parallel": [
        *("models/fcn-small-0", "models/conv-small-0"),
        *("evaluations/fcn-small-0", "evaluations/conv-small-0", "reports"),
    ],
    "promote": ["registry/history.jsonl"],
    "backfill": ["registry/history.jsonl"],
}
#: Where other things than the outputs have to go, for there to be something to do.
REMOVED = {"score": ["scores"], "promote": [], "backfill": ["mlruns"]}
#: Whose outcome is what the registry says: numbers and times of MLflow's are not the same twice.
REGISTRY = {"promote", "backfill"}
COMMANDS = {
    "score": ["clarity", "score", "data/processed/test.npy", "--output", "scores", "--model", "1"],
    "flow": [sys.executable, "-m", "pipelines.reproduce"],
    "parallel": [sys.executable, "-m", "pipelines.reproduce", "--no-prefect", "--max-parallel=2"],
    "promote": ["clarity", "promote"],
    "backfill": ["clarity", "backfill"],
}
KILLS = {
    "SIGKILL dvc": (signal.SIGKILL, ("dvc",)),
    "SIGKILL stage": (signal.SIGKILL, ("stage",)),
    "SIGKILL both": (signal.SIGKILL, ("dvc", "stage")),
    "SIGTERM dvc": (signal.SIGTERM, ("dvc",)),
    "SIGTERM stage": (signal.SIGTERM, ("stage",)),
    "Ctrl-C": (signal.SIGINT, ("group",)),
}
FAULTS = (*KILLS, "disk full", "little memory", "read-only", "clock back", "two at once")
#: Seconds that files are newer than the clock says.
DAY = 86_400
MARK = "CLARITY_CHAOS"
#: Seconds in which what outlived its starter has to be gone.
GONE = 60.0


class Arena:
    """A finished project, what its stages give undisturbed, and a copy to hurt."""

    def __init__(self, base: Path, names: list[str]) -> None:
        self.base = base
        self.finished = make_project(base / "finished" / "project")
        # Long enough for a kill to land in the middle.
        self.finished.change({"train": {"epochs": 30, "grids": 4}})
        self.finished.repro()
        self.finished.run(*COMMANDS["score"])
        # The finished project has no champion yet: there, the first undisturbed run says.
        self.expected = {
            name: digest(self.finished, name) for name in names if name not in REGISTRY
        }
        # How long a stage takes here, by which the moments of faults are drawn.
        self.seconds: dict[str, float] = {}
        for name in names:
            project = self.copy(name)
            started = time.monotonic()
            done = subprocess.run(command(name), **options(project, "", {}), check=False)
            self.seconds[name] = time.monotonic() - started
            found = digest(project, name)
            if done.returncode or not found or found != self.expected.setdefault(name, found):
                raise SystemExit(f"{name}: differs already without a fault {done.stderr[-500:]}")

    def copy(self, name: str) -> Project:
        """A copy in which the stage's outputs are gone, and no run cache brings them back."""
        place = self.base / "hurt"
        shutil.rmtree(place, ignore_errors=True)
        project = self.finished.copy(place)
        shutil.rmtree(place / ".dvc" / "cache" / "runs", ignore_errors=True)
        for path in REMOVED.get(name, STAGES[name]):
            target = place / path
            shutil.rmtree(target) if target.is_dir() else target.unlink()
        return project


def command(name: str) -> list[str]:
    """Run this stage and nothing else, whatever DVC thinks of it; or a command."""
    return COMMANDS.get(name) or ["dvc", "repro", "--force", "--single-item", name]


def options(
    project: Project, mark: str, limits: dict[int, int], *, powerless: bool = False
) -> dict:
    """How a command is started: in a group of its own, marked, with limits."""

    def limit() -> None:
        for kind, most in limits.items():
            resource.setrlimit(kind, (most, most))
        if powerless:  # root, too, may write only where permissions say so
            for capability in (1, 2):  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
                ctypes.CDLL(None).prctl(24, capability, 0, 0, 0)  # PR_CAPBSET_DROP

    return {
        "cwd": project.path,
        "env": {**project.environment, MARK: mark},
        "stdout": subprocess.DEVNULL,
        "stderr": subprocess.PIPE,
        "text": True,
        "start_new_session": True,
        "preexec_fn": limit,
    }


def digest(project: Project, name: str) -> set[str]:
    """A line for each file of a stage's outputs, or of what the registry says."""
    if name in REGISTRY:
        return set(registry(project))
    files = [
        file
        for path in STAGES[name]
        for file in [project.path / path, *(project.path / path).rglob("*")]
        if file.is_file()
    ]
    return {f"{file.relative_to(project.path)} {content(file)[:12]}" for file in files}


def content(file: Path) -> str:
    """Digest of a file; of DVC's own list of what git ignores as a set: DVC adds to its end."""
    if file.name == ".gitignore":
        return sha256_bytes("\n".join(sorted(set(file.read_text().split()))).encode())
    return sha256_file(file)


def registry(project: Project) -> list[str]:
    """Versions with what they are, aliases, the history without its times; empty where broken."""
    questions = (
        "SELECT version, value FROM model_version_tags WHERE key = 'clarity.identity'",
        "SELECT alias, version FROM registered_model_aliases",
    )
    try:
        with closing(sqlite3.connect(project.path / "mlruns" / "mlflow.db")) as store:
            found = [str(sorted(store.execute(question).fetchall())) for question in questions]
        history = (project.path / "registry" / "history.jsonl").read_text().splitlines()
    except (sqlite3.Error, OSError):
        return []
    times = re.compile(r'"(time|latency_ms)": ("[^"]*"|[\d.]+)')
    return [*found, *(times.sub("", entry) for entry in history)]


def marked(mark: str) -> list[psutil.Process]:
    """Live processes of one trial."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            alive = process.status() != psutil.STATUS_ZOMBIE
            if alive and process.environ().get(MARK) == mark:
                found.append(process)
    return found


def hit(dvc: subprocess.Popen, mark: str, fault: str) -> bool:
    """Send the signals; whether everyone meant was there."""
    number, targets = KILLS[fault]
    if targets == ("group",):
        with suppress(ProcessLookupError):
            os.killpg(dvc.pid, number)
        return dvc.poll() is None
    victims: list[psutil.Process] = []
    roles: set[str] = set()
    for process in marked(mark):
        with suppress(psutil.Error):
            line = process.cmdline()
            stage = any(part.endswith("clarity") for part in line[:3]) and "dvc" not in line
            mine = {"dvc"} if process.pid == dvc.pid else set()
            mine |= {"stage"} if stage else set()
            if mine & set(targets):
                victims.append(process)
                roles |= mine
    for victim in victims:
        with suppress(psutil.Error):
            victim.send_signal(number)
    return set(targets) <= roles


def trial(arena: Arena, name: str, fault: str, chance: random.Random) -> dict[str, object]:
    """One fault, then the same command again."""
    project, mark = arena.copy(name), uuid.uuid4().hex
    limits = {}
    if fault == "disk full":
        limits[resource.RLIMIT_FSIZE] = int(10 ** chance.uniform(2, 5.5))
    if fault == "little memory":
        limits[resource.RLIMIT_AS] = int(10 ** chance.uniform(9.3, 10))
    if fault == "clock back":
        for path in project.path.rglob("*"):
            if path.is_file() and not path.is_symlink():
                changed = path.stat().st_mtime + DAY
                os.utime(path, (changed, changed))
    outputs = STAGES[name] if fault == "read-only" else []
    folders = {(project.path / path).parent for path in outputs}
    for folder in folders:
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o555)
    # The first part is DVC's own start.
    moment = arena.seconds[name] * chance.uniform(0.25, 1.0)
    dvc = subprocess.Popen(
        command(name), **options(project, mark, limits, powerless=fault == "read-only")
    )
    others = []
    landed = True
    if fault == "two at once":
        time.sleep(moment * chance.random())
        others.append(subprocess.Popen(command(name), **options(project, mark, {})))
    elif fault in KILLS:
        with suppress(subprocess.TimeoutExpired):
            dvc.wait(moment)
        landed = hit(dvc, mark, fault)
    said = [process.communicate()[1] for process in (dvc, *others)]
    for folder in folders:
        folder.chmod(0o755)
    # The next command starts at once: what outlived its starter is its to wait for.
    again = subprocess.run(command(name), **options(project, mark, {}), check=False)
    deadline = time.monotonic() + GONE
    while (left := marked(mark)) and time.monotonic() < deadline:
        time.sleep(0.1)
    problems = []
    if again.returncode:
        problems.append(f"exit code {again.returncode}: {again.stderr.strip()[-300:]}")
    if differing := digest(project, name) ^ arena.expected[name]:
        problems.append(f"other bytes: {', '.join(sorted(differing)[:6])}")
    if left:
        problems.append(f"left running: {[process.pid for process in left]}")
    if any("Traceback" in text and "/clarity/" in text for text in said):
        problems.append(f"a traceback: {said[0].strip()[-300:]}")
    temporary = [p for path in STAGES[name] for p in (project.path / path).rglob(".*.tmp*")]
    if temporary:
        problems.append(f"left lying: {temporary[0].name}")
    for process in left:
        process.kill()
    return {
        "stage": name.partition("-")[0],
        "fault": fault,
        "landed": landed,
        "moment": round(moment, 2),
        "problems": problems,
    }


def main() -> int:
    """Run the trials, print a table, write the results; 1 if any went wrong."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--faults", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="+", metavar="NAME", help="stages, commands or faults")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "chaos.json")
    arguments = parser.parse_args()
    chance = random.Random(arguments.seed)
    only = set(arguments.only or ())
    names, faults = (
        [one for one in every if one in only] or list(every) for every in (STAGES, FAULTS)
    )
    pairs = [(name, fault) for name in names for fault in faults]
    chance.shuffle(pairs)
    trials = []
    with tempfile.TemporaryDirectory() as folder:
        arena = Arena(Path(folder), names)
        for number in range(arguments.faults):
            one = trial(arena, *pairs[number % len(pairs)], chance)
            trials.append(one)
            print(f"{number + 1:4} {json.dumps(one)}", flush=True)
    landed, held = Counter[tuple[str, str]](), Counter[tuple[str, str]]()
    tried = Counter((str(one["stage"]), str(one["fault"])) for one in trials)
    for one in trials:
        key = str(one["stage"]), str(one["fault"])
        landed[key] += bool(one["landed"])
        held[key] += not one["problems"]
    stages = list(dict.fromkeys(name.partition("-")[0] for name in STAGES))
    print(f"\n{'held / tried':14}" + "".join(f"{name:>16}" for name in stages))
    for fault in FAULTS:
        cells = (f"{held[s, fault]}/{tried[s, fault]}" if tried[s, fault] else "" for s in stages)
        print(f"{fault:14}" + "".join(f"{cell:>16}" for cell in cells))
    good = sum(held.values())
    print(f"{good} of {len(trials)} held; {sum(landed.values())} faults landed in time")
    write_json(arguments.out, {"seed": arguments.seed, "trials": trials, "held": good})
    return 0 if good == len(trials) else 1


if __name__ == "__main__":
    sys.exit(main())
