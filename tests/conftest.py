"""What tests share: a tiny project that has run once, built once for all worker processes."""

from __future__ import annotations

import itertools
import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from filelock import FileLock
from project import Project, make_project
from xdist.scheduler import LoadScopeScheduling

if TYPE_CHECKING:
    from playwright.sync_api import Browser

_numbers = itertools.count()
#: Folders and files of tests with a world of their own.
TOGETHER = {
    "eye",
    "compare",
    "test_evaluate_stage.py",
    "test_docs_python.py",
    "test_two_at_once.py",
}
#: The one that builds the finished project.
FIRST = "eye"

#: What names somebody's own servers, stores and folders: a shell's, or those that `make` sets.
OWN = ("PREFECT_", "MLFLOW_", "DVC_", "CLARITY_HOME", "CLARITY_SOURCE", "CLARITY_RUN_CODE")
QUIET = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "DO_NOT_TRACK": "1",
}

for name in [name for name in os.environ if name.startswith(OWN)]:
    del os.environ[name]
os.environ |= QUIET

# A shell's background job inherits "ignore Ctrl-C", and so would the servers that tests interrupt.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    with suppress(ValueError):  # not the main thread: left as it is
        signal.signal(signal.SIGINT, signal.default_int_handler)


class Together(LoadScopeScheduling):
    """Tests that share what takes long to make run in one process, so that it is made once.

    Not by xdist's marks of groups: with pytest 9.2 they are passed over in silence.
    """

    def _split_scope(self, nodeid: str) -> str:
        return _world(nodeid) or nodeid


def _world(nodeid: str) -> str:
    return min(TOGETHER & set(Path(nodeid.partition("::")[0]).parts), default="")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Together:
    config.option.loadscopereorder = False
    return Together(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """While one process builds the finished project, the other has tests that do not wait for it;
    what shares a world comes before single tests, which share out evenly at the end."""

    def turn(item: pytest.Item) -> int:
        world = _world(item.nodeid)
        if world == FIRST:
            return 0
        if "finished" not in getattr(item, "fixturenames", ()):
            return 1
        return 2 if world else 3

    items.sort(key=turn)


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A tiny project after `dvc repro`, committed. Read it; change only copies (`project`)."""
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if base.name.startswith("popen-") else base
    path = shared / "finished" / "project"
    done = shared / "finished" / "done"
    with FileLock(str(shared / "finished.lock")):
        if not done.exists():
            project = make_project(path)
            project.repro()
            project.commit("The first results")
            done.touch()
    return Project(path)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A browser of a module's own."""
    from browsing import chromium

    with chromium() as started:
        yield started


@pytest.fixture
def project(finished: Project, tmp_path: Path) -> Project:
    """A copy of the finished project that a test may change."""
    return finished.copy(tmp_path / f"project-{next(_numbers)}")
