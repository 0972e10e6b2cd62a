"""The search for a recipe: what it tries, that it goes on where it stopped, and what it leaves."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from filelock import FileLock
from mlflow import MlflowClient
from project import Project
from ruamel.yaml import YAML

from clarity.errors import ClarityError
from clarity.params import load_params
from clarity.presets import apply_preset
from clarity.score.registered import TAG_REGISTERED
from clarity.tracking import keys, tuning
from clarity.tune import study as studies
from clarity.tune.space import KNOBS, changes, committed, distributions
from clarity.tune.trial import changed

ROOT = Path(__file__).parent.parent.parent
MODEL = "conv-small"


@pytest.fixture
def search(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> studies.Search:
    (tmp_path / "params.yaml").write_text((ROOT / "tests/params.yaml").read_text())
    (tmp_path / "presets").mkdir()
    monkeypatch.chdir(tmp_path)
    params = load_params()
    knobs = ("learning_rate", "batch_size", "loss", "widths")
    space = distributions(params, MODEL, knobs, 240)
    return studies.Search(params, MODEL, 0, knobs, space, "abc")


def answer(search: studies.Search, count: int) -> list[dict]:
    """Ask for so many candidates, larger rates being better; what was proposed."""
    study = studies.open_study(search)
    proposed = []
    for _ in range(count):
        trial = studies.ask(study, search)
        proposed.append(trial.params)
        study.tell(trial, 1 / (1 + trial.params["learning_rate"]))
    return proposed


def test_the_first_candidate_is_the_recipe_there_is(search: studies.Search) -> None:
    (first,) = answer(search, 1)
    assert first == committed(search.params, MODEL, search.knobs)
    assert changes(search.params, MODEL, first) == {}


def test_an_interrupted_search_proposes_what_an_undisturbed_one_does(
    search: studies.Search, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = answer(search, 12)
    (tmp_path / "mlruns/tuning.db").unlink()
    again = answer(search, 5)
    study = studies.open_study(search)
    dropped = studies.ask(study, search).params  # and never told
    assert [*again, *answer(search, 1)] == [*whole[:5], dropped] == whole[:6]


def test_every_candidate_is_a_valid_model_and_the_winner_a_preset(search: studies.Search) -> None:
    for values in answer(search, 12):
        wanted = changes(search.params, MODEL, values)
        params = changed(MODEL, wanted)
        assert params.recipe(MODEL).batch_size == values["batch_size"]
        assert params.model(MODEL).widths[0] == 16 * values["widths"]
    study = studies.open_study(search)
    path = studies.write_preset(study, search)
    assert path is not None
    assert "best of 12" in path.read_text()
    apply_preset(path.stem, Path())
    best = studies.best(study)
    assert best is not None
    found = load_params().recipe(MODEL)
    assert found.learning_rate == pytest.approx(best.params["learning_rate"], rel=0.01)
    assert found.epochs == search.params.recipe(MODEL).epochs


def test_two_processes_never_share_a_search(search: studies.Search) -> None:
    other = replace(search, knobs=("loss",))
    with studies.alone(search):
        for same in (search, other):
            said = "another process searches here with seed 0"
            with pytest.raises(ClarityError, match=said), studies.alone(same):
                pass
        with studies.alone(replace(search, seed=1)):
            pass
    with studies.alone(other):
        pass


@pytest.mark.parametrize(
    ("model", "knob", "said"),
    [
        ("pca-3", "learning_rate", "fitted, not trained"),
        ("conv-small", "epochs", "there are learning_rate"),
        ("conv-small", "latent", "this model has none"),
        ("huge", "loss", "does not exist"),
    ],
)
def test_what_cannot_be_searched_is_one_line(model: str, knob: str, said: str) -> None:
    params = load_params(ROOT / "tests/params.yaml")
    with pytest.raises(ClarityError, match=said):
        distributions(params, model, [knob], 240)
    space = distributions(params, "fcn-small", KNOBS, 3)
    assert set(space) == set(KNOBS)
    # Of few images too the recipe that there is can be the first candidate.
    own = committed(params, "fcn-small", KNOBS)
    assert all(space[name]._contains(space[name].to_internal_repr(own[name])) for name in KNOBS)


@pytest.mark.slow
def test_the_flow_trains_candidates_logs_them_and_goes_on(project: Project) -> None:
    command = (sys.executable, "-m", "pipelines.tune", MODEL, "--trials")
    said = project.run(*command, "2").stdout
    assert "the best of 2" in said
    client = MlflowClient(f"sqlite:///{project.path}/mlruns/mlflow.db")
    experiment = client.get_experiment_by_name("clarity")
    assert experiment is not None

    def logged() -> list:
        return client.search_runs(
            [experiment.experiment_id], f"tags.`{keys.KIND}` = '{keys.TUNING}'"
        )

    runs = {run.data.tags.get(tuning.CANDIDATE): run for run in logged()}
    assert set(runs) == {None, "0", "1"}
    search, first = runs[None], runs["0"]
    assert first.data.tags["mlflow.parentRunId"] == search.info.run_id
    assert first.data.params["changes"] == "{}"
    assert 0 < first.data.metrics["val/haarpsi"] < 1
    history = client.get_metric_history(first.info.run_id, keys.curve("val_mse"))
    assert [point.step for point in history] == [0, 1]
    # The committed training, from the same seed, ends at the same error.
    curves = (project.path / f"models/{MODEL}-0/curves.csv").read_text().splitlines()
    column = curves[0].split(",").index("val_mse")
    assert history[-1].value == pytest.approx(float(curves[-1].split(",")[column]), rel=1e-6)

    lock = FileLock(project.path / f".checkpoints/tune@{MODEL}-0.lock")
    with lock:
        twice = project.run(*command, "3", check=False)
    assert twice.returncode == 1
    assert twice.stderr.splitlines()[-1] == (
        f"clarity: {MODEL}: another process searches here with seed 0; wait for it, or name "
        "another --seed"
    )
    client.delete_tag(first.info.run_id, TAG_REGISTERED)  # as those from before runs had owners
    project.run(*command, "3")
    assert len(logged()) == 4
    assert client.get_run(first.info.run_id).data.tags[TAG_REGISTERED] == "clarity"
    preset = project.path / f"presets/tuned-{MODEL}.yaml"
    if preset.exists():
        content = YAML(typ="safe").load(preset.read_text())
        assert list(content["models"]) == [MODEL]
    assert not [path for path in (project.path / ".checkpoints").iterdir() if path.is_dir()]
    # A rate too far ends the candidate, not the search.
    far = json.dumps({"train": {"learning_rate": 1e30}})
    told = project.run(sys.executable, "-m", "clarity.tune.trial", MODEL, "0", far).stdout
    assert "diverged at step" in json.loads(told.splitlines()[-1])["diverged"]
    assert not [path for path in (project.path / ".checkpoints").iterdir() if path.is_dir()]
    wrong = project.run(*command, "1", "--knob", "epochs", check=False)
    assert wrong.returncode == 2
    assert wrong.stderr.splitlines()[-1].startswith("clarity: --knob epochs: there are")
    assert json.loads(runs["1"].data.params["changes"].replace("'", '"'))
