"""What stands behind the doors."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from data_helpers import random_images
from PIL import Image
from project import ROOT


class World:
    """What stands behind the doors, each made when it is first asked for."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def folder(self, name: str) -> Path:
        made = self.root / name
        made.mkdir(parents=True, exist_ok=True)
        return made

    @cached_property
    def arrays(self) -> Path:
        folder = self.folder("arrays")
        np.save(folder / "trainingset.npy", random_images(3, (4, 4)))
        np.save(folder / "testingset.npy", random_images(3, (4, 4), seed=1))
        return folder

    @cached_property
    def pictures(self) -> Path:
        folder = self.folder("pictures")
        for name, image in zip(("a.png", "b.png", "ä.png"), random_images(3, (4, 4)), strict=True):
            Image.fromarray(image).save(folder / name)
        return folder

    @cached_property
    def training(self) -> dict[str, bytes]:
        """The files of a trained model with its evaluation."""
        from tracking_world import write_world

        from clarity.layout import Training
        from clarity.score.detector import Files

        write_world(self.root, {"pca-3": {"family": "pca", "latent": 3}})
        self.files = Files.of_training(Training("pca-3", 0), self.root)
        return {name: getattr(self.files, name).read_bytes() for name in self.files.__dict__}

    @cached_property
    def server(self) -> Any:
        """The application that `clarity serve` runs."""
        import mlflow
        from mlflow.pyfunc import scoring_server

        from clarity.score.refusals import Refusals
        from clarity.score.signature import signature

        assert self.training
        model = self.root / "model"
        mlflow.pyfunc.save_model(
            str(model),
            python_model=str(ROOT / "src/clarity/score/pyfunc_model.py"),
            artifacts={name: str(getattr(self.files, name)) for name in self.files.__dict__},
            signature=signature(),
            pip_requirements=[],
        )
        app = scoring_server.init(mlflow.pyfunc.load_model(str(model)))
        app.add_middleware(Refusals)
        return app

    @cached_property
    def store(self) -> Any:
        from clarity.store import open_store

        (self.root / "dvc.yaml").touch()
        return open_store(self.root)
