"""Clarity: does a larger autoencoder reconstruct more clearly, and is it the better detector?"""

from __future__ import annotations

import importlib
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from clarity.project import Project

# Before any tool is imported: nothing here phones home, no tool loads a pickle, and MLflow draws no
# bar for each file beside ours.
for _name, _value in {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "DO_NOT_TRACK": "1",
    "DVC_NO_ANALYTICS": "1",
    # Not telemetry: large tensors in pages of 2 MB (docs/training.md, Speed).
    "THP_MEM_ALLOC_ENABLE": "1",
}.items():
    os.environ.setdefault(_name, _value)
# Threads of libgomp that wait spin, by default so long that a step of two threads takes ten times
# as long beside a busy neighbour; ten thousand turns cost nothing when quiet (docs/training.md).
# Read once, when torch is loaded; a user's own wish wins. Results do not depend on it.
if "OMP_WAIT_POLICY" not in os.environ:
    os.environ.setdefault("GOMP_SPINCOUNT", "10000")


def open(path: str | os.PathLike[str] | None = None) -> Project:
    """The project at ``path`` or above it; None: the one we stand in. docs/python.md.

    Raises:
        clarity.errors.ClarityError: there is none, or its params.yaml has a mistake.
    """
    # Not by a statement: every module that imports the package would stand above every room.
    project: Project = importlib.import_module("clarity.project").open_project(path)
    return project
