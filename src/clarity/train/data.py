"""Packed images: memory-mapped uint8, checked once, handed out a batch at a time."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from clarity.errors import ClarityError
from clarity.layout import CHANNELS, IMAGE_SIZE
from clarity.models.base import to_input

#: Images that are converted at once where no gradient is needed.
CHUNK = 256
#: A GPU keeps all images if they take at most this share of its free memory.
DEVICE_SHARE = 0.5


class Images:
    """The rows of one packed array, on the disk or, if they fit, on the GPU.

    Args:
        stored: uint8, N×64×64×3; usually memory-mapped.
        device: where batches are wanted.
    """

    def __init__(self, stored: np.ndarray, device: torch.device) -> None:
        self._stored = stored
        self._device = device
        self._resident: Tensor | None = None
        if device.type == "cuda" and stored.nbytes < DEVICE_SHARE * torch.cuda.mem_get_info()[0]:
            self._resident = torch.from_numpy(np.array(stored)).to(device)

    def __len__(self) -> int:
        return len(self._stored)

    def rows(self, numbers: Tensor) -> Tensor:
        """The images (uint8, N×64×64×3, on the device) of these row numbers (on the CPU)."""
        if self._resident is not None:
            return self._resident[numbers.to(self._device)]
        return torch.from_numpy(self._stored[numbers.numpy()]).to(self._device)

    def inputs(self, rows: Tensor | None = None) -> Iterator[Tensor]:
        """The images as a network's inputs, a chunk at a time; only ``rows``, if given."""
        numbers = torch.arange(len(self)) if rows is None else rows
        for chunk in torch.split(numbers, CHUNK):
            yield to_input(self.rows(chunk))

    def moments(self) -> tuple[Tensor, float]:
        """Mean image (3×64×64 in [-1, 1]) and the mean squared distance of an element from it."""
        total = torch.zeros(CHANNELS, IMAGE_SIZE, IMAGE_SIZE, dtype=torch.float64)
        squares = torch.zeros((), dtype=torch.float64)
        for x in self.inputs():
            total += x.double().sum(0).cpu()
            squares += x.double().square().sum().cpu()
        mean = total / len(self)
        variance = squares / (len(self) * mean.numel()) - mean.square().mean()
        return mean.float(), float(variance.clamp(min=1e-6))


def open_images(path: Path, device: torch.device) -> Images:
    """Memory-map one packed array.

    Raises:
        ClarityError: it is missing, no such array, or empty.
    """
    try:
        stored = np.load(path, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError:
        raise ClarityError(f"{path}: no such file; run `dvc repro preprocess` first") from None
    except (ValueError, EOFError, OSError) as error:
        raise ClarityError(f"{path}: broken array ({error}); run preprocess again") from None
    if stored.dtype != np.uint8 or stored.shape[1:] != (IMAGE_SIZE, IMAGE_SIZE, CHANNELS):
        raise ClarityError(
            f"{path}: {stored.dtype} {stored.shape}, not uint8 N×{IMAGE_SIZE}×{IMAGE_SIZE}×3; "
            "run preprocess again"
        )
    if len(stored) == 0:
        raise ClarityError(f"{path}: no images; give the split a larger share in preprocess.split")
    return Images(stored, device)
