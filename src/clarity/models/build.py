"""From a description to a network: by `params.yaml`'s entry, or by a trained model's two files."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from clarity.errors import ClarityError, in_a_line
from clarity.layout import Shape
from clarity.models.ae import PlainAutoencoder
from clarity.models.base import Autoencoder
from clarity.models.conv import Convolutional
from clarity.models.fcn import FullyConnected
from clarity.models.own import Own, own
from clarity.models.pca import PrincipalComponents
from clarity.models.vae import convolutional_vae
from clarity.networks import Code, check_known, described_code
from clarity.params import FAMILIES, Model

#: Of model.json; a reader refuses another.
FORMAT = 1
WEIGHTS = "weights.safetensors"
DESCRIPTION = "model.json"


@dataclass(frozen=True)
class Wanted:
    """What a network is made from.

    Attributes:
        spec: the entry of ``params.yaml``, already checked against its family's row.
        shape: of the images.
        beta: weight of the KL part, for a family with a prior.
        kl_warmup: share of all steps in which it grows, for a family with a prior.
    """

    spec: Model
    shape: Shape
    beta: float = 1.0
    kl_warmup: float = 0.0

    @property
    def latent(self) -> int:
        """Elements of the bottleneck, of a family that is asked for it."""
        assert self.spec.latent is not None
        return self.spec.latent


def _fcn(wanted: Wanted) -> Autoencoder:
    spec = wanted.spec
    return FullyConnected(spec.widths, wanted.latent, wanted.shape, spec.decoder_widths)


def _vae(wanted: Wanted) -> Autoencoder:
    return convolutional_vae(
        wanted.spec.widths, wanted.latent, wanted.shape,
        beta=wanted.beta, kl_warmup=wanted.kl_warmup,
    )  # fmt: skip


#: By key of `clarity.params.families`: the network, untrained.
BUILDERS: dict[str, Callable[[Wanted], Autoencoder]] = {
    "fcn": _fcn,
    "conv": lambda wanted: Convolutional(wanted.spec.widths, wanted.shape),
    "ae": lambda wanted: PlainAutoencoder(wanted.spec.widths, wanted.latent, wanted.shape),
    "vae": _vae,
    "pca": lambda wanted: PrincipalComponents(wanted.latent, wanted.shape),
}


def build(
    spec: Model,
    name: str,
    shape: Shape,
    *,
    code: Code | None = None,
    beta: float = 1.0,
    kl_warmup: float = 0.0,
) -> Autoencoder:
    """An untrained network, initialised from torch's global generator.

    Args:
        spec: the entry of ``params.yaml``.
        name: of the model, for messages.
        shape: of the images.
        code: of a network of one's own.
        beta: weight of the KL part, for family vae.
        kl_warmup: share of all steps in which it grows, for family vae.

    Raises:
        ClarityError: images of this shape are too small for it.
    """
    if problem := spec.misfit(shape):
        raise ClarityError(f"models.{name}.{problem}")
    if spec.own:
        assert code is not None
        return _channels_last(own(code, spec.arguments, shape, name))
    return _channels_last(BUILDERS[spec.family](Wanted(spec, shape, beta, kl_warmup)))


def _channels_last(network: Autoencoder) -> Autoencoder:
    """The network with its convolutions' weights in the order in memory that images come in."""
    for parameter in network.parameters():
        if parameter.ndim == 4:
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
    return network


def count_parameters(network: Autoencoder) -> int:
    """Numbers that training sets: parameters, and the buffers that PCA is fitted into."""
    return sum(tensor.numel() for tensor in network.state_dict().values())


def describe(spec: Model, name: str, seed: int, network: Autoencoder) -> dict[str, Any]:
    """What model.json holds: enough to rebuild the network without ``params.yaml``."""
    # Said only of what is not RGB, which it was before there was a choice.
    channels = network.shape.channels
    said: dict[str, Any] = {} if channels == 3 else {"channels": channels}
    if isinstance(network, Own):
        said |= {"arguments": network.arguments, "code": network.code.described()}
    return {
        "format": FORMAT,
        "name": name,
        "seed": seed,
        "family": spec.family,
        "widths": list(spec.widths),
        "decoder_widths": None if spec.decoder_widths is None else list(spec.decoder_widths),
        "latent": network.latent_size,
        "image_size": network.shape.size,
        **said,
        "parameters": count_parameters(network),
    }


def rebuild(description: Mapping[str, Any], weights: Mapping[str, Tensor]) -> Autoencoder:
    """The trained network, in eval mode on the CPU, from model.json's content and its weights.

    Raises:
        ClarityError: the description is of another format, does not fit the weights, or carries
            code that this project does not have.
    """
    if not isinstance(description, Mapping):
        raise ClarityError(f"{DESCRIPTION}: broken (no mapping); restore it with dvc checkout")
    name = description.get("name", "?")
    if description.get("format") != FORMAT:
        raise ClarityError(
            f"model {name}: format {description.get('format')}, not {FORMAT}; train it again"
        )
    try:
        shape = Shape.described(description)
        family = description["family"]
        spec = Model.model_validate(
            {
                "family": family,
                "widths": description["widths"],
                "decoder_widths": description["decoder_widths"],
                "latent": description["latent"] if _bottleneck(family) else None,
                "arguments": description.get("arguments", {}),
            }
        )
    except (KeyError, TypeError, ValueError) as error:
        first = in_a_line(error, 200)
        raise ClarityError(f"model {name}: {DESCRIPTION} describes no network: {first}") from None
    if spec.own:
        check_known(code := described_code(description))
        with torch.random.fork_rng(devices=[]):
            network = build(spec, name, shape, code=code)
    else:
        network = _empty(spec, name, shape)
    try:
        network.load_state_dict(dict(weights), assign=True)
    except RuntimeError as error:
        first = in_a_line(error, 200)
        raise ClarityError(f"model {name}: weights do not fit {DESCRIPTION}: {first}") from None
    return _channels_last(network).eval()


def _bottleneck(family: object) -> bool:
    """Whether ``latent`` of a description was asked for, and is not what the network made of it."""
    return family in FAMILIES and FAMILIES[str(family)].bottleneck


def _empty(spec: Model, name: str, shape: Shape) -> Autoencoder:
    try:
        with torch.device("meta"):  # nothing is initialised only to be overwritten
            return build(spec, name, shape)
    except (RuntimeError, OverflowError, TypeError) as error:  # sizes beyond what torch counts
        first = in_a_line(error, 200)
        raise ClarityError(f"model {name}: {DESCRIPTION} describes no network: {first}") from None


def load(directory: Path) -> Autoencoder:
    """The trained network in ``directory`` (``model.json``, ``weights.safetensors``), in eval mode.

    Raises:
        ClarityError: a file is missing or broken, or they do not fit each other.
    """
    path = directory / DESCRIPTION
    try:
        description = json.loads(path.read_text(encoding="utf-8"))
        path = directory / WEIGHTS
        weights = load_file(path)
    except FileNotFoundError:
        raise ClarityError(f"{path}: no such file; train the model first (dvc repro)") from None
    except (ValueError, RecursionError, SafetensorError) as error:
        raise ClarityError(f"{path}: broken ({error}); restore it with dvc checkout") from None
    return rebuild(description, weights)
