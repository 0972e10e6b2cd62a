"""Where and how a network computes: device, threads, determinism."""

from __future__ import annotations

import ctypes
import os
from contextlib import suppress

import torch

from clarity.errors import ClarityError

#: glibc's mallopt(3): return the heap's end to the system, and blocks mapped for themselves, only
#: from this size on.
_TRIM, _MAP = -1, -3
_HELD = 1 << 30


def prepare(device: str, threads: int) -> torch.device:
    """Set torch up for one stage: ``threads`` threads, deterministic algorithms; give the device.

    Args:
        device: ``auto`` (the GPU if there is one), ``cpu`` or ``cuda``.
        threads: of torch on the CPU; sums differ in their last bits between one and two.

    Raises:
        ClarityError: ``cuda`` without a GPU.
    """
    torch.set_num_threads(threads)
    # As use_deterministic_algorithms(True), which would load torch's compiler: 1.4 s and 140 MB.
    torch.set_deterministic_debug_mode("error")
    # Which fills every new tensor with NaN, lest one be read before it is written: up to a tenth of
    # a small network's step. That none is, tests show: two runs give the same bytes.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    # cuBLAS repeats its sums in one order only with a workspace of a fixed size.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic = False, True
    # Single precision is what it says: TF32, cuDNN's default, keeps three digits of a difference.
    torch.backends.cudnn.allow_tf32 = False
    found = torch.cuda.is_available()
    if device == "cuda" and not found:
        raise ClarityError("params.yaml: device: no CUDA device here; set it to auto or cpu")
    return torch.device("cuda" if found and device != "cpu" else "cpu")


def hold_memory() -> None:
    """Have freed memory reused, not given back: for a process that takes the same again each step.

    A step's gradients and activations are blocks of megabytes, which glibc returns at once and the
    system clears anew, page by page: a tenth to a fifth of a fully connected model's step
    (docs/training.md, Speed). No other C library is touched.
    """
    with suppress(OSError, AttributeError):
        library = ctypes.CDLL("libc.so.6")
        library.mallopt(_MAP, _HELD)
        library.mallopt(_TRIM, _HELD)
