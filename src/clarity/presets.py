"""Named changes to ``params.yaml``, merged in place with its comments kept."""

from __future__ import annotations

import fnmatch
import io
import os
import re
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from clarity.errors import ClarityError
from clarity.files import write_text
from clarity.layout import PARAMS
from clarity.params import FAMILIES, load_params, parse_params

PRESETS = Path("presets")


def merge(target: dict[str, Any], changes: dict[str, Any]) -> None:
    """Merge ``changes`` into ``target``: mappings key by key, null removes a key.

    A key with ``*`` stands for all keys that are there and match it, but never removes every key.
    """
    for pattern, value in changes.items():
        keys = [pattern]
        if "*" in pattern:
            keys = fnmatch.filter(target, pattern)
            if value is None and len(keys) == len(target):
                continue
        for key in keys:
            if value is None:
                target.pop(key, None)
            elif isinstance(value, dict):
                if isinstance(target.get(key), dict):
                    merge(target[key], value)
                elif any(inner is not None for inner in value.values()):
                    target[key] = value
            else:
                target[key] = value


def combine(content: dict[str, Any]) -> None:
    """Leave out of ``ensembles`` what is no model any more, and ensembles of which one is left."""
    models, ensembles = content["models"], content.get("ensembles") or {}
    seeds = len(content["seeds"])
    for name, members in list(ensembles.items()):
        kept = [member for member in members if member in models]
        trained = sum(1 if _fitted(models[m]) else seeds for m in kept)
        if trained < 2:
            del ensembles[name]
        elif len(kept) < len(members):
            ensembles[name] = kept


def _fitted(model: dict[str, Any]) -> bool:
    own = FAMILIES.get(str(model.get("family")))
    return own is not None and own.fitted


def apply_preset(name: str, root: Path) -> bool:
    """Merge ``presets/NAME.yaml`` into the ``params.yaml`` of the project in ``root``.

    In a copy of the project elsewhere, a relative ``data.path`` goes on naming the data of this
    one: the copy has only what git and DVC hold.

    Returns:
        Whether the file changed.

    Raises:
        ClarityError: the preset does not exist, or the file it would give is not valid.
    """
    source = root / PRESETS / f"{name}.yaml"
    if not re.fullmatch(r"[\w-]+", name) or not source.is_file():
        known = ", ".join(sorted(p.stem for p in (root / PRESETS).glob("*.yaml"))) or "none"
        raise ClarityError(f"preset {name!r}: there is none; there are: {known}")
    path = root / PARAMS
    load_params(path)
    yaml = YAML()  # as DVC writes the file after `dvc exp run -S`
    yaml.preserve_quotes = True
    before = path.read_text()
    content = yaml.load(before)
    merge(content, YAML().load(source.read_text()))
    combine(content)
    data = content["data"]
    if root.resolve() != Path.cwd() and not os.path.isabs(data["path"]):
        data["path"] = os.path.relpath(data["path"], root)
    buffer = io.StringIO()
    yaml.dump(content, buffer)
    parse_params(buffer.getvalue(), source)
    if YAML(typ="safe").load(before) == YAML(typ="safe").load(buffer.getvalue()):
        return False
    write_text(path, buffer.getvalue())
    return True
