"""The scoring model as MLflow loads it: models from code, no pickle.

Log it with ``mlflow.pyfunc.log_model(python_model=<this file>, artifacts={"weights", "description",
"details", "scorer"}, code_paths=[<src/clarity>])``; ``clarity.score.signature`` has the rest.
"""

from __future__ import annotations

from typing import Any

import mlflow
import pandas as pd
from mlflow.pyfunc.model import PythonModel, PythonModelContext

from clarity.errors import ClarityError
from clarity.score.detector import Detector, Files
from clarity.score.pictures import encode_png, error_map
from clarity.score.requests import read_images


class ScoringModel(PythonModel):
    """Images in; for each its anomaly score, the threshold and whether it lies above it."""

    # MLflow would advise type hints at every load, past every filter of warnings. They would be
    # taken for the signature and refuse arrays.
    _skip_type_hint_validation = True

    def load_context(self, context: PythonModelContext) -> None:
        """Rebuild network, scorer and threshold from the version's own artifacts."""
        files = Files.of_artifacts(context.artifacts)
        published = context.model_config or {}
        for name, found in zip(("weights", "evaluation"), files.digests(), strict=True):
            if published.get(name, found) != found:
                raise ClarityError(
                    f"{name}: changed since the model was published ({found[:12]}, not "
                    f"{str(published[name])[:12]})"
                )
        self.detector = Detector.load(files)

    def predict(self, context, model_input, params=None):  # type: ignore[no-untyped-def]
        """Score images.

        Args:
            context: unused.
            model_input: N×H×H×C (of a type in docs/scoring.md), or a data frame with base64
                pictures in ``image``.
            params: ``return_reconstruction``, ``return_error_map``: add base64 PNGs.

        Returns:
            Data frame with a row an image: ``score``, ``threshold``, ``anomaly``, ``p_value``,
            ``signal_1``, ``signal_2``, and on request ``reconstruction``, ``error_map``.
        """
        wanted: dict[str, Any] = params or {}
        pictures = bool(wanted.get("return_reconstruction"))
        maps = bool(wanted.get("return_error_map"))
        images = read_images(model_input, self.detector.shape, self.detector.white)
        verdict = self.detector.judge(images, reconstruct=pictures or maps)
        answer = pd.DataFrame(verdict.columns())
        if verdict.reconstruction is not None:
            if pictures:
                answer["reconstruction"] = [encode_png(p) for p in verdict.reconstruction]
            if maps:
                pairs = zip(images, verdict.reconstruction, strict=True)
                answer["error_map"] = [encode_png(error_map(a, b)) for a, b in pairs]
        return answer


mlflow.models.set_model(ScoringModel())
