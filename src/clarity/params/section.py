"""What every section of ``params.yaml`` is, and the kinds of numbers in it."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

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


class Section(BaseModel):
    """A section of the file: frozen, and a key it does not know is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)
