"""What a request may hold, and how it is refused: one line, and HTTP 4xx from MLflow's server."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE
from numpy.typing import NDArray

from clarity.errors import ClarityError
from clarity.layout import Shape
from clarity.scale import is_pixels
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


def read_images(data: Any, shape: Shape, white: int | None = None) -> Images:
    """N×H×H×C uint8 from what MLflow hands over.

    Args:
        data: an array N×H×H×C of a type that `images.from_array` takes, or nested lists of whole
            numbers 0…255, of floats in [0, 1] or of true and false; a data frame or mapping with a
            column ``image`` of base64 text (or of H×H×C arrays); or that column alone.
        shape: of the model's images; encoded pictures are brought to it.
        white: the model's ``preprocess.white``.

    Raises:
        Refusal: anything else, in one line that names the row.
    """
    column = _column(data, shape)
    if len(column) > MAX_IMAGES:
        raise Refusal(f"{len(column)} images; at most {MAX_IMAGES} in one request")
    if not len(column):
        raise Refusal("no images in the request")
    try:
        if any(isinstance(value, str) for value in column):
            return np.stack(
                [
                    decode_base64(value, f"{COLUMN}, row {row}", shape, white)
                    for row, value in enumerate(column)
                ]
            )
        return _pixels(column, shape, white)
    except ClarityError as error:
        raise Refusal(str(error)) from None


def _column(data: Any, shape: Shape) -> Any:
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
        f"expected an array N×{shape} or a column {COLUMN!r}, found {type(data).__name__}"
    )


def _pixels(column: Any, shape: Shape, white: int | None) -> Images:
    """N×H×H×C uint8 from numbers, however they are nested."""
    from clarity.preprocess.images import ImageProblem, to_uint8

    try:
        found = [_typed(array) for array in _arrays(column)]
        pixels = np.concatenate([to_uint8(array, white) for array in found])
    except ImageProblem as problem:
        raise Refusal(f"images: {problem}") from None
    except (TypeError, ValueError):
        raise Refusal(f"expected numbers N×{shape} or base64 text") from None
    check_images(pixels, shape)
    return pixels


def _arrays(column: Any) -> list[NDArray]:
    """Arrays whose type tells what their numbers mean; plain numbers mean one thing in a request,
    so that a 0 among floats is a float."""
    if isinstance(column, np.ndarray) and column.dtype != object:
        return [column]
    if all(isinstance(value, np.ndarray) and value.dtype != object for value in column):
        return [value[None] for value in column]
    return [np.array(column.tolist() if isinstance(column, np.ndarray) else list(column))]


def _typed(array: NDArray) -> NDArray:
    """The numbers in a type that says which value is white; other whole numbers are of 8 bits."""
    if array.dtype.kind not in "bfiu":
        raise TypeError
    if not array.size:
        raise ValueError
    if is_pixels(array.dtype):
        return array
    low, high = array.min(), array.max()
    if low < 0 or high > 255:
        raise Refusal(f"images: expected whole numbers 0…255, found {low}…{high}")
    if high == 1:
        raise Refusal(
            "images: whole numbers 0 and 1, of which white is 255; send 0.0 and 1.0, or true and "
            "false, for black and white"
        )
    return array.astype(np.uint8)
