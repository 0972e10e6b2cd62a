"""Who goes into which split: whole groups, by their shares, the same for the same seed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from clarity.errors import ClarityError


def assign(groups: Sequence[str], shares: Mapping[str, float], seed: int) -> dict[str, str]:
    """Give every group one split, so that the splits hold the shares of groups.

    The groups are shuffled, ordered by size (stable, largest first) and dealt out one by one, each
    to the split that is furthest behind its share. So every split gets its share of people and
    also large and small groups alike. A split left empty gets the smallest group of the split
    that has most.

    Args:
        groups: the group of every image; an image without one is a group of its own.
        shares: by split, above 0; divided by their sum.
        seed: of the shuffle.

    Returns:
        The split of each group.

    Raises:
        ClarityError: fewer groups than splits.
    """
    sizes = Counter(groups)
    if len(sizes) < len(shares):
        raise ClarityError(f"{len(sizes)} groups cannot fill {len(shares)} splits")
    names = sorted(sizes)
    shuffled = [names[i] for i in np.random.default_rng(seed).permutation(len(names))]
    shuffled.sort(key=lambda name: -sizes[name])
    dealt = deal(shuffled, shares)
    for empty in (members for members in dealt.values() if not members):
        empty.append(max(dealt.values(), key=len).pop())
    return {name: split for split, members in dealt.items() for name in members}


def deal(names: Sequence[str], shares: Mapping[str, float]) -> dict[str, list[str]]:
    """Names one by one, in this order, each to the split that is furthest behind its share."""
    splits = list(shares)
    weights = np.array([shares[split] for split in splits])
    weights = weights / weights.sum()
    dealt: dict[str, list[str]] = {split: [] for split in splits}
    counts = np.zeros(len(splits))
    for number, name in enumerate(names, start=1):
        # Rounded, so that equal shares tie exactly and the first split wins.
        behind = int(np.argmax(np.round(weights * number - counts, 9)))
        dealt[splits[behind]].append(name)
        counts[behind] += 1
    return dealt
