"""A registered version by its identity, its tags and its files: what `publish` writes on it and
what scoring and the gate read back."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote, urlparse

from clarity.errors import ClarityError
from clarity.files import read_json, sha256_bytes, sha256_file
from clarity.layout import Training
from clarity.score.detector import Files

#: Tags of a model version.
TAG_IDENTITY = "clarity.identity"
TAG_NAME = "clarity.training"
TAG_FAMILY = "clarity.family"
TAG_MODEL = "clarity.model"
TAG_SEED = "clarity.seed"
TAG_DATA = "clarity.data"
TAG_COMMIT = "clarity.commit"
TAG_STAGE = "clarity.stage"
TAG_FINGERPRINT = "clarity.fingerprint"
TAG_WEIGHTS = "clarity.weights"
TAG_EVALUATION = "clarity.evaluation"
TAG_FLOW_RUN = "clarity.flow_run"


def digests_of(training: Training) -> tuple[str, str]:
    """SHA-256 of a training's weights (with their description) and of its evaluation.

    The evaluation counts with what a version is served and judged by: every figure and the scorer.
    Pictures do not count: drawing them anew makes no other model.
    """
    files = Files.of_training(training)
    return tuple(  # type: ignore[return-value]
        sha256_bytes("".join(f"{sha256_file(path)}\n" for path in paths).encode())
        for paths in ((files.weights, files.description), (files.details, files.scorer))
    )


def identity_of(training: Training) -> str:
    """What a version is known by: SHA-256 over both digests. Publishing twice makes one version."""
    return sha256_bytes("".join(f"{digest}\n" for digest in digests_of(training)).encode())
