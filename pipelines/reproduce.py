"""``dvc repro`` with several stages at once: only what is stale, as a Prefect flow or by DVC alone.

    python -m pipelines.reproduce [--max-parallel N] [--no-prefect]

DVC says what must run, in which order, and what the results are; this says when. A stage runs as
``dvc repro -s STAGE``, so the end state is that of plain ``dvc repro``, byte for byte.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Annotated

import typer

from clarity.errors import ClarityError
from clarity.machine import refusal
from clarity.names import line
from clarity.params import load_params
from pipelines.graph import Graph, read_graph
from pipelines.home import cores, memory, prepare

NOTHING = "nothing to do: every stage is up to date"
#: Bytes of memory that a stage may take: the largest of the default models takes 3.2 GB.
EACH = 4 << 30


def check_parallel(max_parallel: int) -> None:
    """Refuse more threads at work than there are cores.

    Raises:
        ClarityError: ``max_parallel`` × ``threads`` exceeds the cores, or params.yaml is broken.
    """
    threads = load_params().threads
    if max_parallel < 1:
        raise ClarityError(f"max_parallel={max_parallel}: at least 1 stage at once")
    if max_parallel > 1 and max_parallel * threads > cores():
        raise ClarityError(
            f"max_parallel={max_parallel} × threads={threads} (params.yaml) is more than the "
            f"{cores()} cores; lower one of them (other threads mean other last bits)"
        )


def fitting(max_parallel: int | None, say: Callable[[str], None]) -> int:
    """As many stages at once as are asked for and the cores allow; what is taken off is said.

    For runs that nobody watches begin, a schedule's or the UI's: done slower is better than not.

    Args:
        max_parallel: None: as many as cores and memory have room for.
        say: is told where it is fewer than asked for.

    Raises:
        ClarityError: fewer than one is asked for, or params.yaml is broken.
    """
    most = max(1, cores() // load_params().threads)
    if max_parallel is None:
        return max(1, min(most, memory() // EACH))
    if max_parallel <= most:
        check_parallel(max_parallel)
        return max_parallel
    try:
        check_parallel(max_parallel)
    except ClarityError as error:
        say(f"{error}; {most} at once now")
    return most


def main(
    max_parallel: Annotated[
        int | None,
        typer.Option(
            help="Stages at once; times `threads` at most the cores. Default: as many as cores and "
            "memory have room for."
        ),
    ] = None,
    stage: Annotated[
        list[str] | None,
        typer.Option(help="Only this stage and what it needs (`train`, `train@conv-small-0`)."),
    ] = None,
    timeout: Annotated[
        float | None, typer.Option(help="Seconds after which a stage is killed.")
    ] = None,
    pool: Annotated[
        str | None,
        typer.Option(help="Run the stages on this work pool's machines; see docs/scaling.md."),
    ] = None,
    prefect: Annotated[
        bool, typer.Option(help="As a flow, seen in Prefect's UI; or by DVC alone.")
    ] = True,
) -> None:
    """Run what is stale, several stages at once; start nothing where nothing is stale."""
    prepare()
    if pool is not None and not prefect:
        raise ClarityError("--pool: its machines are Prefect's; leave out --no-prefect")
    check_parallel(1 if max_parallel is None or pool is not None else max_parallel)
    graph: Graph = read_graph()
    names = graph.to_run(stage)
    if not names:
        print(NOTHING)
        return
    if not prefect:
        at_once = fitting(max_parallel, print)
        if at_once == 1 and stage is None and timeout is None:
            # DVC itself starts a second less for each stage, and its stages see the terminal.
            os.execv(sys.executable, [sys.executable, "-m", "dvc", "repro"])  # noqa: S606
        from pipelines.local import reproduce as locally

        cause = locally(graph, names, at_once, timeout)
    else:
        cause = _as_flow(max_parallel, stage, timeout, pool)
    if cause is not None:
        print(f"clarity: {line(cause)}", file=sys.stderr)
        raise typer.Exit(1)


def _as_flow(
    max_parallel: int | None, stage: list[str] | None, timeout: float | None, pool: str | None
) -> str | None:
    """The flow, on a server of its own where none runs; why it failed, or None."""
    from pipelines.server import available

    with available():
        from pipelines.flow import reproduce

        state = reproduce(
            max_parallel=max_parallel,
            stages=stage,
            timeout=timeout,
            pool=pool,
            return_state=True,
        )
        return None if state.is_completed() else str(state.message)


def run(command: object) -> None:
    """Call a typer command; a user's mistake is one line on stderr and exit code 2."""
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(command)  # type: ignore[arg-type, type-var]
    try:
        app()
    except ClarityError as error:
        print(f"clarity: {line(str(error))}", file=sys.stderr)
        sys.exit(2)
    except (OSError, MemoryError) as error:
        if (said := refusal(error)) is None:
            raise
        print(f"clarity: {line(said)}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    run(main)
