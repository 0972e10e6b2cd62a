"""The stage graph in a real repository: what runs, what does not, and what can be brought back."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
from project import Project, make_project
from ruamel.yaml import YAML

TRAININGS = {"conv-small-0", "fcn-small-0", "pca-3-0"}


def lock(project: Project) -> dict:
    return YAML(typ="safe").load((project.path / "dvc.lock").read_text())


def test_the_first_run_made_everything_and_a_second_runs_nothing(finished: Project) -> None:
    stages = set(lock(finished)["stages"])
    expected = {"ingest", "preprocess", "networks", "compare", "publish"}
    expected |= {f"{stage}@{name}" for stage in ("train", "evaluate") for name in TRAININGS}
    assert stages == expected
    assert "up to date" in finished.run("dvc", "status").stdout
    assert (finished.path / "reports/index.html").stat().st_size > 10_000


def test_a_second_repro_runs_no_stage(project: Project) -> None:
    before = (project.path / "dvc.lock").read_bytes()
    assert project.repro() == []
    assert (project.path / "dvc.lock").read_bytes() == before


def test_changing_one_model_runs_its_two_stages_and_an_older_commit_brings_it_back(
    project: Project,
) -> None:
    weights = project.path / "models/conv-small-0/weights.safetensors"
    old = weights.read_bytes()
    project.change({"models": {"conv-small": {"widths": [4, 6]}}})
    assert project.repro() == [
        "networks",  # reads which networks the models have, and finds the same
        "train@conv-small-0",
        "evaluate@conv-small-0",
        "compare",
        "publish",
    ]
    difference = json.loads(project.run("dvc", "metrics", "diff", "--json").stdout)
    assert "evaluations/conv-small-0/metrics.json" in difference.get("diff", difference)
    assert "widths" in project.run("dvc", "params", "diff").stdout
    project.commit("Other widths")
    assert weights.read_bytes() != old
    project.git("checkout", "--quiet", "HEAD~1")
    project.run("dvc", "checkout")
    assert weights.read_bytes() == old
    assert project.repro() in ([], ["publish"])


@pytest.mark.slow
def test_a_model_less_and_another_style_train_nothing(project: Project) -> None:
    project.change({"models": {"fcn-small": None}, "compare": {"dpi": 80, "resamples": 300}})
    assert project.repro() == ["networks", "compare", "publish"]
    assert "fcn-small" not in (project.path / "reports/table.md").read_text()
    assert "conv-small" in (project.path / "reports/table.md").read_text()


@pytest.mark.slow
def test_a_lost_store_is_refilled_by_publish_alone(project: Project) -> None:
    published = (project.path / "mlruns/published.json").read_bytes()
    shutil.rmtree(project.path / "mlruns")
    assert project.repro() == ["publish"]
    assert (project.path / "mlruns/published.json").read_bytes() == published


def test_what_a_killed_dvc_left_half_linked_changes_nothing_and_goes(project: Project) -> None:
    """DVC killed while it put outputs into its cache: files that it had not renamed yet."""
    beside = project.path / "models/fcn-small-0/.9kgETjIcRiHyOeoV3-hZfQ.tmp"
    within = project.path / "models/fcn-small-0/progress/.9kgETjIcRiHyOeoV3-hZfQ.tmp"
    for path in (beside, within):
        path.write_bytes(b"half")
    assert "up to date" in project.run("dvc", "status").stdout
    project.run("dvc", "repro", "--force", "--single-item", "train@fcn-small-0")
    assert not beside.exists()
    assert not within.exists()
    assert "up to date" in project.run("dvc", "status").stdout


def test_a_file_in_data_own_runs_ingest_and_nothing_that_it_does_not_touch(
    project: Project,
) -> None:
    (project.path / "data/own/note.txt").write_text("the embedded faces do not read this\n")
    assert project.repro() == ["ingest"]


def test_push_here_and_pull_in_another_clone_need_no_training(
    project: Project, tmp_path: Path
) -> None:
    remote = tmp_path / "remote"
    project.run("dvc", "remote", "add", "--default", "storage", str(remote))
    project.commit("A remote")
    project.run("dvc", "push")
    clone = tmp_path / "clone"
    project.git("clone", "--quiet", str(project.path), str(clone))
    other = Project(clone)
    other.run("dvc", "pull")
    assert set(other.repro()) <= {"publish"}
    report = "reports/index.html"
    assert (clone / report).read_bytes() == (project.path / report).read_bytes()


@pytest.mark.slow
def test_an_experiment_trains_its_model_alone_and_dvcs_tables_and_plots_show_it(
    project: Project,
) -> None:
    shown = json.loads(project.run("dvc", "metrics", "show", "--json").stdout)
    files = shown[""]["data"]
    assert set(files) == {f"evaluations/{name}/metrics.json" for name in TRAININGS}
    for file in files.values():
        assert {"parameters", "latent", "test_mse", "test_lsd", "auroc"} <= set(file["data"])
    longer = "models.fcn-small.train.epochs=2"
    said = project.run("dvc", "exp", "run", "--set-param", longer, "-n", "longer").stdout
    ran = ["networks", "train@fcn-small-0", "evaluate@fcn-small-0", "compare", "publish"]
    assert re.findall(r"Running stage '([^']+)'", said) == ran
    difference = json.loads(project.run("dvc", "metrics", "diff", "--json").stdout)
    changed = difference.get("diff", difference)
    assert "evaluations/fcn-small-0/metrics.json" in changed
    assert "epochs" in project.run("dvc", "params", "diff").stdout
    assert "longer" in project.run("dvc", "exp", "show", "--no-pager", "--csv").stdout
    project.run("dvc", "plots", "show", "--out", "plots")
    page = (project.path / "plots/index.html").read_text()
    assert "val_mse" in page
    assert ".png" in page


def test_a_bad_parameter_stops_before_anything_is_lost(project: Project) -> None:
    weights = project.path / "models/fcn-small-0/weights.safetensors"
    before = (project.path / "dvc.lock").read_bytes()
    project.change({"train": {"epochs": "many"}})
    result = project.run("dvc", "repro", check=False)
    assert result.returncode != 0
    assert "train.epochs" in result.stdout + result.stderr
    assert "Traceback" not in result.stdout + result.stderr
    assert (project.path / "dvc.lock").read_bytes() == before
    project.change({"train": {"epochs": 1}})
    project.run("dvc", "checkout")
    assert weights.exists()
    assert project.repro() in ([], ["publish"])


@pytest.mark.slow
def test_two_clones_with_separate_caches_end_with_equal_bytes(
    finished: Project, tmp_path: Path
) -> None:
    other = make_project(tmp_path / "other" / "project")
    other.repro()
    assert lock(other) == lock(finished)
