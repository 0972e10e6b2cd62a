"""Ensembles: several trainings evaluated, registered and served as one network."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from project import Project
from ruamel.yaml import YAML
from safetensors.torch import load_file

import clarity
from clarity.ensembles.network import assemble, rebuild
from clarity.errors import ClarityError
from clarity.layout import Shape
from clarity.models.build import build, describe
from clarity.params import Model, parse_params
from clarity.presets import combine

PARAMS = Path(__file__).parent.parent / "params.yaml"


def content() -> dict:
    return YAML(typ="safe").load(PARAMS.read_text())


@pytest.mark.parametrize(
    ("ensembles", "seeds", "said"),
    [
        ({"both": ["conv-huge", "pca-3"]}, [0], "ensembles.both: 'conv-huge' is no model; there"),
        ({"both": ["pca-3", "pca-3"]}, [0], "ensembles.both: a model is listed twice"),
        ({"one": ["conv-small"]}, [0], "ensembles.one: one training is no ensemble"),
        ({"one": ["pca-3"]}, [0, 1], "ensembles.one: one training is no ensemble"),
        ({"pca-64": ["conv-small", "pca-3"]}, [0], "pca-64 is the name of a model already"),
        ({"pca-3-0": ["conv-small", "pca-3"]}, [0], "pca-3-0 is the name of a model already"),
        ({"Both": ["conv-small", "pca-3"]}, [0], "'Both' is no model name"),
        ({"both": "conv-small"}, [0], "ensembles.both"),
    ],
)
def test_a_wrong_ensemble_is_one_line(ensembles: dict, seeds: list[int], said: str) -> None:
    text = json.dumps(content() | {"ensembles": ensembles, "seeds": seeds})
    with pytest.raises(ClarityError) as refused:
        parse_params(text, PARAMS)
    assert said in str(refused.value).replace('"', "'")
    assert "\n" not in str(refused.value)


def test_members_are_of_every_seed_and_pca_once() -> None:
    changed = content() | {"ensembles": {"both": ["conv-small", "pca-3"]}, "seeds": [0, 7]}
    params = parse_params(json.dumps(changed), PARAMS)
    assert [one.name for one in params.members("both")] == [
        "conv-small-0", "conv-small-7", "pca-3-0",
    ]  # fmt: skip


def test_a_preset_that_removes_models_leaves_ensembles_of_the_rest() -> None:
    models = {"a": {"family": "fcn"}, "b": {"family": "pca"}}
    ensembles = {"ab": ["a", "b"], "abc": ["a", "b", "c"], "ac": ["a", "c"]}
    changed = {"models": models, "seeds": [0], "ensembles": ensembles}
    combine(changed)
    assert changed["ensembles"] == {"ab": ["a", "b"], "abc": ["a", "b"]}


def test_what_does_not_fit_is_refused() -> None:
    parts = {}
    for name, size in (("small", 32), ("large", 64)):
        spec = Model.model_validate({"family": "pca", "latent": 2})
        network = build(spec, name, Shape(size, 3))
        parts[name] = (describe(spec, name, 0, network), network.state_dict())
    with pytest.raises(ClarityError, match=r"ensembles\.x: images of several sizes"):
        assemble("x", parts)
    description, weights = assemble("x", {"a": parts["small"], "b": parts["small"]})
    assert description["latent"] == 4
    broken = [
        (description | {"members": []}, weights),
        (description | {"format": 7}, weights),
        (description | {"members": [description]}, weights),
        (description, {key: value for key, value in weights.items() if key[0] == "0"}),
        (description, weights | {"2.mean": torch.zeros(1)}),
        (description, weights | {"mean": torch.zeros(1)}),
    ]
    for told, tensors in broken:
        with pytest.raises(ClarityError):
            rebuild(told, tensors)


def test_an_ensemble_is_evaluated_compared_published_and_scores(project: Project) -> None:
    project.change({"ensembles": {"both": ["fcn-small", "pca-3"]}})
    assert project.repro() == ["ensemble@both", "compare", "publish"]
    root = project.path
    opened = clarity.open(root)
    images = opened.images("test")[:5]
    members = [opened.load(name).reconstruct(images) for name in ("fcn-small", "pca-3")]
    both = opened.load("both").reconstruct(images)
    mean = np.mean([one.astype(float) for one in members], axis=0)
    assert np.abs(both - mean).max() <= 1  # rounded to 8 bits twice
    weights = load_file(root / "ensembles/both/weights.safetensors")
    own = load_file(root / "models/pca-3-0/weights.safetensors")
    assert all(torch.equal(weights[f"1.{key}"], tensor) for key, tensor in own.items())

    table = json.loads((root / "reports/table.json").read_text())
    assert [row["model"] for row in table["ensembles"]] == ["both"]
    assert "both" not in [row["model"] for row in table["models"]]
    metrics = json.loads((root / "ensembles/both/metrics.json").read_text())
    assert table["ensembles"][0]["auroc"] == pytest.approx(metrics["auroc"])
    page = (root / "reports/index.html").read_text()
    assert "<strong>both</strong>: fcn-small-0 and pca-3-0." in page
    assert "Does an ensemble detect better than the best of its members?" in page

    project.run("clarity", "promote", "--version", "4")
    lineage = project.run("clarity", "lineage", "champion").stdout
    assert "both, seed 0, ensemble" in lineage
    assert "DVC stages  ensemble@both" in lineage
    np.save(root / "new.npy", images)
    said = project.run("clarity", "score", "new.npy").stderr
    assert "5 images scored with clarity version 4 (both)" in said
    found = opened.champion().score(images)["score"].to_numpy()
    assert np.array_equal(found, opened.load("both").score(images)["score"].to_numpy())


@pytest.mark.slow
def test_an_ensemble_is_restored_verified_and_taken_back(project: Project) -> None:
    project.change({"ensembles": {"both": ["fcn-small", "pca-3"]}})
    project.repro()
    root = project.path
    project.commit("With an ensemble")
    restored = project.run("clarity", "restore", "4").stdout
    assert "from DVC's cache" in restored
    assert "the same conclusions, bit for bit" in project.run("clarity", "verify").stdout
    assert project.repro() == []
    project.change({"ensembles": {"both": None}})
    assert project.repro() == ["compare", "publish"]
    assert "ensembles" not in json.loads((root / "reports/table.json").read_text())
