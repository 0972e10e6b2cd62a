"""What a registered model takes and gives: signature, input example, pinned requirements."""

from __future__ import annotations

from importlib.metadata import version
from typing import TYPE_CHECKING

import numpy as np

from clarity.layout import Shape

if TYPE_CHECKING:
    import pandas as pd
    from mlflow.models import ModelSignature

#: Column of a data frame that holds the pictures, encoded (PNG, JPEG, …) and then in base64.
COLUMN = "image"
#: Distributions that loading and running a logged model imports; nothing of the pipeline's rest.
REQUIREMENTS = (
    "matplotlib",
    "mlflow",
    "numpy",
    "pandas",
    "pillow",
    "psutil",
    "pyarrow",
    "pydantic",
    "ruamel.yaml",
    "safetensors",
    "scikit-learn",
    "scipy",
    "torch",
)


def signature() -> ModelSignature:
    """Inputs, outputs and parameters of the scoring model.

    The input is declared as ``object`` with one free dimension, the one declaration under which
    MLflow hands over both forms: an N×H×H×C uint8 array, and a data frame with a column
    ``image`` of base64 text. The model itself checks what it was given, in one clear line.
    """
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, DataType, ParamSchema, ParamSpec, Schema, TensorSpec

    return ModelSignature(
        inputs=Schema([TensorSpec(np.dtype(object), (-1,), name=COLUMN)]),
        outputs=Schema(
            [
                ColSpec(DataType.double, "score"),
                ColSpec(DataType.double, "threshold"),
                ColSpec(DataType.boolean, "anomaly"),
                ColSpec(DataType.double, "p_value"),
                ColSpec(DataType.string, "signal_1"),
                ColSpec(DataType.string, "signal_2"),
                ColSpec(DataType.string, "reconstruction", required=False),
                ColSpec(DataType.string, "error_map", required=False),
            ]
        ),
        params=ParamSchema(
            [
                ParamSpec("return_reconstruction", DataType.boolean, default=False),
                ParamSpec("return_error_map", DataType.boolean, default=False),
            ]
        ),
    )


def input_example(shape: Shape) -> pd.DataFrame:
    """Two small pictures as an HTTP client sends them: a grey ramp and a checkerboard."""
    import pandas as pd

    from clarity.score.pictures import encode_png

    ramp = np.linspace(0, 255, shape.size).astype(np.uint8)
    first = np.broadcast_to(ramp[:, None, None], shape.stored)
    tiles = np.indices(shape.stored[:2]).sum(axis=0) // 8 % 2 * 255
    second = np.repeat(tiles.astype(np.uint8)[..., None], shape.channels, axis=2)
    return pd.DataFrame({COLUMN: [encode_png(first), encode_png(second)]})


def pip_requirements() -> list[str]:
    """``name==version`` of what a logged model needs, as installed here.

    Given explicitly because MLflow takes 9-15 s a model to infer them. A local build label
    (``+cpu``) is dropped: no index but torch's own knows it.
    """
    return [f"{name}=={version(name).partition('+')[0]}" for name in REQUIREMENTS]
