"""Packed images: memory-mapped uint8, checked once, handed out a batch at a time."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from clarity.errors import ClarityError, in_a_line
from clarity.layout import Shape
from clarity.models.base import at_most, to_input

#: Images (of 64×64×3; fewer larger ones) that are converted at once where no gradient is needed.
CHUNK = 256
#: A GPU keeps all images if they take at most this share of its free memory.
DEVICE_SHARE = 0.5


class Images:
    """The rows of one packed array, on the disk or, if they fit, on the GPU.

    Args:
        stored: uint8, N×H×H×C; usually memory-mapped.
        device: where batches are wanted.
    """

    def __init__(self, stored: np.ndarray, device: torch.device) -> None:
        self.shape = Shape(stored.shape[1], stored.shape[3])
        self._stored = stored
        self._device = device
        self._resident: Tensor | None = None
        if device.type == "cuda" and stored.nbytes < DEVICE_SHARE * torch.cuda.mem_get_info()[0]:
            self._resident = torch.from_numpy(np.array(stored)).to(device)

    def __len__(self) -> int:
        return len(self._stored)

    def rows(self, numbers: Tensor) -> Tensor:
        """The images (uint8, N×H×H×C, on the device) of these row numbers (on the CPU)."""
        if self._resident is not None:
            return self._resident[numbers.to(self._device)]
        return torch.from_numpy(self._stored[numbers.numpy()]).to(self._device)

    def inputs(self, rows: Tensor | None = None) -> Iterator[Tensor]:
        """The images as a network's inputs, a chunk at a time; only ``rows``, if given."""
        numbers = torch.arange(len(self)) if rows is None else rows
        for chunk in torch.split(numbers, at_most(CHUNK, self.shape)):
            yield to_input(self.rows(chunk))

    def moments(self) -> tuple[Tensor, float]:
        """Mean image (C×H×H in [-1, 1]) and the mean squared distance of an element from it."""
        total = torch.zeros(self.shape.planes, dtype=torch.float64)
        squares = torch.zeros((), dtype=torch.float64)
        for x in self.inputs():
            total += x.double().sum(0).cpu()
            squares += x.double().square().sum().cpu()
        mean = total / len(self)
        variance = squares / (len(self) * mean.numel()) - mean.square().mean()
        return mean.float(), float(variance.clamp(min=1e-6))


def open_images(path: Path, shape: Shape, device: torch.device) -> Images:
    """Memory-map one packed array of images of this shape.

    Raises:
        ClarityError: it is missing, no such array, or empty.
    """
    try:
        stored = np.load(path, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError:
        raise ClarityError(f"{path}: no such file; run `dvc repro preprocess` first") from None
    except (ValueError, EOFError) as error:
        reason = in_a_line(error)
        raise ClarityError(f"{path}: broken array ({reason}); run preprocess again") from None
    if stored.dtype != np.uint8 or stored.shape[1:] != shape.stored:
        raise ClarityError(
            f"{path}: {stored.dtype} {stored.shape}, not uint8 N×{shape}; run preprocess again"
        )
    if len(stored) == 0:
        raise ClarityError(f"{path}: no images; give the split a larger share in preprocess.split")
    return Images(stored, device)
