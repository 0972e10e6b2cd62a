"""params.yaml: every mistake is one line that names the key and the mend, with exit code 2."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from data_helpers import clarity_here, make_project, save_pictures
from ruamel.yaml import YAML

from clarity.errors import ClarityError
from clarity.params import load_params
from clarity.presets import apply_preset

ROOT = Path(__file__).parent.parent.parent


def clarity(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "clarity", *arguments], cwd=cwd, capture_output=True, text=True
    )


def test_the_committed_file_is_valid() -> None:
    params = load_params(ROOT / "tests/params.yaml")
    assert list(params.models) == [
        "fcn-small",
        "fcn-medium",
        "fcn-large",
        "conv-small",
        "conv-medium",
        "conv-large",
        "pca-3",
        "pca-64",
    ]


MISTAKES = {
    "misspelt section": ("train:\n", "trian:\n", ["trian", "did you mean train?"]),
    "misspelt key": ("\n  epochs:", "\n  epoch:", ["train.epoch", "did you mean epochs?"]),
    "wrong type": ("\n  patience:", "\n  patience: many #", ["train.patience", "integer"]),
    "quoted number": ("threads: 2", 'threads: "2"', ["threads", "integer"]),
    "impossible widths": (
        "[16, 32, 64, 128]",
        "[16, 32, 64, 128, 1, 2, 3]",
        ["models.conv-small.widths", "halve", "at most 6"],
    ),
    "size nobody has": ("size: 64", "size: 65", ["preprocess.size", "96"]),
    "shift beyond the image": ("shift: 4", "shift: 32", ["train.shift", "64", "at most 31"]),
    "latent beyond the image": (
        "{family: pca, latent: 3}",
        "{family: pca, latent: 12289}",
        ["models.pca-3.latent", "12288"],
    ),
    "duplicate model": ("conv-medium:", "conv-small:", ["conv-small", "twice"]),
    "unknown device": ("device: auto", "device: gpu", ["device", "'cuda'"]),
    "no seed": ("seeds:\n- 0", "seeds: []", ["seeds", "at least one"]),
    "seed twice": ("seeds:\n- 0", "seeds: [1, 1]", ["seeds", "twice"]),
    "no thread": ("threads: 2", "threads: 0", ["threads"]),
    "torn YAML": ("metric: auroc", "metric: [auroc", ["not valid YAML"]),
    "no data set named": ("source: faces", "source: torchvision", ["data", "name"]),
    "table elsewhere": (
        "source: faces # faces | npy | folder | torchvision\n  path: data/own\n  name:",
        "source: table\n  path: data/own\n  name: ../list.csv",
        ["data", "name: ../list.csv leads out of path"],
    ),
    "archive elsewhere": (
        "source: faces # faces | npy | folder | torchvision\n  path: data/own\n  name:",
        "source: npy\n  path: data/own\n  name: /srv/set.npz",
        ["data", "name: /srv/set.npz leads out of path"],
    ),
    "shares over one": ("test: 0.15}", "test: 0.3}", ["preprocess.split", "1.15"]),
    "not a number": ("weight_decay:", "weight_decay: .nan #", ["train.weight_decay", "finite"]),
    "unknown kind": ("[cutpaste", "[cutpastee", ["preprocess.anomalies.kinds.0"]),
    "unknown family": ("family: fcn", "family: cnn", ["models.fcn-small.family"]),
    "name DVC cannot carry": ("conv-small:", "Conv Small:", ["models", "Conv Small"]),
    "model is a number": ("{family: pca, latent: 3}", "3", ["models.pca-3"]),
    "latent for conv": ("family: conv\n", "family: conv\n    latent: 8\n", ["models.conv-small"]),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_line_and_exit_code_2(mistake: str, tmp_path: Path) -> None:
    old, new, fragments = MISTAKES[mistake]
    text = (ROOT / "tests/params.yaml").read_text()
    assert old in text
    (tmp_path / "params.yaml").write_text(text.replace(old, new, 1))
    result = clarity("check", cwd=tmp_path)
    assert result.returncode == 2
    assert result.stdout == ""
    (line,) = result.stderr.splitlines()
    assert line.startswith("clarity: params.yaml")
    for fragment in fragments:
        assert fragment in line


def test_small_images_leave_out_what_needs_larger_ones(tmp_path: Path) -> None:
    text = (ROOT / "tests/params.yaml").read_text().replace("size: 64", "size: 32")
    (tmp_path / "params.yaml").write_text(text.replace("measure: haarpsi", "measure: vif"))
    with pytest.raises(ClarityError, match=r"compare\.measure: vif needs 41 pixels"):
        load_params(tmp_path / "params.yaml")
    (tmp_path / "params.yaml").write_text(text)
    assert str(load_params(tmp_path / "params.yaml").preprocess.shape) == "32×32×3"


def test_check_says_what_is_possible_and_hardly_meant(tmp_path: Path) -> None:
    save_pictures(tmp_path / "own", people=20, each=2)
    project = make_project(tmp_path, {"source": "folder", "path": "own"})
    assert clarity_here(project, "check").complained == ""
    assert clarity_here(project, "ingest").code == 0
    done = clarity_here(project, "preprocess")
    images = len(np.load(project / "data/processed/train.npy"))
    line = (
        f"models.pca-64.latent: 64 components cannot be fitted to {images} training images; "
        f"set it to {images} at most, or remove pca-64"
    )
    assert (done.code, done.complained) == (0, f"preprocess: {line}\n")
    done = clarity_here(project, "check")
    assert (done.code, done.complained.count("\n")) == (0, 1)
    assert line in done.complained
    make_project(tmp_path, {"source": "folder", "path": "own"}, {"size": 32})
    done = clarity_here(project, "check")
    assert done.code == 0
    _, fcn, conv = done.complained.splitlines()
    assert "models.fcn-small.train.compute: 9.16 GFLOP" in fcn
    assert conv == (
        "check: models.conv-small.train.compute: 7.7 GFLOP an image come to 363 epochs of 32×32×3 "
        "images, where epochs is 24; set it, for every size alike, to 1.93: what conv-medium "
        "spends in its 24 epochs"
    )
    make_project(tmp_path, {"source": "folder", "path": "own"}, {"size": 256})
    conv = clarity_here(project, "check").complained.splitlines()[-1]
    assert "come to 1.5 epochs of 256×256×3" in conv
    assert "where epochs is 24 (as far off: conv-large); set it" in conv


def test_a_model_that_does_not_exist_lists_those_that_do(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text((ROOT / "tests/params.yaml").read_text())
    result = clarity("train", "fcn-huge", "0", cwd=tmp_path)
    assert result.returncode == 2
    assert "models.fcn-huge" in result.stderr
    assert "fcn-large" in result.stderr


def test_quick_and_short_take_whatever_models_there_are(tmp_path: Path) -> None:
    (tmp_path / "presets").symlink_to(ROOT / "presets")
    content = (ROOT / "tests/params.yaml").read_text()
    content = content.replace("  conv-small:", "  mine:").replace("  fcn-small:", "  other:")
    path = tmp_path / "params.yaml"
    path.write_text(content)
    names = list(load_params(path).models)
    apply_preset("short", tmp_path)
    params = load_params(path)
    assert list(params.models) == names
    assert {params.recipe(name).epochs for name in ("mine", "conv-large")} == {8}
    apply_preset("quick", tmp_path)
    assert list(load_params(path).models) == ["other", "mine", "pca-3"]
    path.write_text(re.sub(r"  (other|mine|pca-3):", r"  \1-large:", path.read_text()))
    apply_preset("quick", tmp_path)
    assert list(load_params(path).models) == ["other-large", "mine-large", "pca-3-large"]


def test_quick_copies_what_stages_need() -> None:
    """All that git knows and a stage of dvc.yaml depends on."""
    recipe = re.search(r"^quick:.*?\n\n", (ROOT / "Makefile").read_text(), re.M | re.S)
    assert recipe
    stages = YAML(typ="safe").load((ROOT / "dvc.yaml").read_text())["stages"]
    needed = {
        Path(path).parts[0]
        for stage in stages.values()
        for path in stage.get("do", stage).get("deps", [])
        if "${" not in Path(path).parts[0]
    } - {"data", "models", "evaluations"}
    assert {"src", "networks"} <= needed
    assert [path for path in needed if path not in recipe[0]] == []


def test_a_preset_keeps_comments_and_is_applied_once(tmp_path: Path) -> None:
    (tmp_path / "presets").symlink_to(ROOT / "presets")
    (tmp_path / "params.yaml").write_text((ROOT / "tests/params.yaml").read_text())
    assert "applied" in clarity("preset", "full", cwd=tmp_path).stdout
    params = load_params(tmp_path / "params.yaml")
    assert params.seeds == (0, 1, 2)
    assert params.models["vae-large"].latent == 64
    assert "# Threads of every stage." in (tmp_path / "params.yaml").read_text()
    assert "already there" in clarity("preset", "full", cwd=tmp_path).stdout


def test_dvc_writes_the_file_as_it_stands(tmp_path: Path) -> None:
    """`dvc exp run -S` and a preset change what they were told to and no other line."""
    from dvc.utils.serialize import modify_yaml

    path = tmp_path / "params.yaml"
    for preset in (False, True):
        path.write_text((ROOT / "tests/params.yaml").read_text())
        if preset:
            (tmp_path / "presets").symlink_to(ROOT / "presets")
            apply_preset("full", tmp_path)
        before = path.read_text()
        with modify_yaml(str(path)):
            pass
        assert path.read_text() == before


def test_an_override_changes_one_key_of_one_recipe(tmp_path: Path) -> None:
    text = (ROOT / "tests/params.yaml").read_text()
    entry = "  pca-3:"
    assert entry in text
    tiny = "  fcn-tiny: {family: fcn, widths: [8], latent: 3, train: {epochs: 7}}\n"
    changed = text.replace(entry, tiny + entry)
    (tmp_path / "params.yaml").write_text(changed)
    params = load_params(tmp_path / "params.yaml")
    assert params.recipe("fcn-tiny").epochs == 7
    assert params.recipe("fcn-tiny").batch_size == params.train.batch_size


@pytest.mark.parametrize(
    "command",
    ["history", "ui", "serve", "score .", "lineage champion", "promote", "backfill", "answer"],
)
def test_outside_a_project_every_command_is_one_line_and_leaves_nothing(
    command: str, tmp_path: Path
) -> None:
    result = clarity(*command.split(), cwd=tmp_path)
    assert result.returncode == 2
    (line,) = result.stderr.splitlines()
    assert "no project here" in line
    assert not list(tmp_path.iterdir())
