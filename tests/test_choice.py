"""Which score a model is judged and served by: one rule for one training and for several."""

from __future__ import annotations

import math

from clarity.choice import best_score
from clarity.details import Separation


def details(**figures: float | None) -> Separation:
    """Of an evaluation: mean AUROC over kinds never seen by score."""
    return Separation(
        anomaly={name: {} for name in figures},
        unseen_kind={name: {"val": {"mean": figure}} for name, figure in figures.items()},
    )


def test_the_largest_mean_over_trainings_and_of_equals_the_simplest() -> None:
    assert best_score([details(latent=0.7, mse=0.6)]) == ("latent", 0.7)
    assert best_score([details(peak=0.9, latent=0.9, other=0.9)]) == ("peak", 0.9)
    seeds = [details(latent=0.9, mse=0.8), details(latent=0.5, mse=0.8)]
    assert best_score(seeds) == ("mse", 0.8)


def test_the_fused_one_where_every_training_has_it() -> None:
    assert best_score([details(peak=0.93, fused=0.90)]) == ("fused", 0.90)
    seeds = [details(peak=0.93, fused=0.90), details(peak=0.93, fused=None)]
    assert best_score(seeds) == ("peak", 0.93)


def test_without_figures_on_val_the_simplest_there_is() -> None:
    name, figure = best_score([details(peak=None, ssim=None)])
    assert name == "ssim"
    assert math.isnan(figure)
    # A score that one seed has no figure of cannot be compared.
    assert best_score([details(mse=0.6, latent=0.9), details(mse=0.6, latent=None)])[0] == "mse"


def test_an_evaluation_from_before_kinds_were_left_out_is_chosen_by_all_kinds() -> None:
    areas = {"mse": 0.6, "lsd": 0.7}
    old = Separation(anomaly={n: {"val": {"all": {"auroc": a}}} for n, a in areas.items()})
    assert best_score([old]) == ("lsd", 0.7)
