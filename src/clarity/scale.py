"""What the numbers of an array of pixels mean: one rule for every door that takes arrays."""

from __future__ import annotations

import numpy as np

#: Said of an array of another type.
TYPES = "bool, uint8, uint16 or float in [0, 1]"
#: A float this far outside [0, 1] still rounds to 0 or 255: arithmetic, not another scale.
ROUNDING = 0.5 / 255


def is_pixels(dtype: np.dtype) -> bool:
    """Whether the type says which value is white: True, 255, 65535 or 1.0."""
    return dtype.kind in "bf" or dtype.newbyteorder("=") in (np.uint8, np.uint16)


def other_scale(low: float, high: float) -> str:
    """What floats from ``low`` to ``high`` are, and how they come to [0, 1]; empty if they are."""
    if low >= -ROUNDING and high <= 1 + ROUNDING:
        return ""
    if low >= -1 - ROUNDING and high <= 1 + ROUNDING:
        mend = "if they lie in [-1, 1], save (x + 1) / 2"
    elif low < 0:
        mend = "undo their standardisation"
    else:
        white = next((top for top in (255, 1023, 4095, 16383, 65535) if high <= top), None)
        mend = f"divide all by what is white ({white}?)" if white else "divide all by what is white"
    return f"floats from {low:.6g} to {high:.6g}, not in [0, 1]: {mend}, or save as uint8"
