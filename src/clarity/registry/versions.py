"""The registered model's versions as the registry sees them, whatever store keeps them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

from clarity.errors import ClarityError
from clarity.layout import MLRUNS, Outputs
from clarity.redact import printable
from clarity.registry.history import CHALLENGER, CHAMPION
from clarity.score.detector import Files
from clarity.store import all_versions

if TYPE_CHECKING:
    from mlflow import MlflowClient

#: Two promotions at once would each compare with a champion that the other replaces.
LOCK = MLRUNS / ".registry.lock"
PATIENCE = 600.0
#: Tag of the registered model, per alias: which version we put it at.
MOVED = "clarity.moved."
NO_VERSION = (
    "{name} has no version in MLflow's store; `dvc repro` trains and publishes models, and where "
    "it says that all is up to date, `clarity backfill` publishes what is there"
)


@dataclass(frozen=True)
class Version:
    """A version with what `publish` wrote on it.

    Attributes:
        number: MLflow's.
        identity: SHA-256 over weights and evaluation.
        name: of the training: ``conv-small-0``.
        tags: all of them.
        source: where its files lie, as MLflow says.
    """

    number: int
    identity: str
    name: str
    run_id: str
    source: str
    tags: dict[str, str] = field(default_factory=dict)
    description: str = ""

    @property
    def label(self) -> str:
        """``version 3 (conv-small-0)``."""
        return f"version {self.number} ({self.name})"


class Registry:
    """The versions and aliases of one registered model."""

    def __init__(self, client: MlflowClient, name: str) -> None:
        self.client = client
        self.name = name

    def versions(self) -> dict[int, Version]:
        """All versions by number, ascending."""
        found = [_version(one) for one in all_versions(self.client, self.name)]
        return {one.number: one for one in sorted(found, key=lambda one: one.number)}

    def aliases(self) -> dict[str, int]:
        """Where `champion` and `challenger` stand."""
        ours = (CHAMPION, CHALLENGER)
        return {alias: at for alias, at in self.all_aliases().items() if alias in ours}

    def all_aliases(self) -> dict[str, int]:
        """Where every alias stands, ours or a person's."""
        from mlflow.exceptions import MlflowException

        try:
            standing = self.client.get_registered_model(self.name).aliases
        except MlflowException as error:
            if error.error_code == "RESOURCE_DOES_NOT_EXIST":
                return {}
            raise
        return {alias: int(number) for alias, number in standing.items()}

    def set_alias(self, alias: str, number: int | None) -> None:
        """Move an alias, or take it away; the model's tag says that it was us."""
        self.client.set_registered_model_tag(self.name, f"{MOVED}{alias}", str(number or ""))
        if number is None:
            self.client.delete_registered_model_alias(self.name, alias)
        else:
            self.client.set_registered_model_alias(self.name, alias, str(number))

    def moved(self, alias: str) -> str | None:
        """Where this project last put an alias, empty where it took it away; None: it never did."""
        tags = self.client.get_registered_model(self.name).tags
        found = tags.get(f"{MOVED}{alias}")
        return None if found is None else str(found)

    def resolve(self, wanted: str) -> Version:
        """A version by number (``3``, ``v3``) or alias."""
        versions = self.versions()
        if not versions:
            raise ClarityError(NO_VERSION.format(name=self.name))
        text = wanted.removeprefix("v")
        number = int(text) if text.isascii() and text.isdigit() else self.aliases().get(wanted)
        if number is None:
            known = ", ".join(self.aliases()) or "none; `clarity promote` chooses a champion"
            raise ClarityError(f"{wanted}: no such alias of {self.name}; there is {known}")
        if number not in versions:
            raise ClarityError(
                f"version {number} of {self.name} does not exist; there are "
                f"{', '.join(map(str, versions))}"
            )
        return versions[number]

    def files(self, version: Version) -> Files:
        """The version's own four files, downloaded where the store is remote."""
        from clarity.score.registered import files_of

        return files_of(self.name, version.number, version.tags)


def _version(found: object) -> Version:
    from clarity.score.registered import TAG_IDENTITY, TAG_NAME

    tags = dict(getattr(found, "tags", None) or {})
    number = int(getattr(found, "version"))  # noqa: B009
    return Version(
        number,
        tags.get(TAG_IDENTITY, ""),
        printable(tags.get(TAG_NAME, f"version {number}")),
        getattr(found, "run_id", "") or "",
        getattr(found, "source", "") or "",
        tags,
        getattr(found, "description", "") or "",
    )


@contextmanager
def registry_lock() -> Iterator[None]:
    """Hold the registry for this process; waits for another `clarity promote` to end."""
    LOCK.parent.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(LOCK, timeout=float(os.environ.get("CLARITY_LOCK_TIMEOUT", PATIENCE))):
            yield
    except Timeout:
        raise ClarityError(f"{LOCK}: another process holds the registry; try again later") from None


def workspace(outputs: list[Outputs]) -> Iterator[Outputs]:
    """Those of the trainings and ensembles whose outputs are all here."""
    for training in outputs:
        files = Files.of_training(training)
        paths = (files.weights, files.description, files.details, files.scorer)
        if all(Path(path).is_file() for path in paths):
            yield training
