"""Fixtures of the registry's and scoring's tests: published worlds, made once, copied per test."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import registry_world as world

MODELS = ["pca-2", "pca-4", "pca-8"]


@pytest.fixture(scope="session")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three models, published as versions 1 (weak), 2 and 3 (strong); no alias has moved."""
    root = tmp_path_factory.mktemp("published")
    with _inside(root):
        world.write_world(MODELS)
        _publish()
    return root


@pytest.fixture
def here(published: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the published world, as working directory."""
    root = tmp_path / "project"
    shutil.copytree(published, root)
    monkeypatch.chdir(root)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return root


def _publish() -> None:
    from clarity.registry.backfill import publish

    publish()


class _inside:
    """chdir for a while."""

    def __init__(self, path: Path) -> None:
        self.path, self.before = path, Path.cwd()

    def __enter__(self) -> None:
        os.chdir(self.path)

    def __exit__(self, *_: object) -> None:
        os.chdir(self.before)


def inside(path: Path) -> Iterator[None]:
    """As a generator, for other fixtures."""
    with _inside(path):
        yield
