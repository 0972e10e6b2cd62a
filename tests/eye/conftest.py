"""A project in which every family has two sizes, trained for one epoch and evaluated; Chromium."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from project import Project
from typer.testing import CliRunner

MORE = {
    "conv-large": {"family": "conv", "widths": [8, 16]},
    "ae-small": {"family": "ae", "widths": [4, 8], "latent": 8},
    "vae-small": {"family": "vae", "widths": [4, 8], "latent": 8},
}
#: Exit code, what was printed, and the one line of a refusal.
Eye = Callable[..., tuple[int, str]]


@pytest.fixture(scope="session")
def world(finished: Project, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny project with a second convolutional size, an autoencoder and a VAE."""
    from clarity.evaluate.stage import evaluate_training as evaluate
    from clarity.train.stage import train

    made = finished.copy(tmp_path_factory.mktemp("eye") / "project")
    made.change({"models": MORE, "evaluate": {"samples": 24, "pairs": 12}})
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(made.path)
        for name in MORE:
            train(name, 0)
        for name in ("ae-small", "vae-small", "conv-large"):
            evaluate(name, 0)
    return made.path


@pytest.fixture
def eye(world: Path, monkeypatch: pytest.MonkeyPatch) -> Eye:
    """`clarity eye …` in the project."""
    from clarity.cli import app
    from clarity.errors import ClarityError

    monkeypatch.chdir(world)

    def run(*arguments: str | Path) -> tuple[int, str]:
        result = CliRunner().invoke(app, ["eye", *map(str, arguments)])
        if isinstance(result.exception, ClarityError):
            return 2, str(result.exception)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result.exit_code, result.output

    return run
