"""Graph, stale set and single stages, asked of a real DVC project."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from ruamel.yaml import YAML
from tools import Run, environment, until

from clarity.errors import ClarityError
from pipelines.stages.graph import Graph, read_graph
from pipelines.stages.lock import order_lock
from pipelines.stages.order import longest_first
from pipelines.stages.stage import StageFailed, run_stage


@pytest.fixture
def done(project: Path, run: Run) -> Path:
    assert run(sys.executable, "-m", "dvc", "repro", "-q").returncode == 0
    return project


def test_everything_is_stale_at_first_and_stands_behind_what_it_needs(project: Path) -> None:
    graph = read_graph(project)
    order = graph.to_run()
    assert order[0] == "ingest"
    assert order[-2:] == ["compare", "publish"]
    assert len(order) == 7
    for name in order:
        assert all(order.index(above) < order.index(name) for above in graph.upstream[name])
    assert graph.local == {"publish"}


def test_only_what_changed_and_its_descendants(done: Path) -> None:
    assert read_graph(done).to_run() == []
    text = (done / "params.yaml").read_text()
    (done / "params.yaml").write_text(text.replace("[512, 128", "[500, 128"))
    graph = read_graph(done)
    assert list(graph.stale) == ["train@fcn-small-0"]
    behind = ["train@fcn-small-0", "evaluate@fcn-small-0", "compare", "publish"]
    assert graph.to_run() == behind
    assert graph.to_run(["evaluate"]) == behind[:2]
    assert graph.to_run(["train@fcn-medium-0"]) == []


def test_stages_that_ended_in_another_order_are_locked_as_dvc_repro_locks_them(
    done: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(done)
    alone = Path("dvc.lock").read_bytes()
    content = YAML().load(alone)
    content["stages"] = dict(reversed(list(content["stages"].items())))
    with Path("dvc.lock").open("wb") as handle:
        YAML().dump(content, handle)
    assert Path("dvc.lock").read_bytes() != alone
    order_lock(read_graph(), [])
    assert Path("dvc.lock").read_bytes() == alone


def test_an_unknown_stage_is_refused_with_the_names_there_are(project: Path) -> None:
    with pytest.raises(ClarityError, match=r"trian: no such stage .* ingest, train, evaluate"):
        read_graph(project).to_run(["trian"])


def test_a_stage_streams_its_output_and_says_why_it_failed(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(project)
    monkeypatch.setenv("PREFECT_HOME", str(project / ".prefect"))
    lines: list[str] = []
    assert run_stage("ingest", lines.append)
    assert "epoch 3/4" in lines
    assert not run_stage("ingest", lines.append)
    (project / "fail").write_text("train@fcn-small-0")
    with pytest.raises(StageFailed) as failure:
        run_stage("train@fcn-small-0", lines.append)
    assert type(failure.value) is StageFailed
    assert str(failure.value) == (
        "train@fcn-small-0 failed: images.npy: row 7 is not an image; remove it (exit code 1)"
    )


def test_a_stage_that_takes_too_long_is_killed(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(project)
    monkeypatch.setenv("PREFECT_HOME", str(project / ".prefect"))
    graph = (project / "dvc.yaml").read_text()
    (project / "dvc.yaml").write_text(graph.replace("seconds: 0.1", "seconds: 60"))
    with pytest.raises(StageFailed, match=r"ingest was killed: it took longer than 2 s"):
        run_stage("ingest", print, timeout=2)


def test_beside_dvc_repro_it_waits_and_says_for_whom(project: Path) -> None:
    """The output of a stage is locked while the stage runs; a `dvc.lock` is written in place."""
    (project / "dvc.yaml").write_text(
        (project / "dvc.yaml").read_text().replace("seconds: 0.1", "seconds: 2")
    )
    log = project / "log"
    other = subprocess.Popen(
        [sys.executable, "-m", "dvc", "repro", "-q", "-s", "ingest"],
        cwd=project,
        env=environment(TOY_LOG=str(log)),
    )
    until(lambda: log.exists() and "start ingest" in log.read_text(), 60, "ingest runs")
    said: list[str] = []
    graph = read_graph(project, said.append)
    assert said == [f"DVC is at work here (PID {other.pid}): waiting until it is done"]
    assert other.wait(60) == 0
    assert "ingest" not in graph.stale
    assert "train@fcn-small-0" in graph.stale
    # What is broken for good is not waited for.
    (project / "dvc.lock").write_text("schema: '2.0'\nstages: 3\n")
    with pytest.raises(ClarityError, match=r"dvc\.lock"):
        read_graph(project, said.append)
    assert len(said) == 1


def test_what_takes_longest_to_the_end_begins_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    models = ("small-0", "large-0", "new-0")
    trained = {f"train@{name}": frozenset({"ingest"}) for name in models}
    judged = {f"evaluate@{name}": frozenset({f"train@{name}"}) for name in models}
    graph = Graph({"ingest": frozenset(), **trained, **judged, "compare": frozenset(judged)}, {})
    names = list(graph.upstream)
    never = ["new-0", "large-0", "small-0"]  # in the order of params.yaml, the last one first
    assert [n for n in longest_first(graph, names) if n in trained] == [f"train@{n}" for n in never]

    Path("mlruns/timings").mkdir(parents=True)
    for name, seconds in (("small-0", 40), ("large-0", 20)):
        took = {"train_seconds": seconds, "evaluate_seconds": 5}
        Path(f"mlruns/timings/{name}.json").write_text(json.dumps(took))
    ordered = [n for n in longest_first(graph, names) if "@" in n]
    assert ordered[0] == "train@new-0"
    assert ordered[2:4] == ["train@small-0", "train@large-0"]
    Path("mlruns/timings/small-0.json").write_text("{torn")
    assert sorted(longest_first(graph, names)) == sorted(names)
