"""What ``per_image.parquet`` must look like, checked before it is written."""

from __future__ import annotations

import pandas as pd

from clarity.errors import ClarityError, in_a_line
from clarity.evaluate.perceptual import EVERY, SAMPLE
from clarity.evaluate.reconstruction import METRICS
from clarity.layout import SPLITS


def checked(table: pd.DataFrame, where: str) -> pd.DataFrame:
    """The table itself, if it keeps the contract of docs/architecture.md.

    Raises:
        ClarityError: it does not; one line names the column.
    """
    import pandera.pandas as pa

    least = {"mse": 0, "mae": 0, "lsd": 0, "ssim": -1}
    columns = {
        "split": pa.Column(str, pa.Check.isin(SPLITS)),
        "label": pa.Column("int64", pa.Check.isin([0, 1])),
        "row": pa.Column("int64", pa.Check.ge(0)),
        **{name: pa.Column(str) for name in ("id", "group", "kind")},
        **{
            name: pa.Column("float64", pa.Check.ge(least[name]) if name in least else None)
            for name in METRICS
        },
        **{
            name: pa.Column("float64", pa.Check.in_range(0, 1), nullable=True)
            for name in (*EVERY, *SAMPLE)
        },
        "signal_.*": pa.Column("float64", regex=True),
        "score_.*": pa.Column("float64", regex=True),
        "unseen_.*": pa.Column("float64", nullable=True, regex=True, required=False),
        "pixel_auroc": pa.Column("float64", pa.Check.in_range(0, 1), nullable=True),
        "recon_nats": pa.Column("float64", nullable=True),
        "kl_nats": pa.Column("float64", nullable=True),
    }
    schema = pa.DataFrameSchema(columns, strict=True, unique=["split", "label", "row"])
    try:
        return schema.validate(table)
    except pa.errors.SchemaError as error:
        reason = in_a_line(error, 200)
        raise ClarityError(
            f"{where}: {reason}; the network or the index is broken: run both stages again"
        ) from None
