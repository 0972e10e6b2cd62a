"""The packed images in ``index.csv``'s order, a batch at a time, from memory-mapped arrays."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from clarity.layout import Shape
from clarity.params import SYNTHETIC

#: A split and its label: which packed array.
Part = tuple[str, int]
Bytes = NDArray[np.uint8]


@dataclass(frozen=True)
class Images:
    """Packed images and what the index says of them.

    Attributes:
        index: ``index.csv``; one row an image.
        arrays: uint8 N×H×H×C by split and label, memory-mapped.
        masks: uint8 N×H×H by split, row for row with its anomalies.
        device: where batches go.
    """

    index: pd.DataFrame
    arrays: Mapping[Part, Bytes]
    masks: Mapping[str, Bytes]
    device: torch.device

    @property
    def shape(self) -> Shape:
        """Of every image."""
        stored = self.arrays["train", 0].shape
        return Shape(stored[1], stored[3])

    def batch(self, split: str, label: int, rows: NDArray[np.int64]) -> Tensor:
        """These rows of one array, uint8 n×H×H×C, on the device."""
        return torch.from_numpy(np.ascontiguousarray(self.arrays[split, label][rows])).to(
            self.device
        )

    def batches(self, size: int) -> Iterator[tuple[Part, NDArray[np.int64], NDArray[np.int64]]]:
        """All images in the index's order: (split, label), places in the index, rows of the array.

        A batch holds at most ``size`` images of one array.
        """
        splits = self.index["split"].to_numpy()
        labels = self.index["label"].to_numpy(np.int64)
        rows = self.index["row"].to_numpy(np.int64)
        new = np.flatnonzero((splits[1:] != splits[:-1]) | (labels[1:] != labels[:-1])) + 1
        for first, last in zip([0, *new], [*new, len(rows)], strict=True):
            for start in range(first, last, size):
                places = np.arange(start, min(start + size, last))
                yield (str(splits[start]), int(labels[start])), places, rows[places]

    def normals(self, split: str) -> pd.DataFrame:
        """The index's rows of a split's normals."""
        return self.index[(self.index["split"] == split) & (self.index["label"] == 0)]

    def brought_masks(self, split: str) -> set[int]:
        """Rows of a split's anomalies whose mask the source brought."""
        own = (self.index["has_mask"] == 1) & ~self.index["kind"].isin(SYNTHETIC)
        return set(self.index.loc[own & (self.index["split"] == split), "row"])

    def sample(self, split: str, most: int) -> NDArray[np.int64]:
        """Rows of at most ``most`` normals of a split, evenly spaced over it."""
        count = len(self.arrays[split, 0])
        if count <= most:
            return np.arange(count)
        return np.unique(np.linspace(0, count - 1, most).round().astype(np.int64))

    def chunks(self, split: str, rows: NDArray[np.int64], size: int) -> Iterator[Tensor]:
        """Batches of at most ``size`` of these normals."""
        for start in range(0, len(rows), size):
            yield self.batch(split, 0, rows[start : start + size])


def shown_faces(normals: pd.DataFrame, count: int) -> NDArray[np.int64]:
    """Rows of the faces in the grids: the first image of each group, then the second, and so on.

    Follows from the index alone, so every model shows the same faces.
    """
    turn = normals.groupby("group", sort=False).cumcount().to_numpy()
    order = np.argsort(turn, kind="stable")[:count]
    return normals["row"].to_numpy(np.int64)[order]


def face_pairs(
    normals: pd.DataFrame, count: int, seed: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], list[list[str]]]:
    """At most ``count`` pairs of faces of different people: rows, rows, and their groups.

    The pairs follow from the index and the seed alone: every model walks between the same faces.
    Fewer where the split has too few images; pairs of one person only where there is no other.
    """
    rows = normals["row"].to_numpy(np.int64)
    groups = normals["group"].astype(str).to_numpy()
    rng = np.random.default_rng(seed)
    found: dict[tuple[int, int], None] = {}
    if len(rows) <= 64:
        every = list(combinations(range(len(rows)), 2))
        across = [(a, b) for a, b in every if groups[a] != groups[b]] or every
        for place in rng.permutation(len(across))[:count]:
            found[across[place]] = None
    else:
        sizes = np.unique(groups, return_counts=True)[1]
        different = len(sizes) > 1
        within = int(np.square(sizes).sum()) if different else len(rows)
        count = min(count, (len(rows) ** 2 - within) // 2)  # there are no more such pairs
        while len(found) < count:
            a, b = sorted(int(x) for x in rng.choice(len(rows), 2, replace=False))
            if groups[a] != groups[b] or not different:
                found[a, b] = None
    first, second = [a for a, _ in found], [b for _, b in found]
    names = [[groups[a], groups[b]] for a, b in found]
    return rows[first], rows[second], names


def concatenated(tensors: Sequence[Tensor]) -> Tensor:
    """Batches as one tensor on the CPU."""
    return torch.cat([tensor.cpu() for tensor in tensors])
