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
# Threads of libgomp that wait spin, by default so long that a step of two threads takes ten times
# as long beside a busy neighbour; ten thousand turns cost nothing when quiet (docs/training.md).
# Read once, when torch is loaded; a user's own wish wins. Results do not depend on it.
if "OMP_WAIT_POLICY" not in os.environ:
    os.environ.setdefault("GOMP_SPINCOUNT", "10000")
