"""From signals to a served answer: both sides, the fused score, kinds never seen, p-values."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.metrics import roc_auc_score

from clarity.evaluate.calibration import calibrate
from clarity.evaluate.fused import Examples, Fused
from clarity.evaluate.panel import named, panel
from clarity.evaluate.sides import turning_point, two_sided
from clarity.evaluate.unseen import columns, cross_fit, unseen_kind

RNG = np.random.default_rng


def table(seed: int = 0, people: int = 60) -> pd.DataFrame:
    """Two kinds of anomaly that one signal each finds, and a third that both find; in one band the
    error of what was trained on is far smaller."""
    rng = RNG(seed)
    rows = []
    for split in ("train", "val", "gate", "test"):
        for person in range(people):
            mood = rng.normal(0, 0.5, 2)
            for kind, shift in (
                ("normal", (0, 0)), ("left", (3, 0)), ("right", (0, 3)), ("both", (2, 2)),
            ):  # fmt: skip
                if split == "train" and kind != "normal":
                    continue
                a, b = np.exp(mood + rng.normal(0, 0.8, 2) + shift)
                label = int(kind != "normal")
                useless, band = np.exp(rng.normal(0, 1, 2) - (0, FAMILIAR * (split == "train")))
                rows.append((split, label, f"{split}{person}", kind, a, b, useless, band))
    scores = ["score_a", "score_b", "score_useless", "score_band_4"]
    names = ["split", "label", "group", "kind", *scores]
    return pd.DataFrame(rows, columns=names)


#: How much smaller the logarithm of training normals' errors is, in one band.
FAMILIAR = 12.0


def detection_of(examples: Examples, model: Fused, kind: str) -> float:
    use = ~examples.anomalous | (examples.kinds == kind)
    return float(roc_auc_score(examples.anomalous[use], examples.score(model, use)))


@pytest.mark.parametrize("name", ["mse", "elbo"])
def test_far_below_every_normal_is_a_sign_too(name: str) -> None:
    normal = RNG(0).lognormal(size=200)
    turn = turning_point(name, normal)
    assert turn < normal.min()
    same = two_sided(name, torch.from_numpy(normal), turn)
    assert np.array_equal(same.numpy(), normal)
    falling = turn - np.linspace(0, 0.999, 9) * abs(turn) - (9.0 if name == "elbo" else 0.0)
    risen = two_sided(name, torch.from_numpy(falling), turn).numpy()
    assert (np.diff(risen) > 0).all()
    assert risen[-1] > normal.max()
    # A picture reconstructed without any error at all has a finite score too.
    assert np.isfinite(two_sided(name, torch.zeros(1, dtype=torch.float64), turn)).all()


def test_the_fused_score_weighs_what_helps_and_nothing_below_zero() -> None:
    val = Examples.of(table(), "val")
    fitted = cross_fit(val)
    assert fitted is not None
    weights = dict(zip(fitted.model.terms, fitted.model.weights, strict=True))
    assert min(weights.values()) >= 0
    assert min(weights["a"], weights["b"]) > 5 * weights["useless"]
    scores = {name: torch.tensor([1.0, 50.0, 1.0]).double() for name in ("b", "useless")}
    scores["a"] = torch.tensor([1.0, 1.0, 90.0]).double()
    served = fitted.model(scores).numpy()
    assert min(served[1], served[2]) > served[0]
    assert [set(names) for names in fitted.model.leading(scores)[1:]] == [
        {"b", "joint"}, {"a", "joint"}
    ]  # fmt: skip
    normal = ~val.anomalous
    assert val.score(fitted.model, normal).mean() == pytest.approx(0, abs=1e-9)
    assert val.score(fitted.model, normal).std() == pytest.approx(1)
    # Nobody is judged by a model that has seen another picture of the same person.
    folds = val.folds()
    for group in set(val.groups):
        assert len(set(folds[val.groups == group])) == 1


@pytest.mark.parametrize("people", [10, 60])
def test_what_was_trained_on_and_is_reconstructed_far_better_is_usual(people: int) -> None:
    known = table(people=people)
    val = Examples.of(known, "val")
    fitted = cross_fit(val)
    assert fitted is not None
    alarm = np.quantile(val.score(fitted.model, ~val.anomalous), 0.95)
    train = Examples.of(known, "train")
    everyone = np.ones(len(train.scores), bool)
    assert (train.score(fitted.model, everyone) <= alarm).mean() >= 0.9


def test_a_score_from_before_training_normals_had_a_part_is_read_as_it_was() -> None:
    val = Examples.of(table(), "val")
    model = val.fit(np.ones(len(val.scores), bool))
    numbers = model.as_numbers()
    del numbers["familiar"], numbers["least"], numbers["only_joint"]
    plain = replace(model, familiar=np.zeros_like(model.familiar), least=-np.inf)
    far = replace(val, scores=val.scores - 9)
    for examples in (val, far):
        everyone = np.ones(len(examples.scores), bool)
        read = examples.score(Fused.from_numbers(numbers), everyone)
        assert np.array_equal(read, examples.score(plain, everyone))


def test_a_kind_is_judged_by_a_fit_that_has_not_seen_it() -> None:
    frame = table()
    # "left" alone is found by a; without it only `joint` says that a is worth anything.
    frame.loc[frame["kind"] == "both", "score_a"] = RNG(1).lognormal(
        size=(frame["kind"] == "both").sum()
    )
    judged = {split: Examples.of(frame, split) for split in ("val", "gate", "test")}
    fitted = cross_fit(judged["val"])
    assert fitted is not None
    anomaly = {
        "fused": {s: {k: {"auroc": 0.9} for k in ("all", "both", "left", "right")} for s in judged},
        "a": {"val": {"all": {"auroc": 0.5}, "left": {"auroc": 0.8}}},
    }
    found = unseen_kind(anomaly, frame.assign(**columns(frame, fitted)))
    for split in judged:
        one = found["fused"][split]
        seen = detection_of(judged[split], fitted.model, "left")
        left, right = one["left"], one["right"]
        assert left is not None
        assert right is not None
        assert left < seen - 0.1
        assert right > 0.9
        assert one["mean"] == pytest.approx(np.mean([one[k] for k in ("both", "left", "right")]))
    # A single score is fitted to no anomaly.
    assert found["a"]["val"] == {"left": 0.8, "mean": 0.8}


def test_kinds_that_val_alone_has_are_fitted_to_and_choose_nothing() -> None:
    frame = table()
    frame = frame[(frame["split"] == "val") | frame["kind"].isin(["normal", "left"])]
    fitted = cross_fit(Examples.of(frame, "val"))
    assert fitted is not None
    kinds = {split: set(part["kind"]) - {"normal"} for split, part in frame.groupby("split")}
    areas = {"all": 0.5, "both": 0.6, "left": 0.7, "right": 0.8}
    anomaly = {
        name: {
            split: {kind: {"auroc": areas[kind]} for kind in {"all", *kinds[split]}}
            for split in ("val", "gate", "test")
        }
        for name in ("fused", "a")
    }
    found = unseen_kind(anomaly, frame.assign(**columns(frame, fitted)))
    assert found["a"]["val"] == {"both": 0.6, "left": 0.7, "right": 0.8, "mean": 0.7}
    for split in ("val", "gate", "test"):
        assert found["fused"][split]["mean"] == found["fused"][split]["left"]
    # None in common: all of them count.
    del anomaly["a"]["gate"]["left"]
    assert unseen_kind({"a": anomaly["a"]}, frame)["a"]["val"]["mean"] == pytest.approx(0.7)


def test_without_a_second_kind_there_is_nothing_to_be_left_out() -> None:
    frame = table()
    one = frame[frame["kind"].isin(["normal", "left"])]
    assert cross_fit(Examples.of(one, "val")) is None
    alone = frame.assign(id=frame["group"])[frame["group"] == "val0"]
    assert cross_fit(Examples.of(alone, "val")) is None


def test_where_all_are_of_one_group_pictures_are_left_out() -> None:
    frame = table()
    frame["id"] = frame["group"] + np.where(frame["label"] == 1, "#" + frame["kind"], "")
    one = Examples.of(frame.assign(group="line-3"), "val")
    assert (one.folds() == Examples.of(frame, "val").folds()).all()
    assert cross_fit(one) is not None


def test_the_alarm_is_raised_exactly_where_the_p_value_says_so() -> None:
    rng = RNG(3)
    groups = np.repeat(np.arange(40), rng.integers(1, 5, 40)).astype(str)
    scores = rng.normal(size=len(groups)).round(1)  # with ties
    for who, by in ((groups, "people"), (groups[:1].repeat(len(groups)), "pictures")):
        known = calibrate(scores, who, 0.05)
        assert known.by == by
        assert known.promised(0.05)
        new = np.linspace(-4, 4, 801)
        alarm = new > known.threshold(0.05)
        assert np.array_equal(known.p_values(new) <= 0.05 + 1e-9, alarm)
        assert 0 < alarm.mean() < 1
    few = calibrate(np.array([3.0, 1, 2]), np.array(["a", "b", "c"]), 0.05)
    assert (few.threshold(0.05), few.promised(0.05)) == (3, False)
    assert calibrate(np.arange(1.0, 100), np.arange(99).astype(str), 0.05).threshold(0.05) == 95


def test_new_people_raise_false_alarms_at_the_stated_rate() -> None:
    """Some people are odd in all their pictures, and have many: pictures are not witnesses."""
    rng = RNG(4)
    rates = []
    for _ in range(300):
        sizes = rng.choice([1, 1, 2, 12], 120)
        groups = np.repeat(np.arange(120), sizes)
        scores = rng.normal(size=120)[groups] * 2 + rng.normal(size=len(groups))
        seen, new = groups < 60, groups >= 60
        known = calibrate(scores[seen], groups[seen].astype(str), 0.05)
        raised = pd.Series(scores[new] > known.threshold(0.05))
        rates.append(float(raised.groupby(groups[new]).mean().mean()))
    assert 0.035 < np.mean(rates) <= 0.053


def test_the_panel_is_fixed_and_says_what_passes() -> None:
    normals = RNG(0).integers(0, 256, (6, 64, 64, 3), np.uint8)
    shown = panel(normals)
    assert shown.pictures.dtype == np.uint8
    assert shown.pictures.shape == (len(shown.names), 64, 64, 3)
    assert len(set(shown.names)) == 11
    assert np.array_equal(panel(normals.copy()).pictures, shown.pictures)
    alarms = np.ones(len(shown.names), bool)
    assert shown.judged(alarms)["let_through"] == {}
    alarms[[0, shown.names.index("gradient")]] = False
    found = shown.judged(alarms)
    assert found["let_through"] == {"black": 1.0, "gradient": 0.5}
    assert found["share"] == pytest.approx(1.5 / 11)
    assert named(found["let_through"]) == "black, gradient (50% of them)"
