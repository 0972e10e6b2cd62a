"""``dvc.lock`` in the order of plain ``dvc repro``, whatever the order in which stages ended."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from clarity.files import read_json, write_json, write_text
from clarity.layout import LOCK
from pipelines.processes.home import home
from pipelines.stages.graph import Graph, repository

#: What dvc.lock held before a run that was cut off, so that the next one can still order it.
_BEFORE = "locked.json"


@contextmanager
def ordered_lock(graph: Graph) -> Iterator[None]:
    """Run stages within it: afterwards new ones stand in ``dvc.lock`` as ``dvc repro`` adds them.

    What a run that was cut off had added is put in order, too, by the one that takes it up.
    """
    note = home() / _BEFORE
    try:
        before = list(read_json(note))
    except FileNotFoundError:
        before = locked_stages()
        write_json(note, before)
    yield
    order_lock(graph, before)
    note.unlink(missing_ok=True)  # a run beside this one may have done so


def locked_stages() -> list[str]:
    """Names in ``dvc.lock``, in its order."""
    from dvc.utils.serialize import load_yaml

    return list(load_yaml(LOCK).get("stages", {})) if Path(LOCK).exists() else []


def order_lock(graph: Graph, before: list[str]) -> None:
    """Put stages that are new in ``dvc.lock`` in the order in which ``dvc repro`` adds them.

    DVC adds a stage to the file when it ends. Where several run at once that order is chance, and
    the file would differ in bytes, though not in meaning, from that of ``dvc repro``.
    """
    from dvc.utils.serialize import dumps_yaml, parse_yaml_for_update

    now = locked_stages()
    new = set(now) - set(before)
    rank = {name: place for place, name in enumerate(graph.plan)}
    # Of those that stood there before, too: a kill may have cut the file short between two stages.
    wanted = [name for name in before if name in now]
    wanted += sorted(new, key=lambda name: rank.get(name, len(rank)))
    if wanted == now:
        return
    path = Path(LOCK)
    with repository() as repo, repo.lock:
        content = parse_yaml_for_update(path.read_text(encoding="utf-8"), LOCK)
        stages = content["stages"]
        for name in wanted:
            # Moved to the end one by one: the file's own layout stays.
            stages[name] = stages.pop(name)
        write_text(path, dumps_yaml(content))  # whole or not at all, unlike DVC's own
