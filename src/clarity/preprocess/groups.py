"""Who a picture belongs to: whatever its group's name is written like, and whichever copy stays."""

from __future__ import annotations

import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

#: What the source says where an image belongs; the first one keeps it.
PRECEDENCE = ("test", "gate", "val", "pool")


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
    #: Whether the source gave it a group; else it is one of its own.
    named: bool = True
    #: Whether all its pixels are the same.
    blank: bool = False
    #: Whether the source said the label; else it is taken for normal.
    said: bool = False
    #: Of an anomaly that the source brought.
    kind: str = ""
    #: Its mask, as `numpy.packbits` packs it.
    mask: bytes | None = None


class Names:
    """Names of groups, told apart as a reader would.

    Names that differ only in Unicode's form, in white space or in case are one, written as it came
    first. Numbers are text: 1 and 01 are two.
    """

    def __init__(self) -> None:
        self._first: dict[str, str] = {}
        self._said: dict[tuple[str, str], None] = {}

    def of(self, name: str) -> str:
        """The group that ``name`` stands for; empty where it is empty."""
        shown = " ".join(unicodedata.normalize("NFC", name).split()) or name
        first = self._first.setdefault(unicodedata.normalize("NFC", shown.casefold()), shown)
        if shown != first:
            self._said[first, shown] = None
        return first

    @staticmethod
    def alone(name: str) -> str:
        """The group of an image without one: its own name."""
        return unicodedata.normalize("NFC", name)

    def lines(self) -> list[str]:
        """What to say aloud."""
        return [f"groups {a} and {b} differ only in case and count as one" for a, b in self._said]


def alike(accepted: Sequence[Accepted]) -> Iterable[list[Accepted]]:
    """Images with the same pixels, the one that stays first."""
    same: defaultdict[str, list[Accepted]] = defaultdict(list)
    for image in sorted(
        accepted,
        key=lambda image: (PRECEDENCE.index(image.role), not image.named, image.order),
    ):
        same[image.sha256].append(image)
    return same.values()


def join_groups(accepted: Sequence[Accepted]) -> tuple[list[Accepted], list[str]]:
    """Groups that hold the very same picture are one person: they bear the first one's name.

    A picture of one shade shows nobody and joins nothing.

    Returns:
        The images with their groups, and what to say aloud.
    """
    parent: dict[str, str] = {}

    def root(name: str) -> str:
        while (above := parent.get(name, name)) != name:
            name = above
        return name

    said: list[str] = []
    order: dict[str, int] = {}
    for image in accepted:
        order.setdefault(image.group, image.order)
    for first, *others in alike([image for image in accepted if image.named and not image.blank]):
        for other in others:
            one, two = sorted((root(first.group), root(other.group)), key=order.__getitem__)
            if one != two:
                parent[two] = one
                said.append(
                    f"groups {first.group} and {other.group} hold the same picture "
                    f"({first.id}, {other.id}) and count as one, {one}"
                )
    if not parent:
        return list(accepted), []
    return [replace(image, group=root(image.group)) for image in accepted], said
