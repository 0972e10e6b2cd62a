"""Publishing into a real SQLite store: complete, idempotent, restorable, without pickle."""

from __future__ import annotations

import json
import pickletools
import shutil
import subprocess
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mlflow import MlflowClient
from mlflow.entities import Run, ViewType
from mlflow.tracking._tracking_service.utils import _artifact_repos_cache
from tracking_world import EPOCHS, write_reports, write_training, write_world

from clarity import store
from clarity.address import database, tracking_uri
from clarity.errors import ClarityError
from clarity.layout import PUBLISHED, Training
from clarity.params import load_params
from clarity.score.registered import TAG_DATA, TAG_FINGERPRINT, TAG_IDENTITY, identity_of
from clarity.store import artifacts, experiment_id, open_store
from clarity.tracking import facts, keys, publish, runs
from clarity.tracking.live import LiveMirror

#: An empty database, kept beside the project.
BLANK = "blank.db"


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A published project; copied, because making the database and the models takes seconds."""
    root = tmp_path_factory.mktemp("template")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        patch.delenv("DVC_ROOT", raising=False)
        patch.chdir(root)
        write_world(root)
        open_store()
        shutil.copy(database(root), root / BLANK)
        publish.publish()
    return root


@pytest.fixture
def world(template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MlflowClient:
    """A copy of the published project, entered; the copy is also a checkout that moved."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    root = tmp_path / "a copy"
    shutil.copytree(template, root)
    monkeypatch.chdir(root)
    # MLflow remembers places by run; a user's copy of a project is opened by another process.
    _artifact_repos_cache.clear()
    return open_store()


def lose_store() -> MlflowClient:
    """Delete mlruns/ and start again with an empty database."""
    shutil.rmtree("mlruns")
    Path("mlruns").mkdir()
    shutil.copy(BLANK, database(Path.cwd()))
    store._forget(tracking_uri())
    return open_store()


def runs_of(client: MlflowClient, view: int = ViewType.ACTIVE_ONLY) -> dict[str, Run]:
    found = client.search_runs([experiment_id(client)], run_view_type=view)
    assert len({run.info.run_id for run in found}) == len(found)
    return {run.info.run_name: run for run in found}


def versions_of(client: MlflowClient) -> dict[int, Any]:
    return {int(one.version): one for one in client.search_model_versions("name='clarity'")}


def test_every_training_is_shown_with_what_its_outputs_say(world: MlflowClient) -> None:
    runs = runs_of(world)
    assert set(runs) == {"conv-small-0", "pca-3-0", "comparison"}
    run = runs["conv-small-0"]
    details = json.loads(Training("conv-small", 0).details.read_text())
    assert run.data.metrics["test/mse"] == details["reconstruction"]["test"]["mse"]
    assert (
        run.data.metrics["test/auroc"] == details["anomaly"]["normalised"]["test"]["all"]["auroc"]
    )
    assert "test by kind/auroc cutpaste" in run.data.metrics
    assert run.data.params["train.epochs"] == str(load_params().train.epochs)
    assert run.data.params["latent"] == str(details["latent"])
    curve = world.get_metric_history(run.info.run_id, "curves/val_mse")
    assert [point.step for point in curve] == list(range(EPOCHS))
    assert run.info.status == "FINISHED"
    assert run.inputs is not None
    data = run.inputs.dataset_inputs[0].dataset
    assert run.data.tags[TAG_DATA].startswith(data.digest)
    assert data.profile is not None
    assert json.loads(data.profile)["train"] == 4
    names = {file.path for file in world.list_artifacts(run.info.run_id)}
    assert {"figures", "images", "model_card.md", "per_image.parquet", "test_images.json"} <= names
    assert "conv-small" in run.data.tags["mlflow.note.content"]


def test_all_models_have_pictures_under_the_same_keys_and_steps(world: MlflowClient) -> None:
    shown = []
    for name, run in runs_of(world).items():
        if name != "comparison":
            files = world.list_artifacts(run.info.run_id, "images")
            parts = [Path(file.path).name.split("+") for file in files]
            shown.append({(part[0], part[2]) for part in parts})
    assert shown[0] == shown[1]
    assert {(keys.PROGRESS, "0"), (keys.PROGRESS, "4"), ("test images", "0")} <= shown[0]


def test_publishing_twice_changes_nothing(world: MlflowClient) -> None:
    before, versions, receipt = runs_of(world), versions_of(world), PUBLISHED.read_bytes()
    publish.publish()
    after = runs_of(world)
    assert {name: run.to_dictionary() for name, run in before.items()} == {
        name: run.to_dictionary() for name, run in after.items()
    }
    assert versions_of(world).keys() == versions.keys()
    assert PUBLISHED.read_bytes() == receipt


def test_each_identity_is_one_version_with_its_card(world: MlflowClient) -> None:
    versions = versions_of(world)
    assert len(versions) == 2
    by_identity = {one.tags[TAG_IDENTITY]: one for one in versions.values()}
    one = by_identity[identity_of(Training("conv-small", 0))]
    assert "# conv-small-0" in one.description
    assert "Limits" in one.description
    assert one.tags["test/auroc"]
    run = runs_of(world)["conv-small-0"]
    assert one.run_id == run.info.run_id
    assert run.data.tags[keys.VERSION] == str(one.version)


def test_a_version_scores_images_and_holds_no_pickle(world: MlflowClient) -> None:
    import mlflow

    model = mlflow.pyfunc.load_model("models:/clarity/1")
    images = np.random.default_rng(0).integers(0, 255, (3, 64, 64, 3), dtype=np.uint8)
    answer = model.predict(images)
    assert list(answer.columns[:3]) == ["score", "threshold", "anomaly"]
    assert len(answer) == 3
    assert model.metadata.signature is not None
    files = [path for path in artifacts(Path.cwd()).rglob("*") if path.is_file()]
    assert any(path.name == "MLmodel" for path in files)
    for path in files:
        assert path.suffix not in {".pkl", ".pickle", ".pt", ".pth", ".joblib", ".pyc"}, path
        assert not zipfile.is_zipfile(path), path
        content = path.read_bytes()
        if content[:1] == b"\x80":
            with pytest.raises(ValueError):
                list(pickletools.genops(content))


def test_a_lost_store_is_refilled_with_the_same_figures_and_numbers(world: MlflowClient) -> None:
    before = {name: (run.data.metrics, run.data.params) for name, run in runs_of(world).items()}
    numbers = {number: one.tags[TAG_IDENTITY] for number, one in versions_of(world).items()}
    receipt = PUBLISHED.read_bytes()
    client = lose_store()
    # Numbers as the history remembers them: another order, and some that are nobody's any more.
    remembered = {2: numbers[2], 4: numbers[1], 7: "f" * 64}
    publish.publish(remembered)
    after = {name: (run.data.metrics, run.data.params) for name, run in runs_of(client).items()}
    assert after == before
    assert PUBLISHED.read_bytes() == receipt
    found = {number: one.tags[TAG_IDENTITY] for number, one in versions_of(client).items()}
    assert found == {2: numbers[2], 4: numbers[1]}


def test_another_training_of_a_model_supersedes_the_older(world: MlflowClient) -> None:
    old = runs_of(world)["conv-small-0"]
    write_training(Training("conv-small", 0), shift=0.005)
    publish.publish()
    mine = [
        run
        for run in world.search_runs([experiment_id(world)])
        if run.info.run_name == "conv-small-0"
    ]
    assert len(mine) == 2
    new = next(run for run in mine if run.info.run_id != old.info.run_id)
    left = next(run for run in mine if run.info.run_id == old.info.run_id)
    assert left.data.tags[keys.SUPERSEDED_BY] == new.info.run_id
    assert left.data.tags[keys.CURRENT] == "false"
    assert new.data.tags[keys.CURRENT] == "true"
    assert len(versions_of(world)) == 3
    # Back to the older outputs: the older run is the current one again, and nothing is added.
    write_training(Training("conv-small", 0))
    publish.publish()
    assert world.get_run(old.info.run_id).data.tags[keys.CURRENT] == "true"
    assert keys.SUPERSEDED_BY not in world.get_run(old.info.run_id).data.tags
    assert len(versions_of(world)) == 3


def test_a_new_evaluation_is_a_new_version_of_the_same_run(world: MlflowClient) -> None:
    training = Training("pca-3", 0)
    details = json.loads(training.details.read_text())
    details["reconstruction"]["test"]["mse"] = 0.5
    training.details.write_text(json.dumps(details))
    publish.publish()
    run = runs_of(world)["pca-3-0"]
    assert run.data.metrics["test/mse"] == 0.5
    assert len(versions_of(world)) == 3
    images = world.list_artifacts(run.info.run_id, "images")
    faces = [file for file in images if Path(file.path).name.startswith("test images+")]
    assert len(faces) == 2  # the picture and its preview


def test_a_crashed_live_run_is_picked_up(world: MlflowClient) -> None:
    client = lose_store()
    training = Training("conv-small", 0)
    provenance = json.loads(training.provenance.read_text())
    mirror = LiveMirror.of_training("conv-small", 0)
    mirror._open(provenance)
    mirror.epoch({"epoch": 0, "step": 0, "val_mse": 0.06}, 100.0)
    mirror._write()
    assert mirror._monitor is not None
    mirror._monitor.finish()
    crashed = runs_of(client)["conv-small-0"]
    assert crashed.info.status == "RUNNING"
    assert runs.is_alive(crashed)
    # The process is gone: its number now belongs to nobody.
    client.set_tag(crashed.info.run_id, keys.PROCESS, "elsewhere")
    publish.publish()
    run = runs_of(client)["conv-small-0"]
    assert run.info.run_id == crashed.info.run_id
    assert run.info.status == "FINISHED"
    curve = client.get_metric_history(run.info.run_id, "curves/val_mse")
    assert [point.step for point in curve] == list(range(EPOCHS))


def test_a_commit_is_an_origin_only_of_what_it_holds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def git(*arguments: str) -> None:
        identity = ("-c", "user.name=A User", "-c", "user.email=user@example.org")
        subprocess.run(["git", *identity, *arguments], check=True, capture_output=True)

    monkeypatch.chdir(tmp_path)
    for folder in (tmp_path, tmp_path / ".quick"):
        (folder / "networks").mkdir(parents=True)
        (folder / "params.yaml").touch()
    Path("networks/mine.py").touch()
    Path(".gitignore").write_text("/.quick/\n")
    git("init", "--quiet")
    git("add", ".")
    git("commit", "--quiet", "-m", "a project")
    assert facts.commit()[keys.DIRTY] == "false"
    Path("networks/mine.py").write_text("# changed")
    assert facts.commit()[keys.DIRTY] == "true"
    monkeypatch.chdir(".quick")
    assert facts.commit() == {}


def test_a_mirror_of_other_numbers_is_thrown_away(world: MlflowClient) -> None:
    client = lose_store()
    training = Training("conv-small", 0)
    fingerprint = json.loads(training.provenance.read_text())["fingerprint"]
    tags = {
        keys.KIND: keys.TRAINING,
        TAG_FINGERPRINT: fingerprint,
        "mlflow.runName": training.name,
    }
    stale = client.create_run(experiment_id(client), tags=tags)
    client.log_metric(stale.info.run_id, "curves/val_mse", 99.0, step=0)
    publish.publish()
    assert client.get_run(stale.info.run_id).info.lifecycle_stage == "deleted"
    assert runs_of(client)["conv-small-0"].info.run_id != stale.info.run_id


def test_a_dropped_model_leaves_the_current_runs(world: MlflowClient) -> None:
    text = Path("params.yaml").read_text()
    head, _, tail = text.partition("  pca-3:")
    rest = tail[tail.index("\nensembles:") :]
    Path("params.yaml").write_text(head + rest)
    write_reports(["conv-small"])
    publish.publish()
    assert runs_of(world)["pca-3-0"].data.tags[keys.CURRENT] == "false"
    assert "pca-3-0" not in json.loads(PUBLISHED.read_text())["trainings"]


def test_the_comparison_run_carries_report_and_verdicts(world: MlflowClient) -> None:
    run = runs_of(world)["comparison"]
    names = {file.path for file in world.list_artifacts(run.info.run_id)}
    assert {"index.html", "table.md", "verdicts.json"} <= names
    assert "Larger is not shown" in run.data.tags["mlflow.note.content"]
    note = world.get_experiment(experiment_id(world)).tags["mlflow.note.content"]
    assert "Larger is not shown" in note
    write_reports(["conv-small"])
    publish.publish()
    assert runs_of(world)["comparison"].info.run_id == run.info.run_id


def test_a_missing_output_is_one_line(world: MlflowClient) -> None:
    Training("conv-small", 0).details.unlink()
    with pytest.raises(ClarityError, match=r"details.json: missing; `dvc checkout`"):
        publish.publish()


def test_the_receipt_names_no_run_and_no_time(world: MlflowClient) -> None:
    text = PUBLISHED.read_text()
    for run in runs_of(world).values():
        assert run.info.run_id not in text
    assert set(json.loads(text)) == {"data", "registered_model", "trainings"}
