"""``dvc repro`` with several stages at once: only what is stale, as a Prefect flow or by DVC alone.

    python -m pipelines.reproduce [--max-parallel N] [--no-prefect]

DVC says what must run, in which order, and what the results are; this says when. A stage runs as
``dvc repro -s STAGE``, so the end state is that of plain ``dvc repro``, byte for byte.
"""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

from clarity.errors import ClarityError
from pipelines.command import finish, run_command
from pipelines.processes.home import prepare
from pipelines.stages.at_once import check_parallel, fitting
from pipelines.stages.graph import NOTHING, Graph, read_graph


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
        from pipelines.stages.local import reproduce as locally

        cause = locally(graph, names, at_once, timeout)
    else:
        cause = _as_flow(max_parallel, stage, timeout, pool)
    if cause is not None:
        finish(False, cause)


def _as_flow(
    max_parallel: int | None, stage: list[str] | None, timeout: float | None, pool: str | None
) -> str | None:
    """The flow, on a server of its own where none runs; why it failed, or None."""
    from pipelines.processes.server import available

    with available():
        from pipelines.flows.reproduce import reproduce

        state = reproduce(
            max_parallel=max_parallel,
            stages=stage,
            timeout=timeout,
            pool=pool,
            return_state=True,
        )
        return None if state.is_completed() else str(state.message)


if __name__ == "__main__":
    run_command(main)
