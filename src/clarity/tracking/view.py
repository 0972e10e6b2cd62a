"""Views of the experiment in MLflow's UI, prepared: columns, charts and the image grid."""

from __future__ import annotations

from typing import TYPE_CHECKING

from clarity.tracking.facts import Facts

if TYPE_CHECKING:
    from mlflow import MlflowClient


def publish(client: MlflowClient, experiment: str, everything: list[Facts]) -> str:
    """Store the views in the experiment's tags; return the query that opens them."""
    return ""
