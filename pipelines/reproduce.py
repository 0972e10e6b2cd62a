"""``dvc repro`` as a Prefect flow: only what is stale, several stages at once, seen in the UI.

    python -m pipelines.reproduce [--max-parallel N]

DVC says what must run, in which order, and what the results are; this says when. A stage runs as
``dvc repro -s STAGE``, so the end state is that of plain ``dvc repro``, byte for byte.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Annotated

import typer

from clarity.errors import ClarityError
from clarity.machine import refusal
from clarity.names import line
from clarity.params import load_params
from pipelines.graph import Graph, read_graph
from pipelines.home import cores, prepare

NOTHING = "nothing to do: every stage is up to date"


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


def fitting(max_parallel: int, say: Callable[[str], None]) -> int:
    """As many stages at once as the cores allow; what is taken off is said.

    For runs that nobody watches begin, a schedule's or the UI's: done slower is better than not.

    Raises:
        ClarityError: fewer than one is asked for, or params.yaml is broken.
    """
    most = max(1, cores() // load_params().threads)
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
        int, typer.Option(help="Stages at once; times `threads` at most the cores.")
    ] = 1,
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
) -> None:
    """Run what is stale, as a Prefect flow; start nothing where nothing is stale."""
    prepare()
    check_parallel(max_parallel if pool is None else 1)
    graph: Graph = read_graph()
    if not graph.to_run(stage):
        print(NOTHING)
        return
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
        if not state.is_completed():
            print(f"clarity: {line(str(state.message))}", file=sys.stderr)
            raise typer.Exit(1)


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
