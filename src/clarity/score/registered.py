"""A registered version by its identity, its tags and its files: what `publish` writes on it and
what scoring and the gate read back."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from clarity.errors import ClarityError, in_a_line
from clarity.files import sha256_bytes
from clarity.layout import PARAMS, Outputs
from clarity.machine import artifacts_away, denied, refusal
from clarity.redact import printable, redact
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
#: Digest of the images that the training has seen; TAG_DATA is that of the whole index.
TAG_TRAINING_DATA = "clarity.training_data"
TAG_COMMIT = "clarity.commit"
TAG_STAGE = "clarity.stage"
TAG_FINGERPRINT = "clarity.fingerprint"
TAG_WEIGHTS = "clarity.weights"
TAG_EVALUATION = "clarity.evaluation"
TAG_FLOW_RUN = "clarity.flow_run"
#: "true" where code or parameters differed from the commit.
TAG_DIRTY = "clarity.commit_dirty"
#: Of a run: the registered model (``gate.name``) of the project that made it.
TAG_REGISTERED = "clarity.registered_model"


def digests_of(training: Outputs, root: Path = Path()) -> tuple[str, str]:
    """SHA-256 of a training's weights (with their description) and of its evaluation."""
    return Files.of_training(training, root).digests()


def identity_of(training: Outputs) -> str:
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


def load_registered(
    wanted: str, *, name: str | None = None, root: Path | None = None
) -> Registered:
    """Load a version by number or alias from the store.

    Args:
        wanted: ``champion``, ``challenger``, ``3`` or ``v3``.
        name: of the registered model; None: what `registered_name` says.
        root: the project's, where we are not in it.

    Raises:
        ClarityError: no such version or alias, or its files are gone or broken.
    """
    from clarity.score.foreign import foreign
    from clarity.store import open_store

    here = root or Path()
    name = name or registered_name(here)
    number, tags = find_version(open_store(root), name, wanted)
    found = Registered(
        name,
        number,
        tags.get(TAG_IDENTITY, ""),
        printable(tags.get(TAG_NAME, "?")),
        Detector.load(files_of(name, number, tags)),
    )
    if note := foreign(tags, here):
        advice = "`clarity promote` puts a model of this data before the gate"
        print(f"clarity: {found.label} {note}; {advice}", file=sys.stderr)
    return found


def registered_name(root: Path = Path()) -> str:
    """``gate.name`` of the project's params.yaml; where there is no project, the store's own model.

    Raises:
        ClarityError: params.yaml has a mistake; or there is no project, and not one model alone.
    """
    from clarity.params import load_params
    from clarity.store import open_store, paged

    if (root / PARAMS).is_file():
        return load_params(root / PARAMS).gate.name
    client = open_store()
    names = [
        model.name
        for model in paged(lambda token: client.search_registered_models(page_token=token))
    ]
    if len(names) == 1:
        return str(names[0])
    found = f"registers {', '.join(map(printable, names))}" if names else "registers no model"
    mend = "go to the project whose gate.name is meant" if names else "`dvc repro` publishes there"
    raise ClarityError(f"{PARAMS}: no such file here, and the store {found}; {mend}")


def find_version(client: MlflowClient, name: str, wanted: str) -> tuple[int, dict[str, str]]:
    """Number and tags of a version, by number or alias."""
    from mlflow.exceptions import MlflowException

    text = wanted.removeprefix("v")
    try:
        if text.isascii() and text.isdigit():
            found = client.get_model_version(name, text)
        else:
            found = client.get_model_version_by_alias(name, wanted)
    except MlflowException as error:
        if error.error_code not in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            raise ClarityError(f"{name}, {wanted}: MLflow refuses: {_first(error)}") from None
        hint = (
            "`clarity promote` chooses a champion from what `dvc repro` published; `clarity "
            "backfill` brings back what MLflow's store has lost"
        )
        raise ClarityError(f"{wanted}: no such version or alias of {name}; {hint}") from None
    return int(found.version), dict(found.tags)


def folder_of(name: str, number: int) -> Path:
    """The folder of a version's model; downloaded where the store is remote, else where it lies.

    MLflow's own way notes the version's name in the folder at every reading, which a store that may
    not be written refuses.
    """
    from urllib.parse import unquote, urlsplit

    import mlflow

    client = mlflow.MlflowClient()
    place = client.get_model_version_download_uri(name, str(number))
    if place.startswith("models:/"):
        place = client.get_logged_model(place.removeprefix("models:/")).artifact_location
    parts = urlsplit(place)
    if parts.scheme in ("", "file"):
        return Path(unquote(parts.path) if parts.scheme else place)
    return Path(mlflow.artifacts.download_artifacts(artifact_uri=f"models:/{name}/{number}"))


def files_of(name: str, number: int, tags: Mapping[str, str] | None = None) -> Files:
    """The four files of a version; downloaded where the store is remote, else where they lie.

    Args:
        name, number: of the registered model and of the version.
        tags: the version's; where given, the files must have the digests that it was published
            with, so that nothing damaged is served or judged.

    Raises:
        ClarityError: they are gone or changed, or it is no model of this project.
    """
    import mlflow
    from mlflow.exceptions import MlflowException
    from mlflow.models import Model

    where = f"{name} version {number}"
    mend = "`clarity backfill` puts back what the workspace's outputs have"
    try:
        folder = folder_of(name, number)
        flavor = Model.load(str(folder)).flavors["python_function"]
        artifacts = {key: str(folder / at["path"]) for key, at in flavor["artifacts"].items()}
        files = Files.of_artifacts(artifacts)
        weights, evaluation = files.digests()
    except (MlflowException, OSError) as error:
        if artifacts_away(error) or denied(error):
            said = refusal(error, mlflow.get_tracking_uri())
            raise ClarityError(f"{where}: {said}") from None
        raise ClarityError(f"{where}: its files are gone ({_first(error)}); {mend}") from None
    except Exception as error:  # MLmodel is YAML that anybody may have changed
        raise ClarityError(f"{where}: no scoring model of Clarity ({_first(error)})") from None
    for what, found, key in (
        ("weights", weights, TAG_WEIGHTS),
        ("evaluation", evaluation, TAG_EVALUATION),
    ):
        published = (tags or {}).get(key)
        if published and found != published:
            raise ClarityError(
                f"{where}: its {what} changed in the store since it was published ({found[:12]}, "
                f"not {published[:12]}); {mend}"
            )
    return files


def _first(error: Exception) -> str:
    """An error of MLflow's in one line of at most 150 characters, without an address's secrets."""
    return redact(in_a_line(error))[:150] or type(error).__name__
