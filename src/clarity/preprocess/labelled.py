"""Who gets the anomalies that a source brings: val, gate and test by stated shares, never train.

docs/data.md has the rules. The groups of normals come first: an anomaly of somebody whose normals
are in a split is in that split, or nowhere.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass

import numpy as np

from clarity.layout import JUDGED_SPLITS
from clarity.params import Labelled
from clarity.preprocess.groups import Accepted
from clarity.preprocess.split import deal

Divided = Mapping[str, Sequence[Accepted]]
PARAMETER = "preprocess.anomalies.labelled"


@dataclass(frozen=True)
class Dealt:
    """Where the labelled anomalies of a source are.

    Attributes:
        divided: the images of each split, anomalies among them.
        left: anomalies that no split takes, with the reason.
        said: what to say aloud.
    """

    divided: dict[str, list[Accepted]]
    left: list[tuple[Accepted, str]]
    said: list[str]


def deal_anomalies(
    divided: Divided, pool: Sequence[Accepted], own: Set[str], labelled: Labelled | None, seed: int
) -> Dealt:
    """Add the labelled anomalies of the pool, and share those of the source's own test set.

    Args:
        divided: normals by split, and the images of splits that the source brings.
        pool: labelled anomalies that the source puts into no judged split.
        own: splits that the source brings.
        labelled: shares and the smallest number; None: nothing is shared.
        seed: of the shuffle.
    """
    out = {split: list(images) for split, images in divided.items()}
    home = {im.group: split for split, images in out.items() for im in images if im.label == 0}
    left: list[tuple[Accepted, str]] = []
    free: list[Accepted] = []
    for image in pool:
        split = home.get(image.group)
        if split is None:
            free.append(image)
        elif split == "train" or split in own:
            left.append((image, f"an anomaly of group {image.group}, which is in {split}"))
        else:
            out[split].append(image)
    said: list[str] = []
    shares = labelled.shares if labelled else {}
    wanting = {s: share for s, share in shares.items() if s not in own and share > 0}
    minimum = labelled.minimum if labelled else 0
    if free:
        rest = {} if "test" in own else {"test": max(1 - sum(shares.values()), 0.0)}
        found = _shared(free, wanting | rest, minimum, seed) if wanting else None
        if found:
            for split, images in found.items():
                out[split] += images
        elif rest:
            out["test"] += free
            if wanting:
                said.append(_too_few(len(free), [*wanting, *rest], minimum))
        else:
            left += [(image, "labelled an anomaly, outside the test set") for image in free]
    if "test" in own:
        said += _from_test(out, home, shares, minimum, seed)
    counts = {split: sum(image.label for image in out[split]) for split in JUDGED_SPLITS}
    if any(counts.values()):
        found_in = ", ".join(f"{count} in {split}" for split, count in counts.items())
        said.append(f"labelled anomalies: {found_in}")
    return Dealt({split: _ordered(images) for split, images in out.items()}, left, said)


def _from_test(
    out: dict[str, list[Accepted]],
    home: Mapping[str, str],
    shares: Mapping[str, float],
    minimum: int,
    seed: int,
) -> list[str]:
    """Take shares for val and gate, where they have none, from the source's own test set."""
    wanting = {
        split: share
        for split, share in shares.items()
        if share > 0 and not any(image.label for image in out[split])
    }
    free = [image for image in out["test"] if image.label and image.group not in home]
    if not wanting or not free:
        return []
    rest = {"test": max(1 - sum(wanting.values()), 0.0)}
    found = _shared(free, wanting | rest, minimum, seed)
    if found is None:
        return [_too_few(len(free), [*wanting, "test"], minimum)]
    moved = {image.id for split in wanting for image in found[split]}
    out["test"] = [image for image in out["test"] if image.id not in moved]
    for split in wanting:
        out[split] += found[split]
    return [
        f"{len(moved)} of {len(free)} labelled anomalies of the source's test set judge in "
        f"{' and '.join(wanting)} ({PARAMETER}; null keeps the test set whole)"
    ]


def _shared(
    images: Sequence[Accepted], shares: Mapping[str, float], minimum: int, seed: int
) -> dict[str, list[Accepted]] | None:
    """Whole groups by their shares, every kind alike; None where a split would get too few."""
    members: defaultdict[str, list[Accepted]] = defaultdict(list)
    for image in images:
        members[image.group].append(image)
    names = sorted(members)
    shuffled = [names[i] for i in np.random.default_rng(seed).permutation(len(names))]
    kinds = {g: Counter(i.kind for i in its).most_common(1)[0][0] for g, its in members.items()}
    # Kind after kind, so that the splits' shares hold within each of them.
    shuffled.sort(key=kinds.__getitem__)
    given = {split: share for split, share in shares.items() if share > 0}
    found = {
        split: [image for name in groups for image in members[name]]
        for split, groups in deal(shuffled, given).items()
    }
    return None if any(len(part) < minimum for part in found.values()) else found


def _too_few(count: int, splits: Sequence[str], minimum: int) -> str:
    return (
        f"{count} labelled anomalies are too few for {', '.join(splits)} to get {minimum} each by "
        f"their shares ({PARAMETER}): all are in test, and synthetic ones choose score and model; "
        f"lower {PARAMETER}.minimum to choose by yours"
    )


def _ordered(images: Sequence[Accepted]) -> list[Accepted]:
    return sorted(images, key=lambda image: image.order)
