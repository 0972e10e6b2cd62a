"""Trained networks side by side: one code, one reconstruction, the mean of theirs.

The mean over networks that were trained apart (Hansen & Salamon 1990; Lakshminarayanan et al. 2017)
keeps what they agree on, so that its error is the smaller the more their own errors differ.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from clarity.errors import ClarityError
from clarity.models import build
from clarity.models.base import Autoencoder
from clarity.params import ENSEMBLE


class Ensemble(Autoencoder):
    """Codes are the members' codes one after another, reconstructions the mean of theirs.

    Args:
        members: trained, of one shape of images.
    """

    def __init__(self, members: Sequence[Autoencoder]) -> None:
        super().__init__(members[0].shape)
        self._members = list(members)
        self.members = nn.ModuleList(members)
        self.sizes = [member.latent_size for member in members]
        self.latent_size = sum(self.sizes)

    def encode(self, x: Tensor) -> Tensor:
        """Codes (N×latent_size) of images (N×C×H×H in [-1, 1])."""
        return torch.cat([member.encode(x).float() for member in self._members], dim=1)

    def decode(self, z: Tensor) -> Tensor:
        """Images (N×C×H×H in [-1, 1]) of codes (N×latent_size)."""
        parts = zip(self._members, torch.split(z, self.sizes, dim=1), strict=True)
        return torch.stack([member.decode(part).float() for member, part in parts]).mean(0)


def assemble(
    name: str, members: Mapping[str, tuple[Mapping[str, Any], Mapping[str, Tensor]]]
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """What model.json and weights.safetensors of an ensemble hold, for `rebuild`.

    Args:
        name: of the ensemble.
        members: by the training's name, the content of its model.json and its weights.

    Raises:
        ClarityError: they read images of different shapes.
    """
    descriptions = [dict(description) for description, _ in members.values()]
    sizes = {training: one["image_size"] for training, (one, _) in members.items()}
    shapes = {(one["image_size"], one.get("channels", 3)) for one in descriptions}
    if len(shapes) > 1:
        raise ClarityError(f"ensembles.{name}: images of several sizes ({sizes}); train them alike")
    first = descriptions[0]
    channels = {"channels": first["channels"]} if "channels" in first else {}
    weights = {
        f"{place}.{key}": tensor
        for place, (_, tensors) in enumerate(members.values())
        for key, tensor in tensors.items()
    }
    description = {
        "format": build.FORMAT,
        "name": name,
        "seed": None,
        "family": ENSEMBLE,
        "widths": [],
        "latent": sum(one["latent"] for one in descriptions),
        "image_size": first["image_size"],
        **channels,
        "parameters": sum(one["parameters"] for one in descriptions),
        "members": descriptions,
    }
    return description, weights


def rebuild(description: Mapping[str, Any], weights: Mapping[str, Tensor]) -> Autoencoder:
    """The trained network, in eval mode on the CPU: an ensemble's, or any other model's.

    Args:
        description: the content of model.json.
        weights: of weights.safetensors.

    Raises:
        ClarityError: they do not fit each other, or carry code that this project does not have.
    """
    if not isinstance(description, Mapping) or description.get("family") != ENSEMBLE:
        return build.rebuild(description, weights)
    name, members = description.get("name", "?"), description.get("members")
    if description.get("format") != build.FORMAT or not isinstance(members, list) or not members:
        raise ClarityError(
            f"ensemble {name}: {build.DESCRIPTION} describes none; run `dvc repro ensemble`"
        )
    parts: list[dict[str, Tensor]] = [{} for _ in members]
    for key, tensor in weights.items():
        place, _, own = key.partition(".")
        if not place.isdecimal() or int(place) >= len(parts):
            raise ClarityError(f"ensemble {name}: weights do not fit {build.DESCRIPTION}: {key!r}")
        parts[int(place)][own] = tensor
    networks = [build.rebuild(one, part) for one, part in zip(members, parts, strict=True)]
    if len({network.shape for network in networks}) > 1:
        raise ClarityError(f"ensemble {name}: members read images of several shapes")
    return Ensemble(networks).eval()
