"""What a stage was given is what DVC will record: seen before the work, looked at again after it.

DVC hashes a stage's dependencies when the stage has ended. Code, parameters or pictures that change
while it runs would so be recorded as what the outputs were made from, and the run cache would hand
the outputs out for them. A stage therefore fails if anything it declares has changed meanwhile.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

import clarity
from clarity.errors import ClarityError
from clarity.files import sha256_tree
from clarity.layout import GRAPH, PARAMS
from clarity.processes import STAGE

#: How DVC names a file until it is whole (`dvc_objects.fs.utils.tmp_fname`).
HALF_LINKED = re.compile(r"\.[\w-]{22}\.tmp", re.ASCII)
#: Where a workspace has the package's source.
SOURCE = Path("src/clarity")


def imported(path: Path) -> Path:
    """The file or folder that was imported, of one that a workspace declares under ``src/``."""
    return Path(clarity.__file__).parent / path.relative_to(SOURCE)


def declared_code(stage: str) -> list[Path]:
    """The source folders and files that dvc.yaml declares as dependencies of ``stage``.

    Raises:
        ClarityError: dvc.yaml is missing, broken, or declares none.
    """
    found = _stage(stage).get("deps")
    code = sorted(Path(str(path)) for path in found or () if str(path).startswith("src/clarity"))
    missing = [path.as_posix() for path in code if not path.exists()]
    if missing or not code:
        what = f"{missing[0]} does not exist" if missing else "no code under src/"
        raise ClarityError(f"{GRAPH}: stages.{stage}.deps: {what}; mend the list")
    return code


@contextmanager
def unchanged(stage: str, **item: object) -> Iterator[None]:
    """Run a stage; fail if what it declares in dvc.yaml is not the same afterwards.

    Args:
        stage: name in dvc.yaml, without the matrix's suffix.
        item: the matrix's values, as ``model="conv-small"``.

    Raises:
        ClarityError: the imported code is not the workspace's, or a dependency changed meanwhile.
    """
    if not GRAPH.is_file():  # nobody records
        yield
        return
    for path in declared_code(stage):
        if sha256_tree(imported(path)) != sha256_tree(path):
            raise ClarityError(
                f"{path}: not the code that runs here ({imported(path)}): install this checkout, "
                f"or set PYTHONPATH to its src"
            )
    _sweep(stage, item)
    before = _seen(stage, item)
    yield
    after = _seen(stage, item)
    changed = sorted(key for key in before | after if before.get(key) != after.get(key))
    if changed:
        raise ClarityError(
            f"{changed[0]} changed while {stage} ran, and DVC would take the outputs for made from "
            "it as it is now; nothing is recorded: run the same command again"
        )


def _sweep(stage: str, item: Mapping[str, object]) -> None:
    """Remove what a killed DVC left half-linked beside this stage's outputs.

    It clears away outputs, not what lies beside them. Only where DVC runs the stage: no other DVC
    may then be at work on these outputs.
    """
    if STAGE not in os.environ:
        return
    content, parameters = _stage(stage), _load(PARAMS)
    listed = [entry for key in ("outs", "metrics", "plots") for entry in content.get(key) or ()]
    paths = (next(iter(entry)) if isinstance(entry, dict) else entry for entry in listed)
    for folder in {Path(_filled(str(path), item, parameters)).parent for path in paths}:
        for leftover in folder.glob(".*.tmp"):
            if HALF_LINKED.fullmatch(leftover.name) and leftover.is_file():
                leftover.unlink(missing_ok=True)


def _seen(stage: str, item: Mapping[str, object]) -> dict[str, Any]:
    """Digests of the declared code, size and time of the declared files, values of parameters."""
    content, parameters = _stage(stage), _load(PARAMS)
    seen: dict[str, Any] = {}
    for entry in content.get("deps") or ():
        if entry == "${data.path}" and parameters["data"]["source"] == "torchvision":
            continue  # the stage itself downloads into it
        path = Path(_filled(str(entry), item, parameters))
        if path.is_relative_to(SOURCE):
            seen[path.as_posix()] = sha256_tree(path)
            continue
        for file in _files(path):
            status = file.stat()
            seen[file.as_posix()] = (status.st_size, status.st_mtime_ns)
    for entry in content.get("params") or ():
        key = _filled(str(entry), item, parameters)
        value: Any = parameters
        for part in key.split("."):
            value = value.get(part) if isinstance(value, dict) else None
        seen[f"{PARAMS}: {key}"] = value
    return seen


def _files(path: Path) -> Iterator[Path]:
    if not path.is_dir():
        yield from [path] if path.is_file() else []
        return
    for folder, _, names in os.walk(path, followlinks=True):
        yield from (file for name in names if (file := Path(folder, name)).is_file())


def _filled(text: str, item: Mapping[str, object], parameters: Mapping[str, Any]) -> str:
    """``models.${item.model}`` and ``${data.path}`` with their values, as DVC fills them."""

    def value(match: re.Match[str]) -> str:
        first, *rest = match.group(1).split(".")
        found: Any = item if first == "item" else parameters.get(first)
        for part in rest:
            found = found.get(part) if isinstance(found, Mapping) else None
        return str(found)

    return re.sub(r"\$\{([^}]+)\}", value, text)


def _stage(stage: str) -> dict[str, Any]:
    try:
        found = _load(GRAPH)["stages"][stage]
        assert isinstance(found, dict)
    except (KeyError, TypeError, AssertionError):
        raise ClarityError(f"{GRAPH}: stages.{stage} cannot be read; restore it") from None
    return found


def _load(path: Path) -> Any:
    """What a file says; not to be changed, since whoever asks again gets the same."""
    try:
        return _parsed(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ClarityError(f"{path}: no such file; run from the project's root") from None
    except (YAMLError, UnicodeDecodeError):
        raise ClarityError(f"{path}: not valid YAML; mend or restore it") from None


@lru_cache(maxsize=4)
def _parsed(text: str) -> Any:
    # A stage asks seven times, and what it asks about may have changed: by its text, not its name.
    return YAML(typ="safe").load(text)
