"""What a request may hold, and how it is refused: one line, and HTTP 4xx from MLflow's server."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE

from clarity.errors import ClarityError
from clarity.layout import CHANNELS, IMAGE_SIZE
from clarity.score.detector import check_images
from clarity.score.pictures import decode_base64
from clarity.score.signature import COLUMN

if TYPE_CHECKING:
    from clarity.score.pictures import Images

#: Images in one request; more belong to `clarity score`, which needs no request at all.
MAX_IMAGES = 1000
#: Bytes of one request's body: a thousand PNGs in base64, or some 1,500 images as plain numbers.
LARGEST = 64 * 2**20
#: Characters of a refusal.
LONGEST = 300


class Refusal(MlflowException):
    """A malformed request. MLflow's server answers 400 with exactly the one line.

    The server puts a print of the whole data before an exception's message; what a client gets is
    written here without it.
    """

    def __init__(self, line: str) -> None:
        super().__init__(line, error_code=INVALID_PARAMETER_VALUE)
        self.line = line

    def serialize_as_json(self) -> str:
        """The body of the answer."""
        return json.dumps({"error_code": self.error_code, "message": self.line})


def one_line(body: bytes) -> str:
    """The gist of MLflow's answer to a bad request: no repetition of the input, no stack trace."""
    try:
        message = str(json.loads(body)["message"])
    except (ValueError, KeyError, TypeError):
        message = body.decode(errors="replace")
    # "Failed to predict data '…'. \nError: …": what matters stands last.
    for mark in ("\nError: ", " Error: "):
        if mark in message:
            message = message.rpartition(mark)[2]
    first = next((line.strip() for line in message.splitlines() if line.strip()), "refused")
    return first if len(first) <= LONGEST else f"{first[: LONGEST - 1]}…"


def read_images(data: Any) -> Images:
    """N×64×64×3 uint8 from what MLflow hands over.

    Args:
        data: an array (or nested lists) of integers N×64×64×3 in 0…255; a data frame or mapping
            with a column ``image`` of base64 text (or of 64×64×3 arrays); or that column alone.

    Raises:
        Refusal: anything else, in one line that names the row.
    """
    column = _column(data)
    if len(column) > MAX_IMAGES:
        raise Refusal(f"{len(column)} images; at most {MAX_IMAGES} in one request")
    if not len(column):
        raise Refusal("no images in the request")
    try:
        if any(isinstance(value, str) for value in column):
            return np.stack(
                [decode_base64(value, f"{COLUMN}, row {row}") for row, value in enumerate(column)]
            )
        return _pixels(column)
    except ClarityError as error:
        raise Refusal(str(error)) from None


def _column(data: Any) -> Any:
    """The values of column ``image``, or the array itself."""
    if isinstance(data, Mapping) or hasattr(data, "columns"):
        if COLUMN not in data:
            raise Refusal(f"no column {COLUMN!r}; it holds base64 text, one picture a row")
        data = data[COLUMN]
    if hasattr(data, "to_numpy"):
        data = data.to_numpy()
    if isinstance(data, list | tuple):
        return data
    if isinstance(data, np.ndarray) and data.ndim:
        return data
    raise Refusal(
        f"expected an array N×{IMAGE_SIZE}×{IMAGE_SIZE}×{CHANNELS} or a column {COLUMN!r}, "
        f"found {type(data).__name__}"
    )


def _pixels(column: Any) -> Images:
    """N×64×64×3 uint8 from numbers, however they are nested."""
    if isinstance(column, np.ndarray) and column.dtype == np.uint8:
        check_images(column)
        return column
    try:
        array = np.array([np.asarray(value, dtype=np.float64) for value in column])
    except (TypeError, ValueError):
        raise Refusal(
            f"expected whole numbers N×{IMAGE_SIZE}×{IMAGE_SIZE}×{CHANNELS} or base64 text"
        ) from None
    if not (np.isfinite(array).all() and (array == np.rint(array)).all()):
        raise Refusal("images: expected whole numbers 0…255, found fractions or NaN")
    if array.size and (array.min() < 0 or array.max() > 255):
        raise Refusal(f"images: expected 0…255, found {array.min():g}…{array.max():g}")
    pixels = array.astype(np.uint8)
    check_images(pixels)
    return pixels
