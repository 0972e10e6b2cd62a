"""A details.json that says little, for tests to add to."""

from __future__ import annotations

from typing import Any

from clarity.details import Details


def details(score: str = "mse", value: float = 0.0, rate: float = 0.05, **known: Any) -> Details:
    """Of a model judged by one score, with its threshold and the rate that was set for."""
    small = {"family": "pca", "latent": 1, "parameters": 1, "flops": 1, "weight_bytes": 1}
    return Details.of(
        {
            "model": "small",
            "seed": 0,
            **small,
            "reconstruction": {},
            "anomaly": {score: {}},
            "threshold": {score: {"value": value, "false_alarm_rate": rate}},
            "best_score": score,
            **known,
        }
    )
