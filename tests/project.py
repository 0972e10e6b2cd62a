"""A real, tiny copy of the project: real DVC, real git, real stages, small models."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

ROOT = Path(__file__).parent.parent
#: What a clone holds that the pipeline needs.
PARTS = (
    "dvc.yaml",
    "presets",
    "src",
    "pipelines",
    "prefect.toml",
    ".dvc/.gitignore",
    ".dvc/plots",
    ".dvcignore",
    ".gitignore",
    "data/own/README.md",
    "networks/README.md",
    "ensembles/README.md",
    "mlruns/.gitkeep",
    "registry/README.md",
)
TINY: dict[str, Any] = {
    "threads": 1,
    "models": {
        "conv-small": {"family": "conv", "widths": [4, 8], "train": None},
        "fcn-small": {
            "family": "fcn",
            "widths": [16],
            "latent": 3,
            "train": {"epochs": 1, "compute": None, "batch_size": None},
        },
        "pca-3": {"family": "pca", "latent": 3},
    },
    "train": {"epochs": 1, "grids": 2},
    "preprocess": {"anomalies": {"per_kind": 16}},
    "compare": {"resamples": 200, "dpi": 50},
    "evaluate": {"pairs": 4, "steps": 4, "samples": 8, "components": 2},
}


class Project:
    """A project folder and the commands a user types in it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(path / "src"), str(path)]),
            "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
            "HOME": str(path.parent / "home"),
            "OMP_NUM_THREADS": "1",
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_CONFIG_GLOBAL": os.devnull,
        }

    def run(self, *command: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a command in the project; on failure show what it printed."""
        result = subprocess.run(
            command, cwd=self.path, env=self.environment, capture_output=True, text=True
        )
        if check and result.returncode != 0:
            raise AssertionError(f"{command}: {result.returncode}\n{result.stdout}{result.stderr}")
        return result

    def git(self, *arguments: str) -> str:
        identity = ("-c", "user.name=A User", "-c", "user.email=user@example.org")
        return self.run("git", *identity, *arguments).stdout

    def commit(self, message: str) -> None:
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message", message)

    def repro(self) -> list[str]:
        """`dvc repro`; the stages that ran a command, in order."""
        output = self.run("dvc", "repro").stdout
        return re.findall(r"Running stage '([^']+)'", output)

    def change(self, changes: dict) -> None:
        """Merge into params.yaml, key by key; null removes a key."""
        yaml = YAML()
        content = yaml.load((self.path / "params.yaml").read_text())
        _merge(content, changes)
        with (self.path / "params.yaml").open("w") as handle:
            yaml.dump(content, handle)

    def here(self) -> Project:
        """The same with its source linked to this checkout's: for stages run in this process.

        A workspace with a source of its own has the command start anew with that.
        """
        shutil.rmtree(self.path / "src")
        (self.path / "src").symlink_to(ROOT / "src", target_is_directory=True)
        return self

    def copy(self, target: Path) -> Project:
        shutil.copytree(self.path, target, symlinks=True)
        return Project(target)


def _merge(target: dict, changes: dict) -> None:
    for key, value in changes.items():
        if value is None:
            target.pop(key, None)
        elif isinstance(value, dict) and isinstance(target.get(key), dict):
            _merge(target[key], value)
        else:
            target[key] = value


def make_project(path: Path) -> Project:
    """A fresh project with tiny models, committed to git; nothing has run yet."""
    for part in PARTS:
        source = ROOT / part
        if source.is_dir():
            shutil.copytree(source, path / part, ignore=shutil.ignore_patterns("__pycache__"))
        elif source.is_file():
            (path / part).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, path / part)
    # Not the project's own: a user's models and remotes are no part of a test.
    shutil.copy(ROOT / "tests" / "params.yaml", path)
    (path / ".dvc/config").write_text("[core]\n    analytics = false\n    check_update = false\n")
    project = Project(path)
    (path.parent / "home").mkdir(exist_ok=True)
    project.change({"models": dict.fromkeys(_models(path))})
    project.change(TINY)
    project.git("init", "--quiet", "--initial-branch", "main")
    project.commit("A project")
    return project


def _models(path: Path) -> list[str]:
    content = YAML(typ="safe").load((path / "params.yaml").read_text())
    return [name for name in content["models"] if name not in TINY["models"]]
