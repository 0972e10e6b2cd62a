"""``python -m pipelines``: which commands there are, and the handing over to one."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from pipelines.__main__ import COMMANDS

ROOT = Path(__file__).parent.parent.parent


def pipelines(*arguments: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src")}
    command = [sys.executable, "-m", "pipelines", *arguments]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)


def test_it_names_every_command_and_hands_over_to_one() -> None:
    told = pipelines("--help")
    assert told.returncode == 0
    for name in COMMANDS:
        assert f"  {name} " in told.stdout
        assert '__name__ == "__main__"' in (ROOT / f"pipelines/{name}.py").read_text()
    assert pipelines().returncode == 2
    one = pipelines("reproduce", "--help")
    assert one.returncode == 0
    assert "--max-parallel" in one.stdout


def test_a_name_that_is_none_is_one_line() -> None:
    told = pipelines("reproduse")
    assert told.returncode == 2
    assert told.stderr == "clarity: pipelines: no command 'reproduse'; is reproduce meant?\n"
