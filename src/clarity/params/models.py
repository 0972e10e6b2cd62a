"""Sections ``train`` and ``models``: networks and the recipes that they are trained by."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, PlainValidator, field_validator, model_validator

from clarity.layout import Shape
from clarity.params.families import FAMILIES, Family, family_of
from clarity.params.section import LISTED, Positive, Section, Share, Width
from clarity.problems import short

#: What a model or an ensemble may be called.
NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
#: A network of one's own: a class in a file of networks/, or in a module that can be imported.
OWN_FAMILY = re.compile(r"([\w-]+\.py|[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*):[A-Za-z_]\w*")
#: What params.yaml can say of an argument of a network of one's own.
Argument = bool | int | float | str | None | list[Any]

#: What training can minimise, and what reports call it; `clarity.models.loss` has the equations.
LOSSES = {
    "mse": "MSE", "l1": "L1", "charbonnier": "Charbonnier", "ssim": "SSIM", "ms-ssim": "MS-SSIM",
}  # fmt: skip


def _loss(value: Any) -> Any:
    """A loss's name, or several with weights above 0."""
    weights = {value: 1.0} if isinstance(value, str) else value
    if not isinstance(weights, dict) or not weights:
        raise ValueError(f"needs one of {', '.join(LOSSES)}, or a mapping of them to weights")
    for name, weight in weights.items():
        if name not in LOSSES:
            raise ValueError(f"{short(str(name))} is no loss; there are {', '.join(LOSSES)}")
        if type(weight) not in (int, float) or not 0 < weight < math.inf:
            raise ValueError(f"the weight of {name} is no number above 0")
    return value if isinstance(value, str) else {n: float(w) for n, w in weights.items()}


#: The name of a loss, or weights by name.
Loss = Annotated[str | dict[str, float], PlainValidator(_loss)]


def loss_words(loss: str | Mapping[str, float]) -> str:
    """``SSIM``, or ``0.16 × L1 + 0.84 × MS-SSIM``."""
    if isinstance(loss, str):
        return LOSSES[loss]
    return " + ".join(f"{weight:g} × {LOSSES[name]}" for name, weight in loss.items())


class Train(Section):
    """The recipe's defaults; ``models.NAME.train`` overrides single keys."""

    #: How often each training image is seen: the budget "trained alike".
    epochs: Positive
    #: GFLOP spent on each training image, forward and backward: the budget "for the same compute";
    #: null: not asked. A training runs to the later of the two and keeps the weights of both.
    compute: Annotated[float, Field(gt=0)] | None
    #: What is minimised: a name, or names with weights; a VAE's is the ELBO, on mse.
    loss: Loss
    #: Standard deviation, on [-1, 1], of noise on the network's input while it is trained; 0: none.
    noise: Annotated[float, Field(ge=0, le=2)]
    batch_size: Positive
    #: ``muon`` is for weights that are matrices, convolutions among them; AdamW steps the rest.
    optimizer: Literal["adamw", "muon"]
    learning_rate: Annotated[float, Field(gt=0)]
    weight_decay: Annotated[float, Field(ge=0)]
    #: Share of the steps of ``epochs`` in which the learning rate rises linearly; then it stays.
    warmup: Share
    #: Mean age of the weights in their running average, as a share of the training so far; 0: none.
    average: Annotated[float, Field(ge=0, le=0.5)]
    #: Largest norm of the gradient.
    clip: Annotated[float, Field(gt=0)]
    #: Epochs without a better validation error after which training stops.
    patience: Positive
    flip: bool
    #: Largest shift in pixels, in either direction.
    shift: Annotated[int, Field(ge=0)]
    #: Largest relative change of contrast, and of brightness on [-1, 1].
    jitter: Share
    precision: Literal["auto", "fp32", "bf16"]
    #: How many reconstruction grids to keep as training goes on.
    grids: Annotated[int, Field(ge=1, le=100)]
    #: Weight of the KL term (VAE only), and the share of steps over which it grows from 0.
    beta: Annotated[float, Field(ge=0)]
    kl_warmup: Share


class TrainOverrides(Section):
    """What one model's recipe says otherwise; the keys of ``train``."""

    epochs: Positive | None = None
    compute: Annotated[float, Field(gt=0)] | None = None
    loss: Loss | None = None
    noise: Annotated[float, Field(ge=0, le=2)] | None = None
    batch_size: Positive | None = None
    optimizer: Literal["adamw", "muon"] | None = None
    learning_rate: Annotated[float, Field(gt=0)] | None = None
    weight_decay: Annotated[float, Field(ge=0)] | None = None
    warmup: Share | None = None
    average: Annotated[float, Field(ge=0, le=0.5)] | None = None
    clip: Annotated[float, Field(gt=0)] | None = None
    patience: Positive | None = None
    flip: bool | None = None
    shift: Annotated[int, Field(ge=0)] | None = None
    jitter: Share | None = None
    precision: Literal["auto", "fp32", "bf16"] | None = None
    beta: Annotated[float, Field(ge=0)] | None = None
    kl_warmup: Share | None = None


class Model(Section):
    """One model size."""

    #: One of `FAMILIES`, or ``FILE.py:CLASS`` (in networks/) or ``MODULE:CLASS`` of one's own.
    family: str
    #: Units of the hidden layers (fcn) or channels of the convolutions, from the image inwards.
    widths: Annotated[tuple[Width, ...], LISTED] = ()
    #: The same from the bottleneck outwards, where it is not the mirror image (fcn only).
    decoder_widths: Annotated[tuple[Width, ...] | None, LISTED] = None
    #: Elements of the bottleneck; null for conv, whose last feature map is the bottleneck.
    latent: Positive | None = None
    #: Keyword arguments of the constructor, for a network of one's own.
    arguments: dict[str, Argument] = Field(default_factory=dict)
    #: That share every batch of one training (docs/training.md).
    processes: Annotated[int, Field(ge=1, le=1024)] = 1
    train: TrainOverrides = TrainOverrides()

    @property
    def own(self) -> bool:
        """Whether the network is the user's and not Clarity's."""
        return self.family not in FAMILIES

    @property
    def traits(self) -> Family:
        """What its family is like."""
        return family_of(self.family)

    @field_validator("family")
    @classmethod
    def _known(cls, value: str) -> str:
        if value not in FAMILIES and not OWN_FAMILY.fullmatch(value):
            raise ValueError(
                f"there are {', '.join(FAMILIES)}; a network of your own is FILE.py:CLASS, with "
                "the file in networks/, or MODULE:CLASS"
            )
        return value

    @model_validator(mode="after")
    def _possible(self) -> Model:
        if self.processes > 1 and self.traits.fitted:
            raise ValueError(f"processes is for what is trained in steps, not for {self.family}")
        if self.arguments and not self.own:
            raise ValueError("arguments are for networks of one's own only")
        if self.own:
            if self.widths or self.decoder_widths is not None or self.latent is not None:
                raise ValueError(
                    "widths and latent are for Clarity's own families; give arguments instead"
                )
            return self
        asked = self.traits
        if self.widths and not asked.widths:
            raise ValueError(f"family {self.family} has no widths, only latent")
        if asked.widths and not self.widths:
            raise ValueError(f"family {self.family} needs widths, a list of at least one number")
        if self.decoder_widths is not None and not asked.decoder_widths:
            some = [key for key, family in FAMILIES.items() if family.decoder_widths]
            raise ValueError(f"decoder_widths is for family {', '.join(some)} only")
        if asked.bottleneck != (self.latent is not None):
            without = [key for key, family in FAMILIES.items() if not family.bottleneck]
            raise ValueError(
                f"latent is a number for every family but {', '.join(without)}, "
                "where it is left out"
            )
        return self

    def misfit(self, shape: Shape) -> str:
        """The key that images of this shape make impossible, and why; empty where all fits."""
        halvings = (shape.size & -shape.size).bit_length() - 1
        if self.traits.halves and len(self.widths) > halvings:
            return (
                f"widths: {len(self.widths)} of them halve a {shape.size}-pixel image "
                f"{len(self.widths)} times; at most {halvings} are possible"
            )
        if self.latent is not None and self.latent > shape.elements:
            return f"latent: {self.latent} is more than the {shape.elements} numbers of an image"
        return ""
