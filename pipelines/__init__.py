"""Prefect flows: when and where the stages run."""

import sys
from pathlib import Path

# The flows of a checkout go with the package's source of that checkout, whichever is installed.
_source = Path(__file__).resolve().parent.parent / "src"
if (_source / "clarity").is_dir() and str(_source) not in sys.path:
    sys.path.insert(0, str(_source))
