"""Stages behind what they need, several at once, whoever runs them."""

from __future__ import annotations

import queue
from collections.abc import Callable
from functools import partial
from itertools import islice
from typing import Protocol

from pipelines.processes import groups
from pipelines.stages.graph import Graph
from pipelines.stages.order import longest_first


class Begun(Protocol):
    """A stage that has been begun: a future of some kind."""

    def add_done_callback(self, call: Callable[[object], None], /) -> object:
        """Have ``call`` called once the stage has ended."""

    def cause(self) -> str | None:
        """Of one that has ended: why it failed, in a line; None where it did not."""


def walk(
    graph: Graph, names: list[str], at_once: int, begin: Callable[[str], Begun]
) -> tuple[list[str], dict[str, str]]:
    """Begin ``names`` as their upstream ends, ``at_once`` of them at a time, longest first.

    A stage waits here, not in a queue of what runs it, where it would keep a worker from one that
    is ready. Failed stages keep their dependents from running and nothing else.

    Returns:
        The stages that ended well, in that order, and the cause for each that failed.
    """
    wanted, waiting = set(names), dict.fromkeys(longest_first(graph, names))
    begun: dict[str, Begun] = {}
    done: queue.SimpleQueue[str] = queue.SimpleQueue()
    ended: list[str] = []
    failed: dict[str, str] = {}
    try:
        while True:
            ready = (
                name
                for name in waiting
                if all(other in ended for other in graph.upstream[name] if other in wanted)
            )
            for name in list(islice(ready, at_once - len(begun))):
                del waiting[name]
                begun[name] = begin(name)
                begun[name].add_done_callback(partial(_put, done, name))
            if not begun:
                return ended, failed
            name = done.get()
            cause = begun.pop(name).cause()
            if cause is None:
                ended.append(name)
            else:
                failed[name] = cause
    except BaseException:
        # Told to end: whoever runs them waits for the stages.
        groups.stop_all()
        raise


def _put(done: queue.SimpleQueue[str], name: str, _: object) -> None:
    done.put(name)


def first_cause(names: list[str], ended: list[str], failed: dict[str, str]) -> str | None:
    """What a run that failed says of itself; None for one that did not."""
    if not failed:
        return None
    left = len(names) - len(ended) - len(failed)
    return next(iter(failed.values())) + (
        f" ({left} stages behind it were not run)" if left else ""
    )
