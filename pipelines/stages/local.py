"""``dvc repro`` with several stages at once, and nothing else: no flow, no server.

The same stages, order, locks and bytes as those of :mod:`pipelines.flows.reproduce`.
"""

from __future__ import annotations

import re
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from clarity.processes import FOLLOWED
from pipelines.processes import groups
from pipelines.stages.graph import Graph
from pipelines.stages.lock import ordered_lock
from pipelines.stages.stage import DELAYS, EPOCH, StageBusy, StageFailed, run_stage
from pipelines.stages.walk import first_cause, walk

#: What DVC says of every stage that says nothing here.
_DVC = re.compile(r"^(> |Updating lock file|Generating lock file|Stage '.*' didn't change)")


def reproduce(graph: Graph, names: list[str], at_once: int, timeout: float | None) -> str | None:
    """Run ``names``, ``at_once`` at a time; why it failed in a line, or None."""
    for name in groups.reap():
        print(f"ended what was left of {name}")
    shown = _Shown(len(names))
    print(f"stages to run: {len(names)}, {at_once} at once", flush=True)
    with ordered_lock(graph), ExitStack() as around:
        around.enter_context(shown)
        runner = around.enter_context(ThreadPoolExecutor(at_once, "stage"))
        ended, failed = walk(
            graph, names, at_once, lambda name: _Future(runner.submit(_run, name, timeout, shown))
        )
    return first_cause(names, ended, failed)


@dataclass(frozen=True)
class _Future:
    """A stage in a thread of its own."""

    future: Future[str | None]

    def add_done_callback(self, call: Callable[[object], None], /) -> None:
        self.future.add_done_callback(call)

    def cause(self) -> str | None:
        return self.future.result()


def _run(name: str, timeout: float | None, shown: _Shown) -> str | None:
    """One stage, again while somebody else holds DVC's lock; why it failed, or None."""
    env = {FOLLOWED: "1"} if shown.live else {}
    with shown.stage(name) as say:
        delays = iter(DELAYS)
        while True:
            try:
                run_stage(name, say, timeout=timeout, env=env)
                return None
            except StageBusy as error:
                delay = next(delays, None)
                if delay is None or not groups.pause(delay):
                    return str(error)
            except (StageFailed, groups.Stopped) as error:
                return str(error)


class _Shown:
    """What the stages say, and on a terminal a bar of each that runs."""

    def __init__(self, stages: int) -> None:
        self._console = Console(stderr=True)
        self.live = self._console.is_terminal
        self._bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[said]}"),
            TimeElapsedColumn(),
            console=self._console,
            disable=not self.live,
            transient=True,
            redirect_stdout=sys.stdout.isatty(),
        )
        self._all = self._bars.add_task("stages", total=stages, said=f"0 of {stages}")
        self._guard = threading.Lock()

    def __enter__(self) -> None:
        self._bars.start()

    def __exit__(self, *_: object) -> None:
        self._bars.stop()

    @contextmanager
    def stage(self, name: str) -> Iterator[Callable[[str], None]]:
        """Around a stage: what takes its output, line by line."""
        bar = self._bars.add_task(escape(name), total=None, said="")

        def say(text: str) -> None:
            if self.live and (found := EPOCH.match(text)):
                epoch, epochs, said = found.groups(default="")
                self._bars.update(bar, completed=int(epoch), total=int(epochs), said=escape(said))
            elif text.strip() and not _DVC.match(text):
                with self._guard:
                    print(text, flush=True)

        try:
            yield say
        finally:
            with self._guard:
                self._bars.remove_task(bar)
                self._bars.advance(self._all)
                ended = self._bars.tasks[0]
                self._bars.update(self._all, said=f"{ended.completed:.0f} of {ended.total:.0f}")
