"""What every section of ``params.yaml`` is, and the kinds of numbers in it."""

from __future__ import annotations

from collections.abc import Collection
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

Share = Annotated[float, Field(ge=0, le=1)]
#: No count of anything here is larger; what is would end in an overflow somewhere below.
Positive = Annotated[int, Field(ge=1, le=1_000_000)]
#: What numpy, torch and scikit-learn all take.
Seed = Annotated[int, Field(ge=0, le=2**32 - 1)]
Width = Annotated[int, Field(ge=1, le=65536)]


def _as_tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


#: Of a tuple, which stands in the file as a list.
LISTED = BeforeValidator(_as_tuple)


def among(known: Collection[str], why: str = "") -> AfterValidator:
    """Of a name: it is one of these, or the error lists them, after ``why`` it cannot be."""

    def checked(value: str) -> str:
        if value not in known:
            raise ValueError(f"{why}there are {', '.join(known)}")
        return value

    return AfterValidator(checked)


class Section(BaseModel):
    """A section of the file: frozen, and a key it does not know is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)
