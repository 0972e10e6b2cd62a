"""Which pairs are shown, in which order and on which sides: all of it follows from a deck.

A deck is a line of text that stands in every answer. It names what was asked and the seed, and
neither a model nor a side; with the project that it was drawn from, it gives the pairs again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations, product
from typing import TypeVar

import numpy as np

from clarity.errors import ClarityError
from clarity.files import sha256_bytes
from clarity.layout import SPLITS, Training
from clarity.params import Model

T = TypeVar("T")
#: What can be looked at; docs/eye.md says what each asks.
KINDS = ("reconstructions", "samples", "sharpness", "interpolations")


@dataclass(frozen=True)
class Deck:
    """What a look consists of.

    Attributes:
        what: one of `KINDS`.
        split: whose images; of samples and interpolations too.
        pairs: number of different pairs.
        seed: of the draw.
        within: share of the pairs whose models are of one family.
        repeats: number of pairs shown again, sides swapped.
        seeds: of the trainings.
        pool: `name_digest` of every model that may be shown.
    """

    what: str
    split: str
    pairs: int
    seed: int
    within: float
    repeats: int
    seeds: tuple[int, ...]
    pool: tuple[str, ...]

    def __str__(self) -> str:
        seeds = "+".join(str(seed) for seed in self.seeds)
        return ":".join(
            [
                *(self.what, self.split, str(self.pairs), str(self.seed), f"{self.within:g}"),
                *(str(self.repeats), seeds, "+".join(self.pool)),
            ]
        )

    @classmethod
    def parse(cls, text: str) -> Deck:
        """The deck that a line stands for.

        Raises:
            ValueError: it stands for none.
        """
        what, split, pairs, seed, within, repeats, seeds, pool = text.split(":")
        deck = cls(
            what,
            split,
            int(pairs),
            int(seed),
            float(within),
            int(repeats),
            tuple(int(number) for number in seeds.split("+")),
            tuple(pool.split("+")),
        )
        possible = (
            what in KINDS
            and split in SPLITS
            and deck.pairs >= 1
            and 0 <= deck.within <= 1
            and min(deck.seed, deck.repeats, *deck.seeds) >= 0
        )
        if not possible or str(deck) != text:
            raise ValueError(text)
        return deck


@dataclass(frozen=True)
class Item:
    """What both sides of a pair show: a face, a place among samples, a walk between two faces.

    Attributes:
        place: the row of the split's normals, or the number of the sample or of the walk.
        name: for people to find it again.
        group: the person; looks at one person's pictures are not independent.
        digest: of its content.
    """

    place: int
    name: str
    group: str
    digest: str


@dataclass(frozen=True)
class Trial:
    """One pair as it is shown, ``number`` counting from 1."""

    number: int
    item: Item
    left: Training
    right: Training
    families: tuple[str, str]
    repeats: int | None = None

    @property
    def within(self) -> bool:
        """Whether both models are of one family."""
        return self.families[0] == self.families[1]

    def key(self, deck: Deck, weights: dict[Training, str]) -> str:
        """Twelve digits that only this pair of these weights has, and that tell nothing."""
        parts = (str(deck), self.number, self.item.digest, weights[self.left], weights[self.right])
        return sha256_bytes("\0".join(map(str, parts)).encode())[:12]


def name_digest(name: str) -> str:
    """Six digits for a model's name."""
    return sha256_bytes(name.encode())[:6]


def draw(deck: Deck, models: dict[str, Model], items: Sequence[Item]) -> list[Trial]:
    """The trials of a deck, in the order in which they are shown.

    Families, pairs of models, people, their images and seeds are each drawn equally often, as far
    as the numbers divide, and each pair of models stands equally often either way round.

    Args:
        models: the pool, by name, in the order of params.yaml.
        items: of which the trials are drawn.

    Raises:
        ClarityError: there are not so many different pairs.
    """
    rng = np.random.default_rng(deck.seed)
    contests = _contests(deck.what, models)
    numbers = _numbers(deck, contests, len(items))
    drawn: list[Trial] = []
    for within, count in numbers.items():
        drawn += _pairs(contests[within], count, deck.seeds, items, models, rng)
    order = [drawn[place] for place in rng.permutation(len(drawn))]
    half = len(order) // 2
    again = sorted(int(place) for place in rng.permutation(half)[: deck.repeats])
    late: list[tuple[Trial, int | None]] = [(trial, None) for trial in order[half:]]
    late += [(order[place], place + 1) for place in again]
    shown: list[tuple[Trial, int | None]] = [(trial, None) for trial in order[:half]]
    shown += [late[place] for place in rng.permutation(len(late))]
    return [_numbered(trial, number + 1, first) for number, (trial, first) in enumerate(shown)]


def _numbered(trial: Trial, number: int, first: int | None) -> Trial:
    sides = (trial.left, trial.right) if first is None else (trial.right, trial.left)
    families = trial.families if first is None else trial.families[::-1]
    return Trial(number, trial.item, *sides, families, first)


#: By the families of two models: the pairs of models.
Contests = dict[tuple[str, str], list[tuple[str, str]]]


def _contests(what: str, models: dict[str, Model]) -> dict[bool, Contests]:
    """Pairs of models by their families, within one family (True) and between two (False)."""
    found: dict[bool, Contests] = {True: {}, False: {}}
    for a, b in combinations(models, 2):
        families = tuple(sorted((models[a].family, models[b].family)))
        within = families[0] == families[1]
        # Of linear models no claim about size is made: compared with other families only.
        if not (within and models[a].traits.linear):
            found[within].setdefault((families[0], families[1]), []).append((a, b))
    if what != "reconstructions":
        # Between families the claims are about models of one size.
        alike = {
            families: [p for p in pairs if models[p[0]].widths == models[p[1]].widths]
            for families, pairs in found[False].items()
        }
        alike = {families: pairs for families, pairs in alike.items() if pairs}
        found[False] = alike or found[False]
    return found


def _numbers(deck: Deck, contests: dict[bool, Contests], items: int) -> dict[bool, int]:
    """How many pairs within a family and between two; all of one sort where the other has none."""
    have = {
        sort: sum(map(len, by_family.values())) * len(deck.seeds) * items
        for sort, by_family in contests.items()
    }
    inside = round(deck.pairs * deck.within)
    if not have[False]:
        inside = deck.pairs
    if not have[True]:
        inside = 0
    numbers = {True: inside, False: deck.pairs - inside}
    for sort, count in numbers.items():
        if count > have[sort]:
            where = "within a family" if sort else "between families"
            raise ClarityError(
                f"--pairs {deck.pairs}: {count} of them {where}, but there are only {have[sort]} "
                "different ones; ask for fewer, or add models or images"
            )
    if deck.repeats > deck.pairs // 2:
        raise ClarityError(
            f"--repeats: {deck.repeats} of {deck.pairs} pairs again; at most half of them"
        )
    return numbers


def _pairs(
    contests: Contests,
    count: int,
    seeds: Sequence[int],
    items: Sequence[Item],
    models: dict[str, Model],
    rng: np.random.Generator,
) -> list[Trial]:
    families = _rounds(list(contests), rng)
    pairs = {key: _rounds(found, rng) for key, found in contests.items()}
    people: dict[str, list[Item]] = {}
    for item in items:
        people.setdefault(item.group, []).append(item)
    turns = _rounds(list(people), rng)
    left_first = {pair: bool(rng.integers(2)) for found in contests.values() for pair in found}
    times: Counter[Hashable] = Counter()
    trials: list[Trial] = []
    while len(trials) < count:
        pair = next(pairs[next(families)])
        # Of this person's images and the seeds: what was shown least, of equals any.
        ways = list(product(people[next(turns)], seeds))
        shown = [
            (times[item, pair, seed], times[item], times[seed], times[pair, seed])
            for item, seed in ways
        ]
        equal = [way for way, before in zip(ways, shown, strict=True) if before == min(shown)]
        item, seed = equal[int(rng.integers(len(equal)))]
        if times[item, pair, seed]:
            continue
        times.update([(item, pair, seed), item, seed, (pair, seed)])
        sides = pair if left_first[pair] else pair[::-1]
        left_first[pair] = not left_first[pair]
        trials.append(
            Trial(
                0,
                item,
                Training(sides[0], seed),
                Training(sides[1], seed),
                (models[sides[0]].family, models[sides[1]].family),
            )
        )
    return trials


def _rounds(things: Sequence[T], rng: np.random.Generator) -> Iterator[T]:
    """The things in random order, then again in another, without end."""
    while True:
        for place in rng.permutation(len(things)):
            yield things[place]
