"""How many stages run at once: one rule for commands, flows and `make repro`."""

from __future__ import annotations

from collections.abc import Callable

from clarity.errors import ClarityError
from clarity.params import Params, load_params
from pipelines.processes.home import cores, gpu_memory, memory

#: Bytes of memory that a stage may take: the largest of the default models takes 3.2 GB.
EACH = 4 << 30
#: On a GPU: half a GiB to be there at all, and the largest default model with its optimizer.
EACH_ON_GPU = 2 << 30


def check_parallel(max_parallel: int) -> None:
    """Refuse more threads at work than there are cores.

    Raises:
        ClarityError: ``max_parallel`` × ``threads`` exceeds the cores, or params.yaml is broken.
    """
    params = load_params()
    each = _threads(params)
    if max_parallel < 1:
        raise ClarityError(f"max_parallel={max_parallel}: at least 1 stage at once")
    if max_parallel > 1 and max_parallel * each > cores():
        more = f" × processes={each // params.threads}" if each > params.threads else ""
        raise ClarityError(
            f"max_parallel={max_parallel} × threads={params.threads}{more} (params.yaml) is more "
            f"than the {cores()} cores; lower one of them (other threads mean other last bits)"
        )


def _threads(params: Params) -> int:
    """Of the stage that has most."""
    return params.threads * max(model.processes for model in params.models.values())


def fitting(max_parallel: int | None, say: Callable[[str], None]) -> int:
    """As many stages at once as are asked for and the cores allow; what is taken off is said.

    For runs that nobody watches begin, a schedule's or the UI's: done slower is better than not.

    Args:
        max_parallel: None: as many as cores and memory (a GPU's too) have room for.
        say: is told where it is fewer than asked for.

    Raises:
        ClarityError: fewer than one is asked for, or params.yaml is broken.
    """
    params = load_params()
    most = max(1, cores() // _threads(params))
    if max_parallel is None:
        room = memory() // EACH
        if params.device != "cpu" and (free := gpu_memory()) is not None:
            room = min(room, free // EACH_ON_GPU)
        return max(1, min(most, room))
    if max_parallel <= most:
        check_parallel(max_parallel)
        return max_parallel
    try:
        check_parallel(max_parallel)
    except ClarityError as error:
        say(f"{error}; {most} at once now")
    return most
