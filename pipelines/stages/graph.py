"""The stage graph and what is stale in it, read from DVC in this process.

DVC alone knows which stage must run. Asking it once costs about a second; asking with a spawned
``dvc`` for every stage costs that much for each of them.
"""

from __future__ import annotations

import json
import re
import sqlite3
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import chdir, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clarity.commands import git
from clarity.errors import ClarityError, in_a_line
from clarity.files import write_bytes, write_text
from clarity.layout import LOCK
from clarity.machine import refusal

#: What a run says that has nothing to run.
NOTHING = "nothing to do: every stage is up to date"
#: DVC's words for a lock that somebody else holds.
BUSY = re.compile(r"Unable to acquire lock|is busy, it is being blocked|database is locked", re.I)
#: Its words for a ``dvc.lock`` that was read while another DVC wrote it.
_HALF = re.compile(r"dvc\.lock'? (validation failed|is invalid)|unable to read: '[^']*dvc\.lock'")
TORN_READS = 5
#: Seconds between two looks, and in all: the longest training, and then some.
WAIT, PATIENCE = 1.0, 86400.0


@dataclass(frozen=True)
class Graph:
    """Stages by name, in an order in which each stands behind what it depends on."""

    upstream: Mapping[str, frozenset[str]]
    #: Stages that changed, with the reason in words.
    stale: Mapping[str, str]
    #: Stages that the run cache cannot keep (a persistent output, say): they run where one asks.
    local: frozenset[str] = frozenset()
    #: Stages in the order in which plain ``dvc repro`` would come to them.
    plan: tuple[str, ...] = ()

    def ancestors(self, name: str) -> set[str]:
        """Every stage that ``name`` depends on, at any distance."""
        found: set[str] = set()
        pending = [name]
        while pending:
            new = self.upstream[pending.pop()] - found
            found |= new
            pending += new
        return found

    def to_run(self, targets: Iterable[str] | None = None) -> list[str]:
        """Stale stages and their descendants, in order; with ``targets`` only what these need."""
        wanted = set(self.upstream)
        if targets is not None:
            wanted = set()
            for target in targets:
                wanted |= self.match(target)
            for name in list(wanted):
                wanted |= self.ancestors(name)
        chosen: list[str] = []
        for name, above in self.upstream.items():
            if name in wanted and (name in self.stale or not above.isdisjoint(chosen)):
                chosen.append(name)
        return chosen

    def match(self, target: str) -> set[str]:
        """The stage of that name, or all of a matrix: ``train`` is every ``train@…``."""
        found = {name for name in self.upstream if target in (name, name.partition("@")[0])}
        if not found:
            names = ", ".join(dict.fromkeys(n.partition("@")[0] for n in self.upstream))
            raise ClarityError(f"{target}: no such stage in dvc.yaml; there are {names}")
        return found


@contextmanager
def repository(root: Path | None = None) -> Iterator[Any]:
    """DVC's view of the project, waiting for its lock rather than failing on it.

    Raises:
        ClarityError: DVC's own complaint in one line (a broken dvc.yaml, say), or the disk's.
    """
    from dvc.exceptions import DvcException
    from dvc.repo import Repo

    try:
        # DVC names stages and outputs relative to the working directory.
        with chdir(root or "."), Repo(_wait_for_lock=True) as repo:
            mend_rwlock(Path(repo.tmp_dir))
            yield repo
    except DvcException as error:
        raise ClarityError(in_a_line(error)) from None
    except (OSError, sqlite3.Error) as error:
        if (said := refusal(error, "DVC's notes in .dvc/tmp")) is None:
            raise
        raise ClarityError(said) from None


def mend_rwlock(tmp: Path) -> bool:
    """Remove DVC's table of files in use where a kill tore it; whether it was torn.

    DVC writes `.dvc/tmp/rwlock` in place, so a DVC killed at that moment leaves half of it, and
    every later one refuses to start. Who is named in it is gone, or no longer readable.
    """
    from dvc.lock import make_lock
    from dvc.rwlock import RWLOCK_FILE, RWLOCK_LOCK

    path = tmp / RWLOCK_FILE
    if not _torn(path):
        return False
    # A live DVC writes under this lock: what is torn while it is held is torn for good.
    with make_lock(str(tmp / RWLOCK_LOCK), tmp_dir=str(tmp)):
        if _torn(path):
            path.unlink()
            return True
    return False


def _torn(path: Path) -> bool:
    try:
        json.loads(path.read_bytes())
    except FileNotFoundError:
        return False
    except ValueError:
        return True
    return False


def mend_lock(root: Path | None = None) -> bool:
    """Put back a ``dvc.lock`` that a kill tore; whether it was one.

    DVC writes it in place when a stage has ended. What git's does not name is in the run cache.
    The torn one goes to `.dvc/tmp/torn.lock`; one that ends as a file does is somebody's work.
    """
    from dvc.dvcfile import Lockfile
    from dvc.exceptions import DvcException

    with repository(root) as repo, repo.lock:  # no DVC is writing it
        path = Path(repo.root_dir) / LOCK
        try:
            Lockfile(repo, str(path)).load()
            return False
        except DvcException:
            content = path.read_bytes()
        if content.endswith(b"\n") and not content.rstrip().endswith(b":"):
            return False
        write_bytes(Path(repo.tmp_dir) / "torn.lock", content)
        if kept := git(path.parent, "show", f"HEAD:./{LOCK}", check=False):
            write_text(path, kept)
        else:
            path.unlink()
        return True


def read_graph(root: Path | None = None, say: Callable[[str], None] | None = None) -> Graph:
    """Ask DVC for the graph and for what changed, once it can be asked.

    Beside a ``dvc repro`` it cannot: what a stage writes is locked for as long as the stage runs.

    Args:
        root: The project's root, where it is not the working directory.
        say: Is told for whom this waits; standard error by default.

    Raises:
        ClarityError: DVC's complaint, or it is still at work after ``PATIENCE``.
    """
    told = False
    deadline = time.monotonic() + PATIENCE
    torn = 0
    while True:
        try:
            with repository(root) as repo:
                return graph_of(repo)
        except ClarityError as error:
            text = str(error)
            if _HALF.search(text) and torn < TORN_READS:
                torn += 1
            elif _HALF.search(text) and torn == TORN_READS and mend_lock(root):
                torn += 1  # once
                (say or _to_stderr)(
                    "dvc.lock was torn by a kill: put back as git has it; what was done since "
                    "comes from DVC's run cache"
                )
            elif not BUSY.search(text) or time.monotonic() > deadline:
                raise
            elif not told:
                told = True
                pids = ", ".join(re.findall(r"\(PID \d+\)", text)) or "another process"
                line = f"DVC is at work here {pids}: waiting until it is done"
                (say or _to_stderr)(line)
        time.sleep(WAIT)


def _to_stderr(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def graph_of(repo: Any) -> Graph:
    """The graph of an open repository, with what is stale in it."""
    import networkx  # type: ignore[import-untyped]

    graph = repo.index.graph
    position = {stage: place for place, stage in enumerate(repo.index.stages)}
    ordered = networkx.lexicographical_topological_sort(graph.reverse(), key=position.__getitem__)
    upstream = {
        stage.addressing: frozenset(above.addressing for above in graph.successors(stage))
        for stage in ordered
    }
    from dvc.repo.reproduce import collect_stages, get_active_graph, plan_repro

    plan = plan_repro(get_active_graph(graph), collect_stages(repo, ["dvc.yaml"]))
    return Graph(
        upstream,
        {name: _reason(what) for name, what in repo.status().items()},
        frozenset(stage.addressing for stage in graph if not _cacheable(stage)),
        tuple(stage.addressing for stage in plan),
    )


def _cacheable(stage: Any) -> bool:
    """Whether DVC's run cache keeps this stage: the rule of ``dvc.stage``."""
    if not (stage.cmd and stage.deps and stage.outs) or stage.always_changed:
        return False
    return not any(
        out.persist
        or out.protocol != "local"
        or not (out.use_cache or out.is_metric or out.is_plot)
        for out in stage.outs
    )


def _reason(changes: Iterable[str | Mapping[str, Any]]) -> str:
    """DVC's account of a change, short enough for a line of the log."""
    parts = []
    for change in changes:
        if isinstance(change, str):
            parts.append(change)
            continue
        for kind, paths in change.items():
            names = list(paths)
            more = f" and {len(names) - 3} more" if len(names) > 3 else ""
            parts.append(f"{kind}: {', '.join(names[:3])}{more}")
    return "; ".join(parts)
