"""Code of networks of one's own: read from the project, carried in model.json, run if it is known.

A family ``my_models.py:Tiny`` is the class ``Tiny`` of ``networks/my_models.py``;
``package.module:Tiny`` that of a module which can be imported. A model carries the source it was
trained with. Loading the model runs that source, so only source that this project has is run
(docs/models/own.md).
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

from clarity.errors import ClarityError, in_a_line
from clarity.files import sha256_bytes, write_json, write_text
from clarity.layout import KNOWN_NETWORKS, NETWORKS, network_code
from clarity.params import OWN_FAMILY, load_params
from clarity.yaml_text import parse_mapping

#: Names digests of code, comma-separated, that may be run though the project does not have it.
ALLOWED = "CLARITY_RUN_CODE"
#: Fewest digits of a digest there.
DIGITS = 12


@dataclass(frozen=True)
class Code:
    """The source of a network.

    Attributes:
        family: ``my_models.py:Tiny`` or ``package.module:Tiny``.
        source: the text of the file.
    """

    family: str
    source: str

    @property
    def place(self) -> str:
        """``my_models.py`` or ``package.module``."""
        return self.family.partition(":")[0]

    @property
    def name(self) -> str:
        """Of the class."""
        return self.family.partition(":")[2]

    @property
    def sha256(self) -> str:
        """Of the source."""
        return sha256_bytes(self.source.encode())

    @property
    def in_words(self) -> str:
        """Where a reader finds the file."""
        return (NETWORKS / self.place).as_posix() if self.place.endswith(".py") else self.place

    def described(self) -> dict[str, str]:
        """For model.json."""
        return {"sha256": self.sha256, "source": self.source}


def record_networks() -> None:
    """Stage ``networks``: the code of every model's network, a file a model; ``{}`` of Clarity's.

    A training depends on its own model's file, so that a changed network trains its models again
    and no others.

    Raises:
        ClarityError: a file or module is not there.
    """
    models = load_params().models
    found = {name: read_code(model.family) if model.own else None for name, model in models.items()}
    shutil.rmtree(network_code("any").parent, ignore_errors=True)
    for name, code in found.items():
        content = {} if code is None else {"family": code.family, "source": code.source}
        write_json(network_code(name), content)
    files = sorted({code.in_words for code in found.values() if code})
    print(f"networks: {', '.join(files) if files else 'all are of Clarity itself'}")


def read_code(family: str) -> Code:
    """The code of a family, as the project or the installed module has it now.

    Raises:
        ClarityError: there is no such file or module.
    """
    place = family.partition(":")[0]
    path: Path | None = NETWORKS / place
    if not place.endswith(".py"):
        try:
            found = importlib.util.find_spec(place)
        except (ImportError, ValueError, AttributeError):
            found = None
        path = Path(found.origin) if found and found.origin else None
        if path is None or path.suffix != ".py":
            raise ClarityError(f"family {family}: no module {place} can be imported; install it")
    assert path is not None
    try:
        return Code(family, path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ClarityError(f"family {family}: {path} is not there; put the file there") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ClarityError(f"family {family}: {path}: not readable ({error})") from None


def recorded_code(model: str, family: str) -> Code:
    """The code that stage ``networks`` found for a model: what its training depends on.

    Raises:
        ClarityError: the stage has not run since the model's entry changed.
    """
    path = network_code(model)
    mend = "run `dvc repro networks` (or `clarity networks`)"
    try:
        content = parse_mapping(path.read_text(encoding="utf-8"), path)
    except FileNotFoundError:
        raise ClarityError(f"{path}: no such file; {mend}") from None
    if content.get("family") != family or not isinstance(content.get("source"), str):
        raise ClarityError(f"{path}: not the code of {family}; {mend}")
    return Code(family, content["source"])


def described_code(description: Mapping[str, Any]) -> Code:
    """The code that a model.json carries.

    Raises:
        ClarityError: it carries none, or other than its digest says.
    """
    name, content = description.get("name", "?"), description.get("code")
    source = content.get("source") if isinstance(content, Mapping) else None
    if not isinstance(source, str):
        raise ClarityError(f"model {name}: model.json carries no code; train it again")
    code = Code(str(description["family"]), source)
    if not OWN_FAMILY.fullmatch(code.family) or content.get("sha256") != code.sha256:  # type: ignore[union-attr]
        raise ClarityError(f"model {name}: the code in model.json was changed; restore the file")
    return code


def remember(code: Code) -> None:
    """Note that this project has run the code: a training of it was started here."""
    write_text(KNOWN_NETWORKS / f"{code.sha256}.py", code.source)


def check_known(code: Code) -> None:
    """Refuse code that this project does not have and nobody has allowed.

    Raises:
        ClarityError: it is such.
    """
    if (KNOWN_NETWORKS / f"{code.sha256}.py").is_file():
        return
    allowed = [one.strip() for one in os.environ.get(ALLOWED, "").split(",")]
    if any(len(one) >= DIGITS and code.sha256.startswith(one) for one in allowed):
        return
    try:
        if read_code(code.family).sha256 == code.sha256:
            return
    except ClarityError:
        pass
    raise ClarityError(
        f"the model carries code of its own ({code.family}, SHA-256 {code.sha256[:DIGITS]}) that "
        f"is not this project's {code.in_words}, and loading the model would run it; read it (code "
        f"in its model.json), then allow it with {ALLOWED}={code.sha256[:DIGITS]}"
    )


def load_class(code: Code) -> type:
    """Run the code and give its class.

    Raises:
        ClarityError: it does not run, has no such class, or (of a module) is another version.
    """
    if not code.place.endswith(".py") and read_code(code.family).sha256 != code.sha256:
        raise ClarityError(
            f"family {code.family}: the installed module is another version than the model was "
            "trained with; install that one, or train again"
        )
    try:
        module = _run(code) if code.place.endswith(".py") else import_module(code.place)
    except Exception as error:
        raise ClarityError(f"family {code.family}: {code.in_words} {told(error)}") from None
    found = getattr(module, code.name, None)
    if not isinstance(found, type):
        raise ClarityError(f"family {code.family}: {code.in_words} has no class {code.name}")
    return found


def _run(code: Code) -> ModuleType:
    module = ModuleType(f"clarity_network_{code.sha256[:DIGITS]}")
    module.__file__ = code.in_words
    sys.modules[module.__name__] = module  # where dataclasses look for it
    exec(compile(code.source, code.in_words, "exec"), module.__dict__)  # noqa: S102 - what it is for
    return module


def told(error: BaseException) -> str:
    """``fails: NameError: …`` with the line of the user's own file, as one line."""
    trace, line = error.__traceback__, 0
    while trace is not None:
        if trace.tb_frame.f_code.co_filename.startswith(NETWORKS.as_posix()):
            line = trace.tb_lineno
        trace = trace.tb_next
    if isinstance(error, SyntaxError):
        line = error.lineno or line
    where = f" in line {line}" if line else ""
    reason = in_a_line(error, 160)
    return f"fails{where}: {type(error).__name__}: {reason}"
