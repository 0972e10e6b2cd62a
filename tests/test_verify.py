"""`clarity verify`: an honest rerun agrees, whatever was planted is found."""

from __future__ import annotations

import copy
import json
import random
from pathlib import Path
from typing import Any

import pytest
from project import Project
from ruamel.yaml import YAML

from clarity.errors import ClarityError
from clarity.params import load_params
from clarity.verify import figures, inputs, verdicts, verify

#: Figures that a change of one interval's width is planted in.
PLANTED = ("test_haarpsi", "train_mse", "auroc", "parameters", "latent", "flops")


def metrics_of(root: Path) -> dict[str, Any]:
    paths = root.glob("evaluations/*/metrics.json")
    return {path.parent.name: json.loads(path.read_text()) for path in paths}


def test_the_same_results_agree_and_every_planted_change_is_found(
    finished: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(finished.path)
    said: list[str] = []
    assert verify(say=said.append)
    assert said[-1].endswith("the same conclusions, bit for bit")
    with pytest.raises(ClarityError, match=r"^--output=x: no such commit"):
        verify("--output=x")

    params, chance = load_params(), random.Random(0)
    judged = json.loads(Path("reports/verdicts.json").read_text())
    # The tiny project has no two sizes to compare.
    judged["claims"][0]["comparisons"] = [
        {
            "population": population,
            "subject": "conv-large",
            "reference": "conv-small",
            "status": "confirmed",
            "reading": "yes",
            "verdict": {"outcome": "confirmed"},
        }
        for population in ("train", "test")
    ]
    table = json.loads(Path("reports/table.json").read_text())
    metrics = metrics_of(finished.path)
    stages = YAML(typ="safe").load(Path("dvc.lock").read_text())["stages"]
    assert verdicts(judged, judged)[0] > 0
    assert verdicts(judged, judged)[1] == []
    assert figures(params, metrics, table)[1] == []
    assert inputs(stages, stages) == []

    for _ in range(50):
        other = copy.deepcopy(metrics)
        training, name = chance.choice(list(other)), chance.choice(PLANTED)
        row = next(one for one in table["models"] if f"{one['model']}-0" == training)
        width = (row.get(f"{name}_high") or 0) - (row.get(f"{name}_low") or 0)
        other[training][name] += chance.choice([-1, 1]) * (width or max(1, 0.1 * row[name]))
        found = figures(params, other, table)[1]
        assert [line.split(" is ")[0] for line in found] == [f"{training[:-2]}: {name}"]

        other = copy.deepcopy(judged)
        one = chance.choice([*other["claims"][0]["comparisons"], *other["findings"]])
        place = chance.choice([one, one["verdict"]])
        place["reading" if place is one else "outcome"] = "planted"
        assert len(verdicts(judged, other)[1]) == 1

        other = copy.deepcopy(stages)
        stage = chance.choice([n for n in other if n.startswith(("train", "evaluate"))])
        part = next(d for d in other[stage]["deps"] if d["path"].startswith("src/"))
        part["md5"] = "planted"
        assert inputs(stages, other) == [f"{stage}: other code in {part['path']}"]
        other = copy.deepcopy(stages)
        other["train@conv-small-0"]["params"]["params.yaml"]["train"]["epochs"] = 9
        assert inputs(stages, other) == [
            "train@conv-small-0: train.epochs is 9 here and 1 there"
        ]  # fmt: skip
        other["train@conv-small-0"] = copy.deepcopy(stages["train@conv-small-0"])
        other["train@conv-small-0"]["params"]["params.yaml"]["threads"] = 7
        assert inputs(stages, other) == []


def test_a_changed_output_and_other_parameters_fail_with_code_1(project: Project) -> None:
    path = project.path / "evaluations/fcn-small-0/metrics.json"
    content = json.loads(path.read_text())
    content["test_haarpsi"] += 0.5
    path.write_text(json.dumps(content))
    done = project.run("clarity", "verify", check=False)
    assert done.returncode == 1, done.stderr
    lines = done.stdout.splitlines()
    assert any(
        line.startswith("differs: evaluate@fcn-small-0: the workspace is not what dvc.lock")
        for line in lines
    )
    assert any(line.startswith("differs: fcn-small: test_haarpsi is") for line in lines)
    assert lines[-1].endswith("compared: NOT the same")
    done = project.run("clarity", "verify", "no-such-branch", check=False)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.slow
def test_honest_reruns_with_other_threads_agree(project: Project) -> None:
    for threads in (2, 1):
        project.change({"threads": threads})
        project.repro()
        done = project.run("clarity", "verify", check=False)
        assert done.returncode == 0, done.stdout + done.stderr
