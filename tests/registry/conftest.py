"""Fixtures of the registry's and scoring's tests: a published world, made once, copied per test."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
import registry_world as world
from filelock import FileLock

MODELS = ["pca-2", "pca-4", "pca-8"]


@pytest.fixture(scope="session")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three models, published as versions 1 (weak), 2 and 3 (strong); no alias has moved."""
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if base.name.startswith("popen-") else base
    root = shared / "published" / "project"
    done = shared / "published" / "done"
    with FileLock(str(shared / "published.lock")):
        if not done.exists():
            root.mkdir(parents=True)
            before = Path.cwd()
            try:
                _enter(root)
                world.write_world(MODELS)
                from clarity.registry.backfill import publish

                publish()
            finally:
                os.chdir(before)
                os.environ.pop("MLFLOW_TRACKING_URI", None)
            done.touch()
    return root


def _enter(root: Path) -> None:
    os.chdir(root)
    os.environ.pop("MLFLOW_TRACKING_URI", None)


@pytest.fixture
def here(published: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the published world, as working directory."""
    root = tmp_path / "project"
    shutil.copytree(published, root)
    monkeypatch.chdir(root)
    # MLflow sets it for its process, to the store of the test before.
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return root
