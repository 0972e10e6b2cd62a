"""``python -m pipelines COMMAND``: everything that orchestrates, under one name.

Each command is a module of its own, imported when it is asked for: ``python -m pipelines.COMMAND``.
"""

from __future__ import annotations

import difflib
import runpy
import sys

from rich.console import Console
from rich.table import Table

from clarity.names import line

COMMANDS = {
    "reproduce": "What is stale, as a flow: several stages at once, seen in the UI",
    "score": "Score what arrived in data/incoming",
    "retrain": "Take in what arrived in data/new, train, and put the best before the gate",
    "tune": "Search a better recipe for one model",
    "serve": "Server, UI, schedules and a worker on this machine",
    "deploy": "Put the flows on a Prefect server",
    "worker": "A worker for this machine",
    "recover": "End what crashed runs left behind",
}


def main(arguments: list[str]) -> int:
    """Hand over to a command; without one, say which there are."""
    if not arguments or arguments[0] in ("-h", "--help"):
        table = Table.grid(padding=(0, 2))
        for name, what in COMMANDS.items():
            table.add_row(f"  {name}", what)
        console = Console(highlight=False)
        console.print("python -m pipelines COMMAND [OPTIONS]; COMMAND --help says more\n")
        console.print(table)
        return 0 if arguments else 2
    name = arguments[0]
    if name not in COMMANDS:
        near = difflib.get_close_matches(name, COMMANDS, 1)
        meant = f"is {near[0]} meant?" if near else f"there are {', '.join(COMMANDS)}"
        print(f"clarity: {line(f'pipelines: no command {name!r}; {meant}')}", file=sys.stderr)
        return 2
    sys.argv = [f"python -m pipelines {name}", *arguments[1:]]
    runpy.run_module(f"pipelines.{name}", run_name="__main__")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
