"""``python -m pipelines.tune MODEL``: search a better recipe for one model, as a Prefect flow.

    python -m pipelines.tune conv-small --trials 30

Candidates are judged on ``val``; ``gate`` and ``test`` are not opened. docs/training.md says how to
read what comes of it.
"""

from __future__ import annotations

from typing import Annotated

import typer

from clarity.params import load_params
from clarity.tune.space import KNOBS, USUAL, distributions
from pipelines.command import finish, run_command
from pipelines.processes.home import prepare
from pipelines.stages.at_once import check_parallel


def main(
    model: Annotated[str, typer.Argument(help="A model of params.yaml.")],
    trials: Annotated[int, typer.Option(min=1, help="Candidates in all.")] = 30,
    seed: Annotated[int, typer.Option(help="Of the trainings and of what is proposed.")] = 0,
    knob: Annotated[
        list[str] | None, typer.Option(help=f"What may change: {', '.join(KNOBS)}.")
    ] = None,
    max_parallel: Annotated[
        int, typer.Option(help="Candidates at once; times `threads` at most the cores.")
    ] = 1,
) -> None:
    """Search learning rate, batch size and loss of one model, and write the best as a preset.

    The same command goes on where it was interrupted.
    """
    prepare()
    check_parallel(max_parallel)
    knobs = knob or list(USUAL)
    distributions(load_params(), model, knobs, images=1)  # a mistake is said before a server starts
    from pipelines.processes.server import available

    with available():
        from pipelines.flows.tune import tune

        state = tune(
            model=model,
            trials=trials,
            seed=seed,
            knobs=knobs,
            max_parallel=max_parallel,
            return_state=True,
        )
        finish(state.is_completed(), state.message)


if __name__ == "__main__":
    run_command(main)
