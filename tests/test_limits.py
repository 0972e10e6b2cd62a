"""A full disk, too little memory, tampered files: one line each, and nothing of it stays."""

from __future__ import annotations

import json
import random
import resource
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from project import Project

from clarity.errors import ClarityError
from clarity.machine import in_one_line, refusal
from clarity.registry.history import History

#: Command, the most bytes that a file may grow to, and what its line must name. 2 kB is less than
#: any array or table.
FULL = {
    "ingest": (("ingest",), 2000, "data/raw/"),
    "preprocess": (("preprocess",), 2000, ""),
    "train": (("train", "fcn-small", "0"), 20_000, ".checkpoints/"),
    "evaluate": (("evaluate", "fcn-small", "0"), 2000, "evaluations/fcn-small-0/"),
    "compare": (("compare",), 2000, "reports/"),
    "publish": (("publish",), 20_000, "mlruns/"),
    "backfill": (("backfill",), 20_000, "mlruns/"),
    "promote": (("promote",), 200, "mlruns/"),
    "score": (("score", "data/processed/test.npy"), 500, "scores/"),
}
#: What the default tests try; the rest takes minutes.
QUICK = ("train",)


def limited(
    project: Project, kind: int, most: int, *command: str, program: Sequence[str] = ("clarity",)
) -> subprocess.CompletedProcess:
    """Run a command that may use at most so much of a resource, and that nobody else takes from."""
    measured = "COVERAGE"  # `make coverage` writes a database as the command ends
    return subprocess.run(
        [*program, *command],
        cwd=project.path,
        env={k: v for k, v in project.environment.items() if not k.startswith(measured)},
        preexec_fn=lambda: resource.setrlimit(kind, (most, most)),
        capture_output=True,
        text=True,
    )


def one_line(done: subprocess.CompletedProcess) -> str:
    """What a refused command said: its own one line, beside progress."""
    assert done.returncode == 2, (done.returncode, done.stdout, done.stderr)
    assert "Traceback" not in done.stderr, done.stderr
    said = [line for line in done.stderr.splitlines() if line.startswith("clarity: ")]
    assert len(said) == 1, done.stderr
    return said[0]


@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=() if n in QUICK else pytest.mark.slow) for n in FULL],
)
def test_a_full_disk_is_one_line_that_names_the_file(name: str, project: Project) -> None:
    command, most, where = FULL[name]
    if name in ("publish", "backfill"):
        project.change({"gate": {"name": "another"}})  # else there is nothing to write
    if name == "score":
        project.run("clarity", "promote")
    line = one_line(limited(project, resource.RLIMIT_FSIZE, most, *command))
    assert where in line, line
    assert "File too large" in line or "disk" in line, line
    left = [path for path in project.path.rglob("*.tmp*") if ".dvc" not in path.parts]
    assert not left
    # With room again the same command goes through.
    project.run("clarity", *command)


@pytest.mark.parametrize("kilobytes", [1, 40])
def test_a_full_disk_under_dvcs_own_notes_is_one_line(kilobytes: int, project: Project) -> None:
    reproduce = (sys.executable, "-m", "pipelines.reproduce", "--no-prefect")
    full = (resource.RLIMIT_FSIZE, kilobytes * 1024)
    assert "disk I/O error" in one_line(limited(project, *full, program=reproduce))
    assert "nothing to do" in project.run(*reproduce).stdout


@pytest.mark.slow
def test_too_little_memory_is_one_line(project: Project) -> None:
    images = np.zeros((20_000, 64, 64, 3), np.uint8)
    np.save(project.path / "data/processed/train.npy", images)
    project.change({"models": {"pca-3": {"latent": 3}}, "train": {"batch_size": 100_000}})
    done = limited(project, resource.RLIMIT_DATA, 2 * 2**30, "train", "conv-small", "0")
    assert "lower the batch sizes" in one_line(done)


@pytest.mark.parametrize("most", [350, 600, 650, 700])
def test_memory_too_little_for_the_libraries_is_one_line(project: Project, most: int) -> None:
    """Their native code ends by a signal where a thread gets none."""
    for kind in (resource.RLIMIT_DATA, resource.RLIMIT_AS):
        done = limited(project, kind, most * 2**20, "train", "conv-small", "0")
        assert "not enough memory: `ulimit -" in one_line(done)


def _bytes(content: bytes, chance: random.Random) -> bytes:
    at = chance.randrange(len(content))
    return content[:at] + bytes([chance.randrange(256)]) + content[at + 1 :]


def _cut(content: bytes, chance: random.Random) -> bytes:
    return content[: chance.randrange(len(content))]


def _value(content: bytes, chance: random.Random) -> bytes:
    entry = json.loads(content.splitlines()[0])
    odd: list[object] = [None, -1, 1e300, "x", [], {}, {"x": "y"}, "9" * 5000, "\x1b[2J", True]
    entry[chance.choice(list(entry))] = chance.choice(odd)
    return json.dumps(entry).encode()


@pytest.mark.parametrize("change", [_bytes, _cut, _value])
def test_a_tampered_history_is_read_or_refused_in_one_line(
    change: Callable[[bytes, random.Random], bytes], tmp_path: Path
) -> None:
    from clarity.registry.history import entry

    numbers = {"gate_split": "ab" * 8, "metric": "auroc"}
    lines = [
        entry("register", "published", after=1, identities={1: "a" * 64}),
        entry("promote", "first", alias="champion", after=1, identities={1: "a" * 64}),
        entry("challenge", "no", alias="challenger", after=1, numbers=numbers),
    ]
    content = "".join(f"{one.line()}\n" for one in lines).encode()
    path, chance = tmp_path / "history.jsonl", random.Random(0)
    refused: list[str] = []
    for _ in range(300):
        path.write_bytes(change(content, chance))
        try:
            history = History(path)
        except ClarityError as error:
            refused.append(str(error))
            continue
        assert isinstance(history.numbers, dict)
        assert isinstance(history.champions, list)
        assert isinstance(history.withdrawn, set)
        assert isinstance(history.aliases, dict)
        assert history.question("ab" * 16, {1: "a" * 64}) >= 1
        assert history.asked("ab" * 16, {1: "a" * 64}) in (True, False)
    assert refused
    assert not any("\n" in line for line in refused)


def test_an_account_that_may_not_is_one_line() -> None:
    from mlflow.exceptions import MlflowException

    said = "API request to endpoint /api/x failed with error code 403 != 200. Response body: 'no'"
    assert "http://team: refused (403)" in (refusal(MlflowException(said), "http://team") or "")
    assert refusal(MlflowException("API request failed with error code 500")) is None


def test_a_server_that_is_gone_is_one_line_without_its_password(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(MlflowException) as raised:
        MlflowClient("http://ada:SECRET1@127.0.0.1:9").get_experiment("0")
    assert "SECRET1" in str(raised.value)  # MLflow's own words
    said = r"^http://team: the server no longer answers; start it"
    with pytest.raises(ClarityError, match=said), in_one_line("http://team"):
        raise raised.value
    proxy = "API request to endpoint /api/x failed with error code 502 != 200. Response body: ''"
    assert "no longer answers (502)" in (refusal(MlflowException(proxy)) or "")
