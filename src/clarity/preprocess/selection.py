"""What is kept: broken images out, exact duplicates out, every other image in one split."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import islice

import numpy as np
from joblib import cpu_count  # type: ignore[import-untyped]

from clarity.errors import ClarityError
from clarity.files import sha256_bytes
from clarity.layout import SPLITS
from clarity.params import Preprocess
from clarity.preprocess.arrays import Spool
from clarity.preprocess.groups import PRECEDENCE, Accepted, Names, alike
from clarity.preprocess.images import ImageProblem, Pixels, Seen
from clarity.preprocess.items import RawItem, pixels_of
from clarity.preprocess.labelled import Dealt, deal_anomalies
from clarity.preprocess.masks import CutAwayError, plane
from clarity.preprocess.split import assign
from clarity.preprocess.tables import Rejected

#: Threads that decode, at most: a picture of the largest size takes some 400 MB while it is read.
DECODERS = 4
#: Images that are read from the table before they are decoded.
TOGETHER = 32


@dataclass(frozen=True, slots=True)
class Left:
    """An image left out: its place in the source, and whether it is broken."""

    order: int
    id: str
    reason: str
    broken: bool


def check_all(
    items: Iterable[RawItem], spool: Spool, names: Names, preprocess: Preprocess, seen: Seen
) -> tuple[list[Accepted], list[Left]]:
    """Decode every image once, into the spool; say which cannot be used."""
    accepted: list[Accepted] = []
    left: list[Left] = []
    for order, (item, pixels, saw) in enumerate(_decoded(items, preprocess)):
        group = names.of(item.group)
        seen.add(saw)
        if isinstance(pixels, ImageProblem):
            left.append(Left(order, item.id, str(pixels), broken=True))
            continue
        try:
            mask = plane(item, len(pixels)) if item.mask is not None else None
        except CutAwayError:
            reason = "what its mask marks lies outside the centred square"
            left.append(Left(order, item.id, reason, broken=False))
            continue
        content = pixels.tobytes()
        accepted.append(
            Accepted(
                order=order,
                id=item.id,
                group=group or names.alone(item.id),
                role=item.role,
                label=item.label or 0,
                sha256=sha256_bytes(content),
                spooled=spool.append(content),
                named=bool(group),
                blank=bool((pixels == pixels[0, 0]).all()),
                said=item.label is not None,
                kind=item.kind,
                mask=None if mask is None else np.packbits(mask).tobytes(),
            )
        )
    return accepted, left


def _decoded(
    items: Iterable[RawItem], preprocess: Preprocess
) -> Iterator[tuple[RawItem, Pixels | ImageProblem, Seen]]:
    """Each image's pixels, or why there are none, and what was seen of it; in their order.

    Files by several threads: decoders let go of the interpreter while they work.
    """

    def one(item: RawItem) -> tuple[RawItem, Pixels | ImageProblem, Seen]:
        saw = Seen()
        try:
            return item, pixels_of(item, preprocess.shape, preprocess.white, saw), saw
        except ImageProblem as problem:
            return item, problem, saw

    left = iter(items)
    with ThreadPoolExecutor(min(cpu_count(), DECODERS), "decode") as pool:
        while some := list(islice(left, TOGETHER)):
            files = some[0].encoding == "file"
            yield from pool.map(one, some) if files else map(one, some)


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
    """Of images with the same bytes, keep one: the source's own test images come first.

    So nothing of the test set is in the pool. Among equals one with a group stays before one
    without, then the first in the source's order; it belongs to the group of any of them. Equal
    images that the source labels differently contradict each other, and none of them stays.

    Raises:
        ClarityError: there are duplicates and ``mode`` is ``refuse``.
    """
    kept: list[Accepted] = []
    left: list[Left] = []
    for first, *others in alike(accepted):
        if others and mode == "refuse":
            raise ClarityError(
                f"{others[0].id} has the same pixels as {first.id} at 64×64; remove one, or set "
                "preprocess.duplicates to drop"
            )
        if len({image.label for image in (first, *others) if image.said}) > 1:
            left += [
                Left(image.order, image.id, "same pixels labelled 0 and 1", broken=False)
                for image in (first, *others)
            ]
            continue
        owner = next((image for image in (first, *others) if image.named), first)
        kept.append(replace(first, group=owner.group, named=owner.named))
        left += [
            Left(image.order, image.id, f"duplicate of {first.id}", broken=False)
            for image in others
        ]
    return sorted(kept, key=lambda image: image.order), left


def without_leaks(accepted: Sequence[Accepted]) -> tuple[list[Accepted], list[Left]]:
    """A group is in one split: where the source puts it into several, test comes first, train last.

    Labelled anomalies of the pool are not meant: `labelled.deal_anomalies` has rules of its own.
    """
    first: dict[str, str] = {}
    for image in sorted(accepted, key=lambda image: PRECEDENCE.index(image.role)):
        if image.role != "pool" or image.label == 0:
            first.setdefault(image.group, image.role)
    kept: list[Accepted] = []
    left: list[Left] = []
    for image in accepted:
        role = first.get(image.group, image.role)
        if role == image.role or (image.role, image.label, role) == ("pool", 1, "pool"):
            kept.append(image)
            continue
        reason = f"group {image.group} is also in the {role} set"
        left.append(Left(image.order, image.id, reason, broken=False))
    return kept, left


def divide(accepted: Sequence[Accepted], left: Sequence[Left], preprocess: Preprocess) -> Dealt:
    """The images of each split, labelled anomalies among those of the judged ones.

    A split that the source brings is that split, whole; the pool is then divided over the others
    by their shares.

    Raises:
        ClarityError: a split would be empty; says which groups there are and what was left out.
    """
    shares = preprocess.split.model_dump()
    divided: dict[str, list[Accepted]] = {split: [] for split in SPLITS}
    own = {image.role for image in accepted} - {"pool"}
    for split in sorted(own):
        divided[split] = [image for image in accepted if image.role == split]
        del shares[split]
        if all(image.label == 1 for image in divided[split]):
            raise ClarityError(
                f"the source's {split} set has no normal image (label 0), so false alarms cannot "
                "be counted; add some"
            )
    pool = [image for image in accepted if image.role == "pool" and image.label == 0]
    sizes = Counter(image.group for image in pool)
    if len(sizes) < len(shares):
        raise ClarityError(_too_few(sizes, list(shares), left))
    split_of = assign([image.group for image in pool], shares, preprocess.seed)
    for image in pool:
        divided[split_of[image.group]].append(image)
    anomalies = [image for image in accepted if image.role == "pool" and image.label == 1]
    labelled = preprocess.anomalies.labelled
    return deal_anomalies(divided, anomalies, own, labelled, preprocess.seed)


def _too_few(sizes: Counter[str], splits: Sequence[str], left: Sequence[Left]) -> str:
    """Why the splits cannot be filled: which groups there are, and what became of the rest."""
    shown = ", ".join(f"{name} ({sizes[name]})" for name in sorted(sizes)) or "no usable image"
    gone = ""
    if left:
        first = min(left, key=lambda row: row.order)
        gone = f"; {len(left)} images were left out, the first is {first.id}: {first.reason}"
    alone = (
        "; if they are not people but categories, put all pictures into one folder, or leave the "
        "groups CSV out, and each is a group of its own"
        if any(size > 1 for size in sizes.values())
        else ""
    )
    return (
        f"{len(sizes)} groups (people, folders or single images) cannot fill the {len(splits)} "
        f"splits {', '.join(splits)} with at least one each: {shown}{gone}; bring pictures of more "
        f"people{alone}"
    )


def as_rejected(left: Iterable[Left]) -> list[Rejected]:
    """Rows of ``rejected.csv``, in the source's order."""
    return [Rejected(row.id, row.reason) for row in sorted(left, key=lambda row: row.order)]
