"""``python -m pipelines.retrain``: one run of the flow ``retrain``, by hand."""

from __future__ import annotations

from typing import Annotated

import typer

from pipelines.command import finish, run_command
from pipelines.processes.home import prepare


def main(
    folder: Annotated[
        list[str] | None, typer.Option(help="Where new pictures lie [data/new, data/handled].")
    ] = None,
    include_flagged: Annotated[
        bool, typer.Option(help="Train on pictures that were flagged as anomalous, too.")
    ] = False,
    max_parallel: Annotated[
        int | None,
        typer.Option(help="Stages at once; default: as many as there is room for."),
    ] = None,
    promote: Annotated[bool, typer.Option(help="Put the best model before the gate.")] = True,
) -> None:
    """Take in new pictures; train, compare and promote where there is a reason to."""
    prepare()
    from pipelines.processes.server import available

    with available():
        from pipelines.flows.retrain import retrain

        state = retrain(
            folders=folder,
            include_flagged=include_flagged,
            max_parallel=max_parallel,
            promote=promote,
            return_state=True,
        )
        finish(state.is_completed(), state.message)


if __name__ == "__main__":
    run_command(main)
