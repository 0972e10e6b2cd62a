"""New pictures into the data set: found, checked, taken in under a name that is their content."""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from clarity.errors import ClarityError
from clarity.files import sha256_bytes, write_bytes
from clarity.names import cell, line
from clarity.params import Params

if TYPE_CHECKING:
    from clarity.score.drift import Images

_NAME = re.compile(r"^[0-9a-f]{16}$")


@dataclass(frozen=True)
class Arrivals:
    """Pictures that were not taken in before, and what they look like to the pipeline."""

    #: File, its group (empty: none) and the digest of its bytes.
    pictures: list[tuple[Path, str, str]]
    #: What drift is tested on, N×H×H×C uint8: one for each, or as many as a test looks at, evenly
    #: spread.
    images: Images
    rejected: list[tuple[str, str]]
    known: int
    #: Pictures in a batch whose table does not name them.
    unscored: list[Path] = field(default_factory=list)

    @property
    def sentence(self) -> str:
        """What was found, in one line."""
        told = (
            f"{len(self.pictures)} new pictures, {self.known} known already, "
            f"{len(self.rejected)} that cannot be used"
        )
        if self.unscored:
            told += (
                f", {len(self.unscored)} left out because they were never scored (the first: "
                f"{self.unscored[0]}); move them to the incoming folder, or to data/new"
            )
        return line(told)


def gather(
    folders: list[Path], scores: Path | None, params: Params, *, include_flagged: bool = False
) -> Arrivals:
    """Find and check new pictures.

    Args:
        folders: Where they lie; one that does not exist is empty. In a folder of batches
            (``score``'s) the first sub-folder is the batch, the second the group; else the first
            is the group.
        scores: ``score``'s output folder. Of a batch only what its table calls normal is taken:
            not what was flagged, what was refused then, or what was never scored. None: all is.
        params: The pipeline's parameters.
        include_flagged: Whether what was flagged is taken, too.

    Raises:
        ClarityError: more than ``preprocess.max_rejected`` of them cannot be used, or a folder is
            that of the training images.
    """
    import numpy as np

    from clarity.ingest.folder import KINDS
    from clarity.preprocess.images import ImageProblem, decode, to_square
    from clarity.score.listing import listing, read_bytes
    from clarity.score.watch import LOOKED_AT

    data = Path(params.data.path).resolve()
    for folder in folders if takes_pictures(params) else []:
        new = folder.resolve()
        if new.is_relative_to(data) or data.is_relative_to(new):
            raise ClarityError(
                f"{folder}: holds training images (data.path is {params.data.path}), which would "
                "be copied beside themselves; name a folder of new pictures"
            )
    known = {path.stem for path in Path(params.data.path).rglob("*") if _NAME.match(path.stem)}
    pictures: list[tuple[Path, str, str]] = []
    images: list[Images] = []
    every = 1  # how many pictures there are to one that is kept
    rejected: list[tuple[str, str]] = []
    unscored: list[Path] = []
    verdicts: dict[str, Verdicts] = {}
    seen, shape = 0, params.preprocess.shape
    for entry in (one for folder in folders if folder.is_dir() for one in listing(folder)):
        if entry.path.suffix.lower() not in KINDS:
            continue
        batch, name, group = _batch_and_group(entry.name)
        if batch and scores is not None:
            if batch not in verdicts:
                verdicts[batch] = _verdicts(scores / batch)
            verdict = verdicts[batch].get(cell(name), "unscored")
            if verdict == "unscored":
                unscored.append(entry.path)
            if verdict != "normal" and not (verdict == "flagged" and include_flagged):
                continue
        try:
            if entry.problem:
                raise ImageProblem(entry.problem)
            content = read_bytes(entry.path)
            digest = sha256_bytes(content)
            if digest[:16] in known:
                seen += 1
                continue
            known.add(digest[:16])
            image = to_square(decode(content, params.preprocess.white), shape)
        except ImageProblem as problem:
            rejected.append((str(entry.path), str(problem)))
        else:
            # Memory does not grow with what arrived: of too many every second one goes.
            if len(pictures) % every == 0:
                images.append(image)
            pictures.append((entry.path, group, digest))
            if len(images) > LOOKED_AT:
                del images[1::2]
                every *= 2
    if rejected and len(rejected) > params.preprocess.max_rejected * (
        len(rejected) + len(pictures)
    ):
        first, why = rejected[0]
        raise ClarityError(
            f"{first}: {why}; {len(rejected)} of {len(rejected) + len(pictures)} new pictures "
            "cannot be used, more than preprocess.max_rejected: remove them or raise it"
        )
    empty = np.empty((0, *shape.stored), np.uint8)
    return Arrivals(pictures, np.stack(images) if images else empty, rejected, seen, unscored)


_BATCH = re.compile(r"^\d{8}T\d{6}-[0-9a-f]{8}$")


def _batch_and_group(name: str) -> tuple[str, str, str]:
    """The batch a file came in with, if any, its name there, and its group, if any.

    A group is written as in a table: `ingest` refuses folders whose names are no clean text.
    """
    first, _, rest = name.partition("/")
    batch = first if rest and _BATCH.match(first) else ""
    inside = rest if batch else name
    folder = inside.partition("/")[0] if "/" in inside else ""
    return batch, inside, cell(folder)


#: What ``score`` said of each file of a batch, by its id: normal, flagged or refused.
Verdicts = dict[str, str]


def _verdicts(folder: Path) -> Verdicts:
    """Every row of a batch's tables; of a batch that was not scored to its end there is none."""
    found: Verdicts = {}
    for name in ("scores.csv", "rejected.csv"):
        try:
            with (folder / name).open(newline="", encoding="utf-8") as handle:
                for row in csv.DictReader(handle):
                    flagged = row.get("anomaly", "").lower() in ("true", "1")
                    refused = name == "rejected.csv"
                    verdict = "refused" if refused else "flagged" if flagged else "normal"
                    found[row["id"]] = verdict
        except FileNotFoundError:
            continue
    return found


def adopt(arrivals: Arrivals, params: Params) -> int:
    """Copy new pictures to where ``ingest`` reads them as normals; how many.

    A picture's name there is its content's digest: taken in twice it is there once. One that is
    gone or was changed since it was checked is left for the next time.

    Raises:
        ClarityError: the data's source is not a folder of pictures, or its layout has no place for
            one of them; nothing is copied then. Or the disk refuses.
    """
    if not takes_pictures(params):
        raise ClarityError(
            f"data.source is {params.data.source}: new pictures cannot join it; set data.source: "
            "folder and data.path to a folder with your pictures in params.yaml"
        )
    from clarity.preprocess.images import ImageProblem
    from clarity.score.listing import read_bytes
    from pipelines.arrivals.places import plan

    wanted = [
        (group, f"{digest[:16]}{path.suffix.lower()}") for path, group, digest in arrivals.pictures
    ]
    adopted = 0
    for (path, _, digest), place in zip(arrivals.pictures, plan(params.data, wanted), strict=True):
        try:
            content = read_bytes(path)
        except ImageProblem:
            continue
        if sha256_bytes(content) == digest:
            target = Path(params.data.path) / place
            try:
                write_bytes(target, content)
            except (FileExistsError, NotADirectoryError):
                raise ClarityError(
                    f"{target}: cannot be written, a file has its folder's name; rename that"
                ) from None
            adopted += 1
    return adopted


def takes_pictures(params: Params) -> bool:
    """Whether single pictures can join the data set."""
    return params.data.source == "folder"
