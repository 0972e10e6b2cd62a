"""What is kept: broken images out, exact duplicates out, every other image in one split."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from clarity.errors import ClarityError
from clarity.files import sha256_bytes
from clarity.layout import SPLITS
from clarity.params import Preprocess
from clarity.preprocess.arrays import Spool
from clarity.preprocess.images import ImageProblem
from clarity.preprocess.items import RawItem, pixels_of
from clarity.preprocess.split import assign
from clarity.preprocess.tables import Rejected


@dataclass(frozen=True, slots=True)
class Accepted:
    """An image that can be used; its pixels are row ``spooled`` of the spool."""

    order: int
    id: str
    group: str
    role: str
    label: int
    sha256: str
    spooled: int


@dataclass(frozen=True, slots=True)
class Left:
    """An image left out: its place in the source, and whether it is broken."""

    order: int
    id: str
    reason: str
    broken: bool


def check_all(items: Iterable[RawItem], spool: Spool) -> tuple[list[Accepted], list[Left]]:
    """Decode every image once, into the spool; say which cannot be used."""
    accepted: list[Accepted] = []
    left: list[Left] = []
    for order, item in enumerate(items):
        try:
            content = pixels_of(item).tobytes()
        except ImageProblem as problem:
            left.append(Left(order, item.id, str(problem), broken=True))
            continue
        accepted.append(
            Accepted(
                order=order,
                id=item.id,
                group=item.group or item.id,
                role=item.role,
                label=item.label or 0,
                sha256=sha256_bytes(content),
                spooled=spool.append(content),
            )
        )
    return accepted, left


def refuse_too_many(left: Sequence[Left], total: int, most: float) -> None:
    """Stop where more than the share ``most`` of all images is broken."""
    broken = [row for row in left if row.broken]
    if len(broken) > most * total:
        first = broken[0]
        raise ClarityError(
            f"{len(broken)} of {total} images cannot be used, more than preprocess.max_rejected "
            f"({most:g}) allows; the first is {first.id}: {first.reason}; mend or remove them"
        )


def without_duplicates(
    accepted: Sequence[Accepted], mode: str
) -> tuple[list[Accepted], list[Left]]:
    """Of images with the same 64×64×3 bytes, keep one: the source's own test images come first.

    So nothing of the test set is in the pool. Among equals the first in the source's order stays.
    Equal test images with different labels contradict each other, and none of them stays.

    Raises:
        ClarityError: there are duplicates and ``mode`` is ``refuse``.
    """
    same: defaultdict[str, list[Accepted]] = defaultdict(list)
    for image in sorted(accepted, key=lambda image: (image.role != "test", image.order)):
        same[image.sha256].append(image)
    kept: list[Accepted] = []
    left: list[Left] = []
    for first, *others in same.values():
        if others and mode == "refuse":
            raise ClarityError(
                f"{others[0].id} has the same pixels as {first.id} at 64×64; remove one, or set "
                "preprocess.duplicates to drop"
            )
        if len({image.label for image in (first, *others) if image.role == "test"}) > 1:
            left += [
                Left(image.order, image.id, "same pixels labelled 0 and 1", broken=False)
                for image in (first, *others)
            ]
            continue
        kept.append(first)
        left += [
            Left(image.order, image.id, f"duplicate of {first.id}", broken=False)
            for image in others
        ]
    return sorted(kept, key=lambda image: image.order), left


def without_leaks(accepted: Sequence[Accepted]) -> tuple[list[Accepted], list[Left]]:
    """Leave out what must not be learned from: pool images of test people, labelled anomalies."""
    tested = {image.group for image in accepted if image.role == "test"}
    kept: list[Accepted] = []
    left: list[Left] = []
    for image in accepted:
        if image.role != "test" and image.label == 1:
            reason = "labelled an anomaly, outside the test set"
        elif image.role != "test" and image.group in tested:
            reason = f"group {image.group} is also in the test set"
        else:
            kept.append(image)
            continue
        left.append(Left(image.order, image.id, reason, broken=False))
    return kept, left


def divide(accepted: Sequence[Accepted], preprocess: Preprocess) -> dict[str, list[Accepted]]:
    """The images of each split, labelled anomalies among those of ``test``.

    A source's own test images are the test split whole; the pool is then divided over the other
    three by their shares.

    Raises:
        ClarityError: a split would be empty.
    """
    shares = preprocess.split.model_dump()
    divided: dict[str, list[Accepted]] = {split: [] for split in SPLITS}
    divided["test"] = [image for image in accepted if image.role == "test"]
    pool = [image for image in accepted if image.role != "test"]
    if divided["test"]:
        del shares["test"]
        if all(image.label == 1 for image in divided["test"]):
            raise ClarityError(
                "the source's test set has no normal image (label 0), so false alarms cannot be "
                "counted; add some"
            )
    split_of = assign([image.group for image in pool], shares, preprocess.seed)
    for image in pool:
        divided[split_of[image.group]].append(image)
    return divided


def as_rejected(left: Iterable[Left]) -> list[Rejected]:
    """Rows of ``rejected.csv``, in the source's order."""
    return [Rejected(row.id, row.reason) for row in sorted(left, key=lambda row: row.order)]
