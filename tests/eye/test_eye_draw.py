"""Pairs: balanced, followed by a seed alone, and shares with honest intervals."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from clarity.errors import ClarityError
from clarity.eye.draw import Deck, Item, Trial, draw
from clarity.params import Model
from clarity.statistics.shares import share_interval

MODELS = {
    **{f"conv-{size}": Model(family="conv", widths=(size, 8)) for size in (4, 8, 16)},
    **{f"fcn-{size}": Model(family="fcn", widths=(size,), latent=3) for size in (4, 8, 16)},
    **{f"pca-{size}": Model(family="pca", latent=size) for size in (3, 64)},
}
ITEMS = [Item(n, f"s{n % 6}/{n}", f"s{n % 6}", f"digest {n}") for n in range(60)]
DECK = Deck("reconstructions", "test", 96, 5, 0.5, 12, (0, 1), ("ab12cd",))


def spread(counted: Counter) -> int:
    return max(counted.values()) - min(counted.values())


def test_everything_that_could_favour_a_side_is_balanced() -> None:
    trials = draw(DECK, MODELS, ITEMS)
    assert [trial.number for trial in trials] == list(range(1, 109))
    fresh = [trial for trial in trials if trial.repeats is None]
    inside = [trial for trial in fresh if trial.within]
    assert len(fresh) == 96
    assert len(inside) == 48
    assert not any(trial.families == ("pca", "pca") for trial in fresh)
    for part in (inside, [trial for trial in fresh if not trial.within]):
        assert spread(Counter(frozenset(trial.families) for trial in part)) == 0
        assert spread(Counter(trial.item.group for trial in part)) == 0
        assert spread(Counter(trial.left.seed for trial in part)) <= 1
    assert all(trial.left.seed == trial.right.seed for trial in fresh)
    left = Counter((t.left.model, t.right.model) for t in fresh)
    assert all(abs(count - left[b, a]) <= 1 for (a, b), count in left.items())
    assert max(Counter(trial.item.place for trial in fresh).values()) <= 3
    assert len({(t.item, frozenset((t.left, t.right))) for t in fresh}) == 96


def test_repeats_come_later_with_sides_swapped() -> None:
    trials = draw(DECK, MODELS, ITEMS)
    again = [trial for trial in trials if trial.repeats is not None]
    assert len(again) == 12
    for trial in again:
        assert trial.repeats is not None
        first: Trial = trials[trial.repeats - 1]
        assert first.number < trial.number
        assert (first.item, first.left, first.right) == (trial.item, trial.right, trial.left)


def test_a_seed_is_a_draw_and_a_line_of_text_is_a_deck() -> None:
    assert draw(DECK, MODELS, ITEMS) == draw(Deck.parse(str(DECK)), MODELS, ITEMS)
    assert draw(replace(DECK, seed=6), MODELS, ITEMS) != draw(DECK, MODELS, ITEMS)


def test_more_pairs_than_there_are_is_refused_and_all_there_are_is_not() -> None:
    few = {name: MODELS[name] for name in ("conv-4", "conv-8")}
    deck = replace(DECK, pairs=120, repeats=0)
    assert len({(t.item, t.left.seed) for t in draw(deck, few, ITEMS)}) == 120
    with pytest.raises(ClarityError, match="only 120"):
        draw(replace(deck, pairs=121), few, ITEMS)


@pytest.mark.parametrize(("lookers", "people"), [(1, 8), (3, 20), (6, 8)])
def test_the_interval_of_a_share_covers_what_it_should(lookers: int, people: int) -> None:
    rng = np.random.default_rng(3)
    groups, eyes = (part.ravel() for part in np.meshgrid(np.arange(people), np.arange(lookers)))
    groups, eyes = np.repeat(groups, 12 // lookers), np.repeat(eyes, 12 // lookers)
    covered = 0
    for _ in range(300):
        # Beta-distributed people: an intraclass correlation of 0.1 about a mean of 0.88.
        of_person = rng.beta(0.88 * 9, 0.12 * 9, people)
        hits = rng.random(len(groups)) < of_person[groups]
        interval = share_interval(hits, groups, eyes)
        assert 0 <= interval.low <= interval.estimate <= interval.high <= 1
        covered += interval.low <= 0.88 <= interval.high
    assert covered / 300 >= 0.93


def test_all_agreeing_looks_are_no_certainty_and_one_person_tells_nothing() -> None:
    sure = share_interval(np.ones(60), np.arange(60) % 6, np.zeros(60))
    assert sure.high == 1
    assert 0.8 < sure.low < 0.95
    wider = share_interval(np.ones(60), np.arange(60) % 6, np.zeros(60), least_effect=2.0)
    assert wider.low < sure.low
    alone = share_interval(np.ones(60), np.zeros(60), np.zeros(60))
    assert (alone.low, alone.high) == (0, 1)
