"""A registered version by its identity, its tags and its files: what `publish` writes on it and
what scoring and the gate read back."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from clarity.errors import ClarityError
from clarity.files import sha256_bytes, sha256_file
from clarity.layout import Training
from clarity.score.detector import Detector, Files

if TYPE_CHECKING:
    from mlflow import MlflowClient

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
#: "true" where code or parameters differed from the commit.
TAG_DIRTY = "clarity.commit_dirty"


def digests_of(training: Training, root: Path = Path()) -> tuple[str, str]:
    """SHA-256 of a training's weights (with their description) and of its evaluation.

    The evaluation counts with what a version is served and judged by: every figure and the scorer.
    Pictures do not count: drawing them anew makes no other model.
    """
    files = Files.of_training(training, root)
    return _digest(files.weights, files.description), _digest(files.details, files.scorer)


def _digest(*paths: Path) -> str:
    return sha256_bytes("".join(f"{sha256_file(path)}\n" for path in paths).encode())


def identity_of(training: Training) -> str:
    """What a version is known by: SHA-256 over both digests. Publishing twice makes one version."""
    return sha256_bytes("".join(f"{digest}\n" for digest in digests_of(training)).encode())


@dataclass(frozen=True)
class Registered:
    """A version ready to score.

    Attributes:
        name, number: of the registered model and of the version.
        identity: SHA-256 of weights and evaluation.
        training: ``conv-small-0``.
    """

    name: str
    number: int
    identity: str
    training: str
    detector: Detector

    @property
    def label(self) -> str:
        """``clarity version 3 (conv-small-0)``."""
        return f"{self.name} version {self.number} ({self.training})"


def load_registered(wanted: str, *, name: str | None = None) -> Registered:
    """Load a version by number or alias from the store.

    Args:
        wanted: ``champion``, ``challenger``, ``3`` or ``v3``.
        name: of the registered model; None: ``gate.name`` of params.yaml.

    Raises:
        ClarityError: no such version or alias, or its files are gone or broken.
    """
    from clarity.params import load_params
    from clarity.store import open_store

    name = name or load_params().gate.name
    number, tags = find_version(open_store(), name, wanted)
    return Registered(
        name,
        number,
        tags.get(TAG_IDENTITY, ""),
        tags.get(TAG_NAME, "?"),
        Detector.load(files_of(name, number)),
    )


def find_version(client: MlflowClient, name: str, wanted: str) -> tuple[int, dict[str, str]]:
    """Number and tags of a version, by number or alias."""
    from mlflow.exceptions import MlflowException

    text = wanted.removeprefix("v")
    try:
        if text.isascii() and text.isdigit():
            found = client.get_model_version(name, text)
        else:
            found = client.get_model_version_by_alias(name, wanted)
    except MlflowException:
        hint = "`clarity promote` chooses a champion from what `dvc repro` published"
        raise ClarityError(f"{wanted}: no such version or alias of {name}; {hint}") from None
    return int(found.version), dict(found.tags)


def files_of(name: str, number: int) -> Files:
    """The four files of a version; downloaded where the store is remote, else where they lie.

    Raises:
        ClarityError: they are gone, or it is no model of this project.
    """
    import mlflow
    from mlflow.exceptions import MlflowException
    from mlflow.models import Model

    where = f"{name} version {number}"
    mend = "`clarity backfill` refills the store from the workspace's outputs"
    try:
        folder = Path(mlflow.artifacts.download_artifacts(artifact_uri=f"models:/{name}/{number}"))
        flavor = Model.load(str(folder)).flavors["python_function"]
        artifacts = {key: str(folder / at["path"]) for key, at in flavor["artifacts"].items()}
        files = Files.of_artifacts(artifacts)
    except (MlflowException, OSError) as error:
        reason = " ".join(str(error).split())[:150]
        raise ClarityError(f"{where}: its files are gone ({reason}); {mend}") from None
    except KeyError as error:
        raise ClarityError(f"{where}: no scoring model of Clarity: no {error}") from None
    return files
