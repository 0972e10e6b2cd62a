"""Synthetic evaluations, made once, copied where a test writes."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from filelock import FileLock
from synthetic_evaluations import DEFAULT, WITH_VAE, write_world


@pytest.fixture(scope="session")
def templates(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    worlds = {"one": (DEFAULT, (0,)), "three": (WITH_VAE, (0, 1, 2))}
    out = {}
    for name, (models, seeds) in worlds.items():
        out[name] = tmp_path_factory.mktemp(name)
        write_world(out[name], models, seeds)
    return out


@pytest.fixture(scope="session")
def reported(templates: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The default families, one seed, with `reports/` written once for all worker processes; to be
    copied, not changed."""
    from clarity.compare.stage import compare

    base = tmp_path_factory.getbasetemp()
    shared = base.parent if base.name.startswith("popen-") else base
    root, done = shared / "reported" / "project", shared / "reported" / "done"
    with FileLock(str(shared / "reported.lock")):
        if not done.exists():
            shutil.copytree(templates["one"], root)
            (root / "dvc.yaml").write_text("stages: {}\n")  # a graph makes a folder a project
            with pytest.MonkeyPatch.context() as patch:
                patch.chdir(root)
                compare()
            done.touch()
    return root


@pytest.fixture
def one_seed(templates: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with the default families, one seed; the working directory is in it."""
    return _enter(templates["one"], tmp_path, monkeypatch)


@pytest.fixture
def three_seeds(
    templates: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """A project with AE and VAE beside them, three seeds; the working directory is in it."""
    return _enter(templates["three"], tmp_path, monkeypatch)


def _enter(template: Path, target: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copytree(template, target, dirs_exist_ok=True)
    monkeypatch.chdir(target)
    return target
