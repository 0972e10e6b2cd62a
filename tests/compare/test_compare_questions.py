"""Two questions about size, what must hold for them, and what stands beside the answers."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
from judging import asked, judged, rows
from synthetic_evaluations import DEFAULT, write_params

from clarity.compare.detection import near_chance
from clarity.compare.reading import load_results
from clarity.errors import ClarityError
from clarity.layout import Training
from clarity.params import load_params


def budgets(name: str, seed: int = 0, **changed: float | None) -> None:
    """Rewrite a training's budgets: ``alike`` to so many epochs, ``compute`` to so many GFLOP."""
    path = Training(name, seed).description
    content = json.loads(path.read_text())
    if "alike" in changed:
        content["budgets"]["alike"]["epochs"] = changed["alike"]
    if changed.get("compute") is not None:
        content["budgets"]["compute"]["gflop_per_image"] = changed["compute"]
    elif "compute" in changed:
        content["budgets"]["compute"] = None
    path.write_text(json.dumps(content))


def test_sizes_trained_differently_get_no_headline_but_the_reason(one_seed: Path) -> None:
    budgets("fcn-small", alike=100)
    budgets("conv-large", compute=9.0)
    data = judged()
    alike, compute = asked(data, "alike"), asked(data, "compute")
    assert {c["family"] for c in alike["comparisons"]} == {"conv"}
    assert alike["withheld"]["fcn"] == "not trained alike: fcn-small 100, fcn-large 20 epochs"
    assert "no answer, not trained alike" in alike["headlines"]["test"]
    assert {c["family"] for c in compute["comparisons"]} == {"fcn"}
    assert compute["withheld"]["conv"].startswith("not for the same compute: conv-small 2,")


def test_what_is_several_times_as_far_off_is_not_told_in_per_cent(one_seed: Path) -> None:
    table = Training("fcn-large", 0).same_compute_table
    frame = pd.read_parquet(table)
    frame["haarpsi"] = 1 - 2 * (1 - frame["haarpsi"])
    frame.to_parquet(table, index=False)
    told = asked(judged(), "compute")["headlines"]["train"]
    # Twice 1.25 × 0.275 against 0.9 × 0.35.
    assert "Fcn no, the larger is less clear, 2.2 times as far from the original" in told


def test_without_a_budget_of_compute_the_question_was_not_asked(one_seed: Path) -> None:
    for name, (family, *_) in DEFAULT.items():
        if family != "pca":
            budgets(name, compute=None)
    data = judged()
    assert asked(data, "compute")["not_tested"] == "not asked (train.compute is empty)"
    sentences = [line["sentence"] for line in data["answer"]]
    assert sentences[1] == "For the same compute: not asked (train.compute is empty)."


def test_the_answer_is_two_lines_with_a_family_each(one_seed: Path) -> None:
    from clarity.compare import answer

    data = judged()
    alike, compute, where = answer.lines(data)
    assert alike.startswith("Trained alike, does a larger model reconstruct more clearly? On ")
    assert compute.startswith("For the same compute, does a larger model reconstruct more clearly?")
    for line in (alike, compute):
        assert "On unseen people: fcn " in line
        assert "On training faces: fcn " in line
        assert "conv yes, by " in line
        assert "nothing is confirmed" in line
    assert where.endswith("reports/index.html")


def test_a_linear_model_that_is_ahead_of_a_family_is_named_in_its_answer(one_seed: Path) -> None:
    data = judged()
    for question, line in zip(("alike", "compute"), data["answer"], strict=True):
        (family, found), *others = asked(data, question)["linear"].items()
        assert (family, found["pca"], others) == ("fcn", "pca-64", [])
        assert min(effect["low"] for effect in found["effects"]) > 0
        told = found["sentence"]
        assert told.startswith(
            "A linear model, pca-64, reconstructs unseen people more clearly than fcn-small and "
            "fcn-large: HaarPSI 0."
        )
        assert told.endswith("with a latent of 64 against 3.")
        brief = "A linear model, pca-64, is clearer on unseen people than fcn-small (by "
        assert line["sentence"].count(brief) == line["sentence"].count("pca") == 1
    without = {name: spec for name, spec in DEFAULT.items() if name != "pca-64"}
    write_params(one_seed, without, (0,))
    data = judged()
    assert "linear" not in asked(data, "alike")
    assert "A linear model" not in data["answer"][0]["sentence"]


def test_a_model_says_whether_it_had_converged(one_seed: Path) -> None:
    """Of these, the fcn level off at their budget's end, and the conv are still on their way."""
    data = judged()
    fell = {name: both["alike"] for name, both in data["convergence"].items()}
    assert {name: one["converged"] for name, one in fell.items()} == {
        "fcn-small": True, "fcn-large": True, "conv-small": False, "conv-large": False,
    }  # fmt: skip
    curve = pd.read_csv(Training("conv-small", 0).curves)["val_mse"]
    wanted = 1 - curve[:21].min() / curve[:16].min()
    assert fell["conv-small"]["fell"] == pytest.approx(wanted)
    for headline in asked(data, "alike")["headlines"].values():
        assert "conv-small and conv-large had not converged" in headline
    assert any("All sizes of fcn had converged" in r for r in asked(data, "alike")["remarks"])


def test_measures_that_see_the_opposite_are_named(one_seed: Path) -> None:
    alike = asked(judged(), "alike")
    by_family = {
        c["family"]: c["against"] for c in alike["comparisons"] if c["population"] == "train"
    }
    assert by_family == {"fcn": [], "conv": ["lsd"]}
    conv = next(line for line in alike["dissent"]["train"] if "For conv" in line)
    assert "LSD" in conv
    assert "see the opposite" in conv or "sees the opposite" in conv


@pytest.mark.parametrize("measure", ["gmsd", "mse", "vif"])
def test_another_measure_may_judge(one_seed: Path, measure: str) -> None:
    write_params(one_seed, DEFAULT, (0,), measure=measure)
    data = judged()
    assert data["measure"]["key"] == measure
    reading = {
        c["family"]: c["reading"]
        for c in asked(data, "alike")["comparisons"]
        if c["population"] == "train"
    }
    assert reading == {"fcn": "yes", "conv": "yes"}
    measures = load_results(load_params()).measures
    assert measures[0] == measure


def test_a_measure_without_a_distance_is_refused(one_seed: Path) -> None:
    write_params(one_seed, DEFAULT, (0,), measure="psnr")
    with pytest.raises(ClarityError, match=r"compare\.measure: .* there are mse, mae, haarpsi"):
        load_params()


def test_no_interval_leaves_the_bounds_of_its_quantity(three_seeds: Path) -> None:
    """One test person is far off, so that plain intervals would end below 0."""
    index = pd.read_csv("data/processed/index.csv")
    odd = index.loc[index["split"] == "test", "group"].iloc[0]
    for path in Path("evaluations").glob("*/per_image.parquet"):
        frame = pd.read_parquet(path)
        mine = frame["group"] == odd
        frame.loc[mine, "mse"] *= 40
        frame.loc[mine, "haarpsi"] = 0.05
        frame.loc[mine, "lsd"] *= 40
        frame.to_parquet(path, index=False)
    for row in rows(load_results(load_params())):
        for name, value in row.items():
            if not name.endswith(("_low", "_high")) or value is None:
                continue
            assert value > 0 or "ssim" in name, name
            if "haarpsi" in name or "false_alarms" in name or "auroc" in name:
                assert value <= 1, name


def test_false_alarms_made_stand_beside_those_set(one_seed: Path) -> None:
    frame = pd.read_parquet(Training("fcn-small", 0).per_image)
    row = next(r for r in rows(load_results(load_params())) if r["model"] == "fcn-small")
    score = frame[f"score_{row['score']}"]
    limit = json.loads(Training("fcn-small", 0).details.read_text())["threshold"][row["score"]]
    test = (frame["split"] == "test") & (frame["label"] == 0)
    assert row["false_alarms"] == pytest.approx((score[test] > limit["value"]).mean())
    assert row["false_alarm_rate"] == 0.05


def test_a_kind_that_no_model_finds_is_named_with_what_it_may_mean(one_seed: Path) -> None:
    results = load_results(load_params())
    assert near_chance(results, rows(results)) == []
    for path in Path("evaluations").glob("*/per_image.parquet"):
        frame = pd.read_parquet(path)
        for split in ("val", "gate", "test"):
            here = frame["split"] == split
            normal = frame.loc[here & (frame["label"] == 0), ["score_mse", "score_ssim"]]
            upside_down = here & (frame["kind"] == "inverted")
            frame.loc[upside_down, ["score_mse", "score_ssim"]] = normal.to_numpy()
        frame.to_parquet(path, index=False)
    results = load_results(load_params())
    (told,) = near_chance(results, rows(results))
    assert told.startswith("No model tells inverted from normal images (AUROC 0.50; 0.5 is chance)")
    assert "round or symmetric parts turned by 180° are none" in told
    assert "Without inverted in preprocess.anomalies.kinds it is left out." in told


def test_the_finest_detail_is_where_half_the_power_is_in_its_place(one_seed: Path) -> None:
    """By design half of it is lost at 2.4 / distance cycles an image."""
    found = {row["model"]: row for row in rows(load_results(load_params()))}
    for name, distance in (("fcn-small", 0.35), ("pca-64", 0.225), ("conv-small", 0.1)):
        row = found[name]
        wanted = 64 / (2 * 2.4 / distance)
        assert row["train_finest"] == pytest.approx(wanted, rel=0.05)
        assert row["train_finest_low"] <= row["train_finest"] <= row["train_finest_high"]


def test_a_group_is_a_person_only_where_the_source_says_so(one_seed: Path) -> None:
    path = Path("data/raw/source.json")
    path.write_text(path.read_text().replace('"faces"', '"folder"'))
    text = json.dumps(judged())
    assert "people" not in text.replace('"people"', "").replace("resampled_people", "").replace(
        "people crossed", ""
    ).replace("people_share", "").replace("df_people", "")
    assert "faces" not in text
    assert "images of unseen groups" in text
