"""Versions and runs by what they carry, without waiting for MLflow's import (2-3 s).

A local store is SQLite, and four of its tables say all that lineage asks: they are read directly,
read-only. Where the store is a server, MLflow's client is asked instead.
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from clarity.address import sqlite_file, tracking_uri
from clarity.errors import ClarityError
from clarity.score.registered import (
    TAG_COMMIT,
    TAG_DATA,
    TAG_EVALUATION,
    TAG_FINGERPRINT,
    TAG_FLOW_RUN,
    TAG_IDENTITY,
    TAG_MODEL,
    TAG_NAME,
    TAG_STAGE,
    TAG_WEIGHTS,
)
from clarity.store import EXPERIMENT, reading

#: Tags whose value may be given by its beginning.
DIGESTS = (
    TAG_COMMIT,
    TAG_DATA,
    TAG_EVALUATION,
    TAG_FINGERPRINT,
    TAG_FLOW_RUN,
    TAG_IDENTITY,
    TAG_WEIGHTS,
)
#: Tags whose value must be given in full.
NAMES = (TAG_NAME, TAG_MODEL, TAG_STAGE)
#: Fewer characters of a digest are taken for a mistake.
SHORTEST = 6


@dataclass(frozen=True)
class Record:
    """A version, or a run that became none (``number`` is None)."""

    number: int | None
    run_id: str
    tags: dict[str, str] = field(default_factory=dict)
    aliases: tuple[str, ...] = ()

    def tag(self, key: str) -> str:
        """A tag's value, empty where it is not there."""
        return self.tags.get(key, "")


class Reader(ABC):
    """Where versions and runs are looked up."""

    @abstractmethod
    def versions(self) -> list[Record]:
        """All versions, newest first."""

    @abstractmethod
    def runs(self, text: str) -> list[Record]:
        """Runs whose id or digests begin with ``text``, or that bear it as a name."""


def open_reader(name: str) -> Reader:
    """A reader of the registered model ``name`` in the present store."""
    path = sqlite_file(tracking_uri())
    if path is not None and "MLFLOW_REGISTRY_URI" not in os.environ:
        if not path.is_file():
            raise ClarityError(
                f"{path}: no MLflow store yet; `dvc repro` fills it, `clarity backfill` refills it"
            )
        return Tables(path, name)
    return Client(name)


class Tables(Reader):
    """SQLite, read-only."""

    def __init__(self, path: Path, name: str) -> None:
        self.path = path
        self.name = name

    def versions(self) -> list[Record]:
        """See `Reader`."""
        with reading(self.path) as base:
            rows = base.execute(
                "SELECT version, run_id FROM model_versions"
                " WHERE name = ? AND current_stage != 'Deleted_Internal' ORDER BY version DESC",
                (self.name,),
            ).fetchall()
            tags = _grouped(
                base.execute(
                    "SELECT version, key, value FROM model_version_tags WHERE name = ?",
                    (self.name,),
                )
            )
            aliases: dict[int, list[str]] = {}
            for alias, version in base.execute(
                "SELECT alias, version FROM registered_model_aliases WHERE name = ?", (self.name,)
            ):
                aliases.setdefault(int(version), []).append(alias)
        return [
            Record(number, run or "", tags.get(number, {}), tuple(sorted(aliases.get(number, []))))
            for number, run in ((int(row[0]), row[1]) for row in rows)
        ]

    def runs(self, text: str) -> list[Record]:
        """See `Reader`."""
        digests, names = _marks(DIGESTS), _marks(NAMES)
        with reading(self.path) as base:
            found = [
                row[0]
                for row in base.execute(
                    "SELECT run_uuid FROM runs WHERE lifecycle_stage = 'active' AND ("  # noqa: S608 - marks
                    " substr(run_uuid, 1, ?) = ? OR run_uuid IN (SELECT run_uuid FROM tags WHERE"
                    f" (key IN ({digests}) AND substr(value, 1, ?) = ?)"
                    f" OR (key IN ({names}) AND value = ?))) ORDER BY start_time DESC LIMIT 50",
                    (len(text), text, *DIGESTS, len(text), text, *NAMES, text),
                )
            ]
            tags = _grouped(
                base.execute(
                    f"SELECT run_uuid, key, value FROM tags WHERE run_uuid IN ({_marks(found)})",  # noqa: S608 - marks
                    found,
                )
            )
        return [Record(None, run, tags.get(run, {})) for run in found]


class Client(Reader):
    """MLflow's client, for a store behind a server."""

    def __init__(self, name: str) -> None:
        from clarity.registry.versions import Registry
        from clarity.store import open_store

        self.registry = Registry(open_store(), name)

    def versions(self) -> list[Record]:
        """See `Reader`."""
        aliases = self.registry.aliases()
        return [
            Record(
                one.number,
                one.run_id,
                one.tags,
                tuple(sorted(alias for alias, at in aliases.items() if at == one.number)),
            )
            for one in reversed(self.registry.versions().values())
        ]

    def runs(self, text: str) -> list[Record]:
        """See `Reader`. A server answers one condition at a time."""
        from mlflow.exceptions import MlflowException

        client = self.registry.client
        experiment = client.get_experiment_by_name(EXPERIMENT)
        if experiment is None or not text.replace("-", "").replace("@", "").isalnum():
            return []
        conditions = [
            *(f"tags.`{key}` LIKE '{text}%'" for key in DIGESTS),
            *(f"tags.`{key}` = '{text}'" for key in NAMES),
        ]
        found: dict[str, Any] = {}
        for condition in conditions:
            page = client.search_runs([experiment.experiment_id], condition, max_results=50)
            found |= {run.info.run_id: run for run in page}
        with suppress(MlflowException):
            found[text] = client.get_run(text)
        return [Record(None, run_id, dict(run.data.tags)) for run_id, run in found.items()]


def matching(records: Iterable[Record], text: str) -> list[Record]:
    """Those that ``text`` names: number, alias, run, a digest's beginning, stage or model."""
    everything = list(records)
    bare = text.removeprefix("v")
    if bare.isascii() and bare.isdigit() and len(bare) < SHORTEST:
        return [one for one in everything if one.number == int(bare)]
    # evaluate@X and train@X are two stages of one training.
    stage = f"train@{text.partition('@')[2]}" if text.startswith("evaluate@") else text
    return [
        one
        for one in everything
        if text in one.aliases
        or any(one.tag(key) in (text, stage) for key in NAMES)
        or (
            len(text) >= SHORTEST
            and any(value.startswith(text) for value in (one.run_id, *map(one.tag, DIGESTS)))
        )
    ]


def _marks(values: Sequence[object]) -> str:
    return ", ".join("?" * len(values))


def _grouped(rows: Iterable[tuple[Any, str, str]]) -> dict[Any, dict[str, str]]:
    found: dict[Any, dict[str, str]] = {}
    for owner, key, value in rows:
        found.setdefault(owner, {})[key] = value
    return found
