"""``python -m pipelines.score``: one run of the flow ``score``, by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from clarity.params import load_params
from pipelines.arrivals.incoming import check_watched
from pipelines.command import finish, run_command
from pipelines.processes.home import prepare

#: Where scored files go, and where their tables are.
HANDLED, OUTPUT = "data/handled", "scores"


def main(
    incoming: Annotated[
        str, typer.Option(help="Folder to watch; whatever lies in it is moved.")
    ] = "data/incoming",
    model: Annotated[str, typer.Option(help="Alias or version that scores.")] = "champion",
    settle: Annotated[float, typer.Option(help="Seconds a file must have lain unchanged.")] = 10.0,
) -> None:
    """Score the pictures that arrived, flag anomalies, follow the drift."""
    prepare()
    # A mistake is said before a server starts.
    check_watched(Path(incoming), Path(HANDLED), Path(OUTPUT), load_params().data)
    from pipelines.processes.server import available

    with available():
        from pipelines.flows.score import score

        state = score(
            incoming=incoming,
            handled=HANDLED,
            output=OUTPUT,
            model=model,
            settle=settle,
            return_state=True,
        )
        finish(state.is_completed(), state.message)


if __name__ == "__main__":
    run_command(main)
