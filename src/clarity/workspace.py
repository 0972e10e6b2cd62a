"""Which code runs: that of the workspace that the command was typed in."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import clarity
from clarity.errors import ClarityError

#: Set by `own_source`, so that it tries once.
SOURCE_TRIED = "CLARITY_SOURCE"


def own_source() -> None:
    """Go on with the package's source of the workspace we stand in, if it is not what was imported.

    A stage of a `git worktree`, of `dvc exp run --temp` or of a second clone finds the command of
    whatever environment is active; DVC hashes the workspace's `src/`, so that is what has to run.
    """
    here = Path.cwd()
    for root in (here, *here.parents):
        if (root / "dvc.yaml").is_file():
            break
    else:
        return
    source = root / "src"
    package = source / "clarity"
    if not (package / "__init__.py").is_file():
        return
    if package.resolve() == Path(clarity.__file__).parent.resolve():
        return
    if os.environ.get(SOURCE_TRIED) == str(package):
        raise ClarityError(
            f"{package}: not the code that would run ({Path(clarity.__file__).parent}); "
            "set PYTHONPATH to the src of this workspace"
        )
    paths = [str(source), os.environ.get("PYTHONPATH", "")]
    os.environ["PYTHONPATH"] = os.pathsep.join(path for path in paths if path)
    os.environ[SOURCE_TRIED] = str(package)
    # The same command again: nothing but a path that DVC hashes has changed.
    os.execv(sys.executable, [sys.executable, "-m", "clarity", *sys.argv[1:]])  # noqa: S606
