"""When and where the stages run: the commands (`python -m pipelines`), and the rooms below them."""

import importlib.util
import sys
from pathlib import Path

# The flows of a checkout go with the package's source of that checkout, whichever is installed.
_source = Path(__file__).resolve().parent.parent / "src"
if (_source / "clarity").is_dir() and str(_source) not in sys.path:
    sys.path.insert(0, str(_source))

for _name in ("typer", "dvc", "prefect"):
    if importlib.util.find_spec(_name) is None:
        print(
            f"clarity: {sys.executable} has no {_name}, which flows need; `make setup` makes the "
            "project's environment, `source .venv/bin/activate` enters it",
            file=sys.stderr,
        )
        sys.exit(2)
