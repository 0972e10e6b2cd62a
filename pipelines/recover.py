"""``python -m pipelines.recover``: end what crashed runs left behind, mark them Crashed.

Every flow and every worker does this when it starts; this does it alone.
"""

from __future__ import annotations

from pipelines.command import run_command
from pipelines.processes.home import prepare


def main() -> None:
    """End orphaned commands; mark runs whose process is gone Crashed."""
    prepare()
    from pipelines.processes.server import available

    with available():
        from pipelines.processes.runs import recover

        print("\n".join(recover()) or "nothing to mend")


if __name__ == "__main__":
    run_command(main)
