"""The stage by its real command on a tiny project: all families, every output, equal bytes."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from evaluated import COUNTS, EVALUATE, MODELS, TRAIN, make_world, run
from PIL import Image
from sklearn.metrics import roc_auc_score

from clarity.choice import FUSED

DECLARED = (
    "details.json", "metrics.json", "per_image.parquet", "same_compute.parquet",
    "frequency.safetensors", "scorer.safetensors", "figures",
)  # fmt: skip


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project whose five tiny models are trained and evaluated."""
    path = make_world(tmp_path_factory.mktemp("evaluate"), MODELS)
    run(path, "-c", TRAIN, *MODELS)
    run(path, "-c", EVALUATE, *MODELS)
    return path


def details(project: Path, model: str) -> dict:
    return json.loads((project / f"evaluations/{model}-0/details.json").read_text())


@pytest.mark.parametrize("model", MODELS)
def test_the_table_keeps_the_index_and_the_contract(project: Path, model: str) -> None:
    table = pd.read_parquet(project / f"evaluations/{model}-0/per_image.parquet")
    index = pd.read_csv(project / "data/processed/index.csv")
    for name in ("split", "label", "row", "id", "group", "kind"):
        assert table[name].tolist() == index[name].tolist()
    for name in ("mse", "mae", "psnr", "ssim", "lsd", "pixel_auroc", "recon_nats", "kl_nats"):
        assert table[name].dtype == np.float64
    scores = [name for name in table.columns if name.startswith("score_")]
    assert np.isfinite(table[["mse", "mae", "psnr", "ssim", "lsd", *scores]]).all(axis=None)
    assert (table["signal_mse"] == table["mse"]).all()
    known = (table["split"] == "val") & (table["label"] == 0)
    assert (table["score_mse"] == table["mse"])[known].all()
    masked = index["has_mask"] == 1
    assert table.loc[masked, "pixel_auroc"].between(0, 1).all()
    assert table.loc[~masked, "pixel_auroc"].isna().all()
    variational = model == "vae-tiny"
    assert table["kl_nats"].notna().all() == variational
    assert ("score_elbo" in scores) == variational


@pytest.mark.parametrize("model", MODELS)
def test_figures_follow_from_the_table(project: Path, model: str) -> None:
    found = details(project, model)
    table = pd.read_parquet(project / f"evaluations/{model}-0/per_image.parquet")
    test = table[table["split"] == "test"]
    normals = test[test["label"] == 0]
    assert found["reconstruction"]["test"]["lsd"] == pytest.approx(normals["lsd"].mean())
    best = found["best_score"]
    one = test[(test["label"] == 0) | (test["kind"] == "dent")]
    area = roc_auc_score(one["label"], one[f"score_{best}"])
    assert found["anomaly"][best]["test"]["dent"]["auroc"] == pytest.approx(area)
    on_val = {name: splits["val"]["mean"] for name, splits in found["unseen_kind"].items()}
    assert best == (FUSED if FUSED in on_val else max(on_val, key=lambda name: on_val[name]))
    assert set(on_val) == set(found["anomaly"])
    entry = found["threshold"][best]
    flagged = test[f"score_{best}"] > entry["value"]
    assert entry["test_false_alarms"] == pytest.approx(flagged[test["label"] == 0].mean())
    trained_on = table[table["split"] == "train"][f"score_{best}"] > entry["value"]
    assert entry["train_false_alarms"] == pytest.approx(trained_on.mean())
    assert entry["test_misses"] == pytest.approx(1 - flagged[test["label"] == 1].mean())
    on_val_normals = table[(table["split"] == "val") & (table["label"] == 0)][f"score_{best}"]
    assert (on_val_normals > entry["value"]).mean() <= 0.05
    metrics = json.loads((project / f"evaluations/{model}-0/metrics.json").read_text())
    assert set(metrics) == {
        "parameters", "flops", "latent", "train_haarpsi", "test_haarpsi", "train_mse", "test_mse",
            "test_psnr", "test_ssim",
        "test_lsd", "train_lsd", "auroc", "ap", "auroc_unseen_kind", "panel_let_through",
    }  # fmt: skip
    assert metrics["auroc_unseen_kind"] == found["unseen_kind"][best]["test"]["mean"]
    if best == FUSED:
        for column in (name for name in table.columns if name.startswith("unseen_")):
            kind = column.removeprefix("unseen_")
            one = test[(test["label"] == 0) | (test["kind"] == kind)]
            area = roc_auc_score(one["label"], one[column])
            assert found["unseen_kind"][best]["test"][kind] == pytest.approx(area)
    assert metrics["panel_let_through"] == found["panel"][best]["share"]
    if found["fused_weights"] is not None:
        assert sum(found["fused_weights"].values()) == pytest.approx(1)
    assert metrics["auroc"] == found["anomaly"][best]["test"]["all"]["auroc"]


def test_pixel_auroc_of_masks_that_were_brought_is_that_of_scikit_learn(project: Path) -> None:
    import torch

    from clarity.evaluate.scorer import load_scorer
    from clarity.models.build import load

    data = project / "data/processed"
    network = load(project / "models/fcn-tiny-0")
    scorer = load_scorer(project / "evaluations/fcn-tiny-0/scorer.safetensors")
    masks = np.load(data / "test_masks.npy")[: COUNTS["test"]]
    images = torch.from_numpy(np.load(data / "test_anomalies.npy")[: COUNTS["test"]])
    errors = np.concatenate([scorer.error_map(network, part).numpy() for part in images.split(5)])
    found = details(project, "fcn-tiny")["pixel_auroc"]["test"]
    area = roc_auc_score(masks.ravel(), errors.ravel())
    assert found == {"all": found["dent"], "dent": pytest.approx(area, abs=1e-6)}
    table = pd.read_parquet(project / "evaluations/fcn-tiny-0/per_image.parquet")
    each = table.query("split == 'test' and kind == 'dent'")["pixel_auroc"]
    one = roc_auc_score(masks[3].ravel(), errors[3].ravel())
    assert each.iloc[3] == pytest.approx(one, abs=1e-6)


def test_masks_that_were_brought_are_outlined_and_synthetic_ones_are_not(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    from clarity.evaluate.sheet import OUTLINE
    from clarity.evaluate.stage import open_images
    from clarity.layout import Shape

    folder = project / "evaluations/pca-4-0"
    score = f"score_{details(project, 'pca-4')['best_score']}"
    test = pd.read_parquet(folder / "per_image.parquet").query("split == 'test'")
    order = test.sort_values(score, kind="stable", ascending=False)["kind"]
    dents = sum(kind == "dent" for kind in (*order[:8], *order[-8:]))
    assert dents
    found = {}
    for path in (folder / "figures").iterdir():
        with Image.open(path) as picture:
            found[path.stem] = int((np.asarray(picture.convert("RGB")) == OUTLINE).all(-1).sum())
    # A mask of 20 pixels is a square of 30 in a tile of 96, with a ring of one pixel round it.
    assert {name: count for name, count in found.items() if count} == {"extremes": dents * 124}
    monkeypatch.chdir(project)
    images = open_images(Shape(64, 3), torch.device("cpu"))
    assert images.brought_masks("test") == set(range(COUNTS["test"]))
    images.index["kind"] = images.index["kind"].replace("dent", "cutpaste")
    assert images.brought_masks("test") == set()


def test_every_family_has_its_pictures(project: Path) -> None:
    common = {"grid", "strip", "extremes", "traversal", "interpolation", "latent_map", "panel"}
    for model in MODELS:
        folder = project / f"evaluations/{model}-0/figures"
        sampled = set() if model == "conv-tiny" else {"samples"}
        assert {path.stem for path in folder.iterdir()} == common | sampled
        with Image.open(folder / "strip.png") as strip:
            assert strip.size == (3 * 64, 3 * 64)
            index = np.load(project / "data/processed/test.npy")
            assert np.array_equal(np.asarray(strip)[:64, 64:128], index[2])
    assert "no density" in details(project, "conv-tiny")["samples"]["skipped"]


def test_latent_space_and_samples_are_described(project: Path) -> None:
    for model, method in (("fcn-tiny", "mixture"), ("pca-4", "mixture"), ("vae-tiny", "prior")):
        found = details(project, model)
        space = found["latent_space"]
        for split in ("train", "test"):
            assert len(space["path_length"][split]) == len(space["path_pairs"][split]) == 3
            assert min(space["path_length"][split]) >= 1 - 1e-6
            for key in ("jump", "jump_haarpsi"):
                assert len(space[key][split]) == 3
                assert all(1 <= value <= 4 + 1e-6 for value in space[key][split])
            assert space["crossfade_mean"][split] == pytest.approx(
                np.mean(space["crossfade"][split])
            )
            assert all(a != b for a, b in space["path_pairs"][split])
        assert 1 <= space["participation_ratio"] <= space["participation_bound"]
        assert found["samples"]["method"] == method
        assert len(found["samples"]["sharpness"]) == 8
        assert found["samples"]["frechet"] >= 0
        for key in ("precision", "recall", "precision_train", "recall_train"):
            assert 0 <= found["samples"][key] <= 1
        # A VAE draws from its prior, and beside that from a density fitted to its latents.
        fitted = found["samples"]["fitted"]
        assert (fitted is not None) == (method == "prior")
        assert fitted is None or (fitted["method"], len(fitted["sharpness"])) == ("mixture", 8)
    assert ("collapsed" in details(project, "vae-tiny")["latent_space"]) is True
    paths = [details(project, model)["latent_space"]["path_pairs"] for model in MODELS]
    assert all(pairs == paths[0] for pairs in paths)


def test_the_command_again_gives_the_same_bytes(project: Path) -> None:
    """In a process of its own, by the command line, with the timings of the first run kept."""
    folder = project / "evaluations/vae-tiny-0"
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    assert {path.relative_to(folder).parts[0] for path in files} == set(DECLARED)
    before = {path: path.read_bytes() for path in files}
    shutil.rmtree(folder)
    timings = project / "mlruns/timings/vae-tiny-0.json"
    kept = json.loads(timings.read_text())
    result = run(project, "-m", "clarity", "evaluate", "vae-tiny", "0")
    assert "vae-tiny-0: test MSE" in result.stdout
    assert {path for path in folder.rglob("*") if path.is_file()} == set(files)
    assert [path.name for path in files if path.read_bytes() != before[path]] == []
    for content in before.values():
        assert str(project).encode() not in content
    measured = json.loads(timings.read_text())
    assert {"evaluate_seconds", "latency_ms_median", "latency_ms_p95"} <= set(measured)
    assert measured["train_seconds"] == kept["train_seconds"]


def test_the_scorer_gives_the_table_s_scores(project: Path) -> None:
    import torch

    from clarity.evaluate.scorer import load_scorer
    from clarity.models.build import load

    scorer = load_scorer(project / "evaluations/vae-tiny-0/scorer.safetensors")
    found = details(project, "vae-tiny")
    assert scorer.best == found["best_score"]
    assert scorer.thresholds == {n: entry["value"] for n, entry in found["threshold"].items()}
    images = np.load(project / "data/processed/gate.npy")
    scores = scorer.scores(load(project / "models/vae-tiny-0"), torch.from_numpy(images))
    table = pd.read_parquet(project / "evaluations/vae-tiny-0/per_image.parquet")
    rows = table[(table["split"] == "gate") & (table["label"] == 0)]
    for name, values in scores.items():
        assert values.numpy() == pytest.approx(rows[f"score_{name}"].to_numpy(), rel=1e-3, abs=1e-3)


@pytest.mark.parametrize(
    ("harm", "words"),
    [
        (lambda data: (data / "gate.npy").write_bytes(b"x"), "gate.npy"),
        (lambda data: (data / "val_masks.npy").unlink(), "val_masks.npy: no such file"),
        (lambda data: np.save(data / "test.npy", np.zeros((3, 64, 64, 3), np.uint8)), "3 images"),
        (lambda data: (data / "index.csv").write_text("split,label\n"), "column row is missing"),
    ],
)
def test_broken_data_is_refused_in_one_line(
    project: Path, tmp_path: Path, harm, words, monkeypatch
) -> None:
    from clarity.errors import ClarityError
    from clarity.evaluate.stage import evaluate_training as evaluate

    for name in ("params.yaml", "data", "models"):
        source = project / name
        (shutil.copytree if source.is_dir() else shutil.copy)(source, tmp_path / name)
    harm(tmp_path / "data/processed")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ClarityError, match=words) as caught:
        evaluate("fcn-tiny", 0)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "evaluations").exists()


def test_a_model_that_is_not_trained_is_one_line_and_exit_code_2(project: Path) -> None:
    shutil.copytree(project / "models/pca-4-0", project / "models/kept")
    shutil.rmtree(project / "models/pca-4-0")
    result = run(project, "-m", "clarity", "evaluate", "pca-4", "0", check=False)
    shutil.move(project / "models/kept", project / "models/pca-4-0")
    assert result.returncode == 2
    assert result.stderr.count("\n") == 1
    assert "train the model first" in result.stderr
