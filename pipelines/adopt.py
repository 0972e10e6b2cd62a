"""New pictures into the data set: found, checked, taken in under a name that is their content."""

from __future__ import annotations

import csv
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from clarity.errors import ClarityError
from clarity.files import atomic_path, sha256_file
from clarity.params import Params

if TYPE_CHECKING:
    from clarity.score.drift import Images

_NAME = re.compile(r"^[0-9a-f]{16}$")


@dataclass(frozen=True)
class Arrivals:
    """Pictures that were not taken in before, and what they look like to the pipeline."""

    #: File, its group (empty: none) and the digest of its bytes.
    pictures: list[tuple[Path, str, str]]
    #: N×64×64×3 uint8, one for each.
    images: Images
    rejected: list[tuple[str, str]]
    known: int

    @property
    def sentence(self) -> str:
        """What was found, in one line."""
        return (
            f"{len(self.pictures)} new pictures, {self.known} known already, "
            f"{len(self.rejected)} that cannot be used"
        )


def gather(folders: list[Path], scores: Path | None, params: Params) -> Arrivals:
    """Find and check new pictures.

    Args:
        folders: Where they lie; one that does not exist is empty. In a folder of batches
            (``score``'s) the first sub-folder is the batch, the second the group; else the first
            is the group.
        scores: ``score``'s output folder; what it flagged is left out. None: nothing is.
        params: The pipeline's parameters.

    Raises:
        ClarityError: more than ``preprocess.max_rejected`` of them cannot be used.
    """
    import numpy as np

    from clarity.ingest.folder import KINDS
    from clarity.layout import CHANNELS, IMAGE_SIZE
    from clarity.preprocess.images import ImageProblem, decode, to_square

    known = {path.stem for path in Path(params.data.path).rglob("*") if _NAME.match(path.stem)}
    pictures: list[tuple[Path, str, str]] = []
    images: list[Images] = []
    rejected: list[tuple[str, str]] = []
    seen = 0
    for folder in folders:
        for path in sorted(folder.rglob("*")) if folder.is_dir() else []:
            inside = path.relative_to(folder)
            hidden = any(part.startswith(".") for part in inside.parts)
            if hidden or not path.is_file() or path.suffix.lower() not in KINDS:
                continue
            batch, group = _batch_and_group(inside)
            if batch and scores is not None and _flagged(scores / batch, inside):
                continue
            digest = sha256_file(path)
            if digest[:16] in known:
                seen += 1
                continue
            known.add(digest[:16])
            try:
                images.append(to_square(decode(path.read_bytes(), params.preprocess.white)))
            except ImageProblem as problem:
                rejected.append((str(path), str(problem)))
            else:
                pictures.append((path, group, digest))
    if rejected and len(rejected) > params.preprocess.max_rejected * (
        len(rejected) + len(pictures)
    ):
        first, why = rejected[0]
        raise ClarityError(
            f"{first}: {why}; {len(rejected)} of {len(rejected) + len(pictures)} new pictures "
            "cannot be used, more than preprocess.max_rejected: remove them or raise it"
        )
    empty = np.empty((0, IMAGE_SIZE, IMAGE_SIZE, CHANNELS), np.uint8)
    return Arrivals(pictures, np.stack(images) if images else empty, rejected, seen)


_BATCH = re.compile(r"^\d{8}T\d{6}-[0-9a-f]{8}$")


def _batch_and_group(inside: Path) -> tuple[str, str]:
    """The batch a file came in with, if any, and its group, if any."""
    parts = inside.parts[:-1]
    batch = parts[0] if parts and _BATCH.match(parts[0]) else ""
    groups = parts[1:] if batch else parts
    return batch, groups[0] if groups else ""


def _flagged(table: Path, inside: Path) -> bool:
    """Whether ``score`` called this file anomalous."""
    path = table / "scores.csv"
    if not path.is_file():
        return False
    name = "/".join(inside.parts[1:])
    with path.open(newline="") as handle:
        return any(
            row["id"] == name and row["anomaly"].lower() in ("true", "1")
            for row in csv.DictReader(handle)
        )


def adopt(arrivals: Arrivals, params: Params) -> int:
    """Copy new pictures to where ``ingest`` reads them; how many.

    A picture's name there is its content's digest: taken in twice it is there once.

    Raises:
        ClarityError: the data's source is not a folder of pictures.
    """
    if params.data.source != "folder":
        raise ClarityError(
            f"data.source is {params.data.source}: new pictures cannot join it; set data.source: "
            "folder and data.path to a folder with your pictures in params.yaml"
        )
    for path, group, digest in arrivals.pictures:
        target = Path(params.data.path) / group / f"{digest[:16]}{path.suffix.lower()}"
        with atomic_path(target) as temporary:
            shutil.copyfile(path, temporary)
    return len(arrivals.pictures)
