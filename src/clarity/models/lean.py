"""Torch, piq and no compiler: ``torch._dynamo`` takes as long to import as torch itself.

Nothing here compiles, and yet torch imports its compiler at an optimiser's first step and at the
first counted operation, to tell it to stay away. So does torchvision, which piq imports for its
networks, which we use none of. Each door below goes round one of these, for which it reads private
parts (docs/dependencies.md), and is the usual way where they are not there.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any, cast

import torch

if TYPE_CHECKING:
    from torch.utils.flop_counter import FlopCounterMode

#: Where `torch._disable_dynamo` looks for what it made of a function, before it imports anything.
_MADE = "__dynamo_disable"


def adamw(groups: list[dict[str, Any]]) -> torch.optim.AdamW:
    """Fused AdamW (Loshchilov & Hutter 2019) over parameter groups; step it with `take_step`."""
    on_cpu = groups[0]["params"][0].device.type == "cpu"
    return torch.optim.AdamW(rated(groups), fused=True, capturable=not on_cpu)


def rated(groups: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Parameter groups as an optimiser is made of them here, whose rate `set_rate` sets.

    On a GPU rates are tensors there, so that a recorded step reads the current one.
    """
    _leave_alone(torch.optim.Optimizer)
    device = groups[0]["params"][0].device
    if device.type == "cpu":
        return groups
    return [group | {"lr": torch.zeros((), device=device)} for group in groups]


def set_rate(group: dict[str, Any], rate: float) -> None:
    """Set the learning rate of one of an optimiser's ``param_groups``."""
    if isinstance(group["lr"], torch.Tensor):
        group["lr"].fill_(rate)
    else:
        group["lr"] = rate


def take_step(optimizer: torch.optim.Optimizer) -> None:
    """``optimizer.step()``, without the decorators that are there for hooks and the compiler."""
    plain: Any = type(optimizer).step
    while hasattr(plain, "__wrapped__"):
        plain = plain.__wrapped__
    with torch.no_grad():
        plain(optimizer)


def flop_counter() -> FlopCounterMode:
    """A context that counts operations (``get_total_flops``)."""
    from torch.utils import flop_counter as library

    mode = getattr(library, "_FlopCounterMode", None)
    if mode is not None:
        _leave_alone(mode)
    return library.FlopCounterMode(display=False)


def piq(module: str) -> Any:
    """A module of piq, imported without the package's own ``__init__``, which wants torchvision."""
    name = f"piq.{module}"
    if name not in sys.modules and "piq" not in sys.modules:
        spec = importlib.util.find_spec("piq")
        if spec is None or spec.submodule_search_locations is None:
            raise ModuleNotFoundError("piq is not installed", name="piq")
        bare = ModuleType("piq")
        bare.__path__ = list(spec.submodule_search_locations)
        sys.modules["piq"] = bare
        try:
            importlib.import_module(name)
        finally:
            # Whoever says `import piq` gets the whole of it.
            del sys.modules["piq"]
    return cast(Any, sys.modules.get(name) or importlib.import_module(name))


def _leave_alone(owner: type) -> None:
    for method in vars(owner).values():
        plain = getattr(method, "__wrapped__", None)
        if plain is not None and not hasattr(plain, _MADE):
            setattr(plain, _MADE, plain)
