"""What every command of this package begins and ends with."""

from __future__ import annotations

import sys

import typer

from clarity.errors import ClarityError
from clarity.machine import refusal
from clarity.names import line


def run_command(command: object) -> None:
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


def finish(completed: bool, message: str | None) -> None:
    """Say how a flow ended; a failure is one line on stderr and exit code 1."""
    if completed:
        print(line(message or ""))
        return
    print(f"clarity: {line(message or '')}", file=sys.stderr)
    raise typer.Exit(1)
