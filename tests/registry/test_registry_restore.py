"""`clarity restore`: a version's bytes again, in a real git and DVC project."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import registry_world as world

from clarity.errors import ClarityError
from clarity.layout import Training
from clarity.registry.restore import restore
from clarity.score.registered import TAG_COMMIT, TAG_DIRTY, digests_of
from clarity.store import open_store

GRAPH = """\
stages:
  preprocess:
    cmd: "true"
    outs: [data/processed]
  train:
    matrix: {{model: {models}, seed: [0]}}
    cmd: python make.py models/${{item.model}}-0
    outs:
      - models/${{item.model}}-0/weights.safetensors
      - models/${{item.model}}-0/model.json
  evaluate:
    matrix: {{model: {models}, seed: [0]}}
    cmd: python make.py evaluations/${{item.model}}-0
    outs:
      - evaluations/${{item.model}}-0/details.json
      - evaluations/${{item.model}}-0/scorer.safetensors
"""

#: Stands for training and evaluating: needs the data, and brings the same bytes each time.
MAKE = """\
import os, pathlib, shutil, sys
if why := os.environ.get("MAKE_FAILS"):
    sys.exit(f"clarity: {why}")
assert pathlib.Path("data/processed/index.csv").is_file()
shutil.copytree(pathlib.Path("kept", sys.argv[1]), sys.argv[1], dirs_exist_ok=True)
"""


def shell(*command: str, cwd: Path | None = None) -> str:
    done = subprocess.run(
        command, cwd=cwd, env=world.environment(Path.cwd()), capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture
def repository(here: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The published world as git and DVC have it: outputs in DVC's cache, dvc.lock committed."""
    if shutil.which("dvc", path=str(Path(sys.executable).parent)) is None:
        pytest.skip("dvc is not installed")
    for key in ("GIT_AUTHOR_NAME", "GIT_COMMITTER_NAME"):
        monkeypatch.setenv(key, "A User")
    for key in ("GIT_AUTHOR_EMAIL", "GIT_COMMITTER_EMAIL"):
        monkeypatch.setenv(key, "user@example.org")
    Path("dvc.yaml").write_text(GRAPH.format(models="[pca-2, pca-4, pca-8]"))
    Path(".gitignore").write_text("/mlruns\n/data\n/models\n/evaluations\n")
    Path("make.py").write_text(MAKE)
    for name in ("models", "evaluations"):
        shutil.copytree(name, Path("kept", name))
    shell("git", "init", "-q", "-b", "main")
    shell("dvc", "init", "-q")
    shell("dvc", "config", "core.analytics", "false")
    shell("dvc", "commit", "-q", "-f")
    shell("git", "add", "-A")
    shell("git", "commit", "-qm", "Results")
    # Life goes on: another model, other parameters, nothing of version 3 left in the workspace.
    before = shell("git", "rev-parse", "HEAD").strip()
    Path("params.yaml").write_text("# changed\n" + Path("params.yaml").read_text())
    Path("dvc.yaml").write_text(GRAPH.format(models="[pca-2]"))
    Path("dvc.lock").unlink()
    shutil.rmtree("models/pca-8-0")
    shell("dvc", "commit", "-q", "-f")
    shell("git", "commit", "-qam", "Fewer models")
    return Path(before)


def test_a_version_comes_back_with_the_same_digests(repository: Path, here: Path) -> None:
    told: list[str] = []
    restore("3", None, say=told.append)
    place = here.parent / "project-version-3"
    assert str(place) in told[0]
    assert "from DVC's cache" in told[0]
    head = shell("git", "rev-parse", "HEAD", cwd=place).strip()
    assert head == str(repository)
    version = open_store().get_model_version("clarity", "3")
    weights, evaluation = digests_of(Training("pca-8", 0), place)
    assert weights == version.tags["clarity.weights"]
    assert evaluation == version.tags["clarity.evaluation"]
    with pytest.raises(ClarityError, match="there already"):
        restore("3", place)
    advice = re.findall("`(git worktree [^`]+)`", told[0])[0]
    shell(*shlex.split(advice))
    assert not place.exists()


@pytest.mark.slow
def test_retraining_brings_the_data_and_says_the_stages_own_cause(
    repository: Path, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    del repository
    place = here.parent / "again"
    monkeypatch.setenv("MAKE_FAILS", "disk: full")
    with pytest.raises(ClarityError, match=r"train@pca-8-0.*clarity: disk: full"):
        restore("3", place, retrain=True)
    assert not place.exists()
    monkeypatch.delenv("MAKE_FAILS")
    told: list[str] = []
    restore("3", place, retrain=True, say=told.append)
    assert "trained again" in told[0]
    assert (place / "data" / "processed" / "index.csv").is_file()


def test_what_cannot_be_restored_is_said_in_one_line(repository: Path, here: Path) -> None:
    client = open_store()
    with pytest.raises(ClarityError, match="no such version or alias"):
        restore("9", None)

    # No commit's dvc.lock names these weights, and the recorded commit was not all of it.
    from clarity.score.registered import files_of

    weights = files_of("clarity", 2).weights
    weights.write_bytes(weights.read_bytes() + b" ")
    shutil.rmtree("models/pca-4-0", ignore_errors=True)
    with pytest.raises(ClarityError, match="outside a git repository"):
        restore("2", None)
    client.set_model_version_tag("clarity", "2", TAG_COMMIT, str(repository))
    client.set_model_version_tag("clarity", "2", TAG_DIRTY, "true")
    with pytest.raises(ClarityError, match="uncommitted changes on top of"):
        restore("2", None)
    client.set_model_version_tag("clarity", "2", TAG_DIRTY, "false")
    client.set_model_version_tag("clarity", "2", TAG_COMMIT, "0" * 40)
    with pytest.raises(ClarityError, match="is not in this repository"):
        restore("2", None)

    # Gone from the cache and not to be made again: nothing half-restored is left.
    shutil.rmtree(".dvc/cache")
    with pytest.raises(ClarityError, match="dvc repro"):
        restore("3", None)
    assert not (here.parent / "project-version-3").exists()
    assert "version-3" not in shell("git", "worktree", "list")


def test_without_git_it_is_said(here: Path) -> None:
    del here
    with pytest.raises(ClarityError, match="no git repository here"):
        restore("3", None)


@pytest.mark.parametrize(
    ("tag", "value"),
    [("clarity.seed", "one"), ("clarity.model", "../../etc"), (TAG_COMMIT, "--upload-pack=x")],
)
def test_tampered_tags_are_one_line(repository: Path, here: Path, tag: str, value: str) -> None:
    open_store().set_model_version_tag("clarity", "1", tag, value)
    with pytest.raises(ClarityError, match=r"^version 1: its (tags name no training|commit is no)"):
        restore("1", here.parent / "nowhere")
    assert not (here.parent / "nowhere").exists()
