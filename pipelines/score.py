"""``python -m pipelines.score``: one run of the flow ``score``, by hand."""

from __future__ import annotations

from typing import Annotated

import typer

from pipelines.command import finish, run_command
from pipelines.processes.home import prepare


def main(
    incoming: Annotated[str, typer.Option(help="Folder to watch.")] = "data/incoming",
    model: Annotated[str, typer.Option(help="Alias or version that scores.")] = "champion",
    settle: Annotated[float, typer.Option(help="Seconds a file must have lain unchanged.")] = 10.0,
) -> None:
    """Score the pictures that arrived, flag anomalies, follow the drift."""
    prepare()
    from pipelines.processes.server import available

    with available():
        from pipelines.flows.score import score

        state = score(incoming=incoming, model=model, settle=settle, return_state=True)
        finish(state.is_completed(), state.message)


if __name__ == "__main__":
    run_command(main)
