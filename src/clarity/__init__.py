"""Clarity: does a larger autoencoder reconstruct more clearly, and is it the better detector?"""

import os

# Before any tool is imported: nothing here phones home, no tool loads a pickle, and MLflow draws no
# bar for each file beside ours.
for _name, _value in {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "DO_NOT_TRACK": "1",
    "DVC_NO_ANALYTICS": "1",
}.items():
    os.environ.setdefault(_name, _value)
