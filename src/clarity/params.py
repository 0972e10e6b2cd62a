"""``params.yaml`` as types: the one place where it is read and checked.

Strict: unknown keys, wrong types and impossible sizes are refused in one line that names the key.
Nothing here has a default that shapes a result; what a stage computes with stands in the file,
where DVC sees it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PlainValidator,
    ValidationError,
    field_validator,
    model_validator,
)

from clarity.errors import ClarityError
from clarity.layout import PARAMS, Shape, Training
from clarity.measures import DISTANCES, MEASURES
from clarity.problems import first_problem, short
from clarity.yaml_text import parse_mapping

Share = Annotated[float, Field(ge=0, le=1)]
#: No count of anything here is larger; what is would end in an overflow somewhere below.
Positive = Annotated[int, Field(ge=1, le=1_000_000)]
#: What numpy, torch and scikit-learn all take.
Seed = Annotated[int, Field(ge=0, le=2**32 - 1)]
Width = Annotated[int, Field(ge=1, le=65536)]
#: Folders and DVC's stages bear a model's name.
LONGEST_NAME = 80
#: Families of Clarity's own, in the order in which they are shown.
FAMILIES = ("fcn", "conv", "ae", "vae", "pca")
#: A network of one's own: a class in a file of networks/, or in a module that can be imported.
OWN_FAMILY = re.compile(r"([\w-]+\.py|[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*):[A-Za-z_]\w*")
#: What params.yaml can say of an argument of a network of one's own.
Argument = bool | int | float | str | None | list[Any]
AnomalyKind = Literal["cutpaste", "occlusion", "shuffled", "inverted", "photograph"]
SYNTHETIC: tuple[str, ...] = get_args(AnomalyKind)
#: Names, which may be written as one.
Words = tuple[Annotated[str, Field(min_length=1)], ...]


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


#: The gate's metric that is no measure of reconstruction: the area under the detector's ROC curve.
AUROC = "auroc"
#: Sources that take ``data.name``.
NAMED = ("table", "npy", "torchvision")


class Section(BaseModel):
    """A section of the file: frozen, and a key it does not know is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class Data(Section):
    """Where the images come from."""

    source: Literal["faces", "folder", "table", "npy", "torchvision"]
    path: str = Field(min_length=1)
    #: Name of the torchvision class; of the table's or the .npz file, where there are several.
    name: str | None
    #: Folders that hold normals, and anomalies; null: recognised by their names. No folder of
    #: normals (an empty list): sub-folders are groups. For ``source: folder`` only.
    normal: Words | None = None
    anomalous: Words | None = None
    #: Folder of masks below ``path``, for ``source: folder`` only; null: ``ground_truth`` if it
    #: is there.
    masks: Annotated[str, Field(min_length=1)] | None = None

    @field_validator("normal", "anomalous", mode="before")
    @classmethod
    def _list(cls, value: Any) -> Any:
        return (
            (value,) if isinstance(value, str) else tuple(value) if type(value) is list else value
        )

    @field_validator("path")
    @classmethod
    def _is_a_path(cls, value: str) -> str:
        if not value.isprintable():
            raise ValueError("holds a control character; write the folder's plain path")
        if value.startswith("~"):
            raise ValueError("~ is not expanded here; write the whole path")
        return value

    @model_validator(mode="after")
    def _name_fits(self) -> Data:
        if self.source == "torchvision" and self.name is None:
            raise ValueError("source: torchvision needs the name of a class")
        if self.name is not None and self.source not in NAMED:
            raise ValueError(f"name is for source: {', '.join(NAMED)} (else null)")
        return self

    @model_validator(mode="after")
    def _classes_go_with_folders(self) -> Data:
        for key in ("normal", "anomalous", "masks"):
            if getattr(self, key) is not None and self.source != "folder":
                raise ValueError(f"{key} is for source: folder (else null)")
        if self.anomalous == ():
            raise ValueError("anomalous is an empty list; null has the folders recognised")
        both = set(self.normal or ()) & set(self.anomalous or ())
        if both or (self.normal == () and (self.anomalous or self.masks)):
            named = f"{min(both)} is in both" if both else "normal is empty"
            raise ValueError(f"normal, anomalous and masks contradict each other: {named}")
        return self


class Split(Section):
    """Shares of people (or groups, or images where there are none) in each split."""

    train: Share
    val: Share
    gate: Share
    test: Share

    @model_validator(mode="after")
    def _sum_to_one(self) -> Split:
        total = self.train + self.val + self.gate + self.test
        if abs(total - 1) > 1e-6:
            raise ValueError(f"the shares sum to {total:g}, not 1")
        if min(self.train, self.val, self.gate, self.test) == 0:
            raise ValueError("every split needs a share above 0")
        return self


class Labelled(Section):
    """Which share of the anomalies that a source brings goes to ``val`` and ``gate``."""

    val: Share
    gate: Share
    #: In each of the splits that share; with fewer nothing is shared.
    minimum: Positive
    #: Whether synthetic anomalies are made beside labelled ones.
    synthetic: bool

    @property
    def shares(self) -> dict[str, float]:
        """By split."""
        return {"val": self.val, "gate": self.gate}

    @model_validator(mode="after")
    def _leave_some(self) -> Labelled:
        if self.val + self.gate >= 1:
            raise ValueError(f"val and gate take {self.val + self.gate:g} and leave test none")
        return self


class Anomalies(Section):
    """Synthetic anomalies, made where the source brings none; and who gets those it brings."""

    kinds: tuple[AnomalyKind, ...] = Field(min_length=1)
    #: At most so many of each kind in a split; there are never more than normal images.
    per_kind: Positive
    #: null, or left out: labelled anomalies are only in the source's own splits and in ``test``.
    labelled: Labelled | None = None

    @field_validator("kinds", mode="before")
    @classmethod
    def _list(cls, value: Any) -> Any:
        return tuple(value) if isinstance(value, list) else value

    @field_validator("kinds")
    @classmethod
    def _unique(cls, value: tuple[AnomalyKind, ...]) -> tuple[AnomalyKind, ...]:
        if len(set(value)) != len(value):
            raise ValueError("a kind is listed twice")
        return value


class Preprocess(Section):
    """Checks, splits and synthetic anomalies."""

    seed: Seed
    #: Pixels of a side, and channels (1: grey, 3: RGB), of every image.
    size: Literal[32, 64, 96, 128, 256]
    channels: Literal[1, 3]
    #: The value that is white in integer pictures, where it is below their type's largest.
    white: Annotated[int, Field(ge=1, le=2**31 - 1)] | None
    split: Split
    duplicates: Literal["drop", "refuse"]
    #: More than this share of rejected images stops the run.
    max_rejected: Share
    anomalies: Anomalies

    @property
    def shape(self) -> Shape:
        """Of every image after this stage."""
        return Shape(self.size, self.channels)


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
    widths: tuple[Width, ...] = ()
    #: The same from the bottleneck outwards, where it is not the mirror image (fcn only).
    decoder_widths: tuple[Width, ...] | None = None
    #: Elements of the bottleneck; null for conv, whose last feature map is the bottleneck.
    latent: Positive | None = None
    #: Keyword arguments of the constructor, for a network of one's own.
    arguments: dict[str, Argument] = {}
    train: TrainOverrides = TrainOverrides()

    @property
    def own(self) -> bool:
        """Whether the network is the user's and not Clarity's."""
        return self.family not in FAMILIES

    @field_validator("family")
    @classmethod
    def _known(cls, value: str) -> str:
        if value not in FAMILIES and not OWN_FAMILY.fullmatch(value):
            raise ValueError(
                f"there are {', '.join(FAMILIES)}; a network of your own is FILE.py:CLASS, with "
                "the file in networks/, or MODULE:CLASS"
            )
        return value

    @field_validator("widths", "decoder_widths", mode="before")
    @classmethod
    def _list(cls, value: Any) -> Any:
        return tuple(value) if isinstance(value, list) else value

    @model_validator(mode="after")
    def _possible(self) -> Model:
        if self.arguments and not self.own:
            raise ValueError("arguments are for networks of one's own only")
        if self.own:
            if self.widths or self.decoder_widths is not None or self.latent is not None:
                raise ValueError(
                    "widths and latent are for Clarity's own families; give arguments instead"
                )
            return self
        if self.family == "pca":
            if self.widths:
                raise ValueError("family pca has no widths, only latent")
        elif not self.widths:
            raise ValueError(f"family {self.family} needs widths, a list of at least one number")
        if self.decoder_widths is not None and self.family != "fcn":
            raise ValueError("decoder_widths is for family fcn only")
        if (self.family == "conv") != (self.latent is None):
            raise ValueError("latent is a number for every family but conv, where it is left out")
        return self

    def misfit(self, shape: Shape) -> str:
        """The key that images of this shape make impossible, and why; empty where all fits."""
        halvings = (shape.size & -shape.size).bit_length() - 1
        if self.family in ("conv", "ae", "vae") and len(self.widths) > halvings:
            return (
                f"widths: {len(self.widths)} of them halve a {shape.size}-pixel image "
                f"{len(self.widths)} times; at most {halvings} are possible"
            )
        if self.latent is not None and self.latent > shape.elements:
            return f"latent: {self.latent} is more than the {shape.elements} numbers of an image"
        return ""


class Evaluate(Section):
    """What is measured of each model."""

    batch_size: Positive
    #: Faces in the grids; the same for every model.
    faces: Annotated[int, Field(ge=1, le=32)]
    #: Share of validation normals above the anomaly threshold.
    false_alarm_rate: Annotated[float, Field(gt=0, lt=1)]
    #: Pairs of faces whose interpolation is measured, and the steps between them.
    pairs: Positive
    steps: Annotated[int, Field(ge=2, le=10_000)]
    #: Samples drawn from prior or fitted mixture, and the mixture's components.
    samples: Positive
    components: Positive
    seed: Seed


class Margins(Section):
    """Smallest difference that counts, per claim; docs/verdicts.md says in which units."""

    clearer: Annotated[float, Field(ge=0)]
    smoother: Annotated[float, Field(ge=0)]
    blurrier: Annotated[float, Field(ge=0)]


class Compare(Section):
    """Intervals, verdicts and the report."""

    #: What "clearer" is judged by: a key of `clarity.measures.MEASURES` that is a distance.
    measure: str
    confidence: Annotated[float, Field(gt=0, lt=1)]
    resamples: Annotated[int, Field(ge=100, le=1_000_000)]
    seed: Seed
    margins: Margins
    dpi: Annotated[int, Field(ge=50, le=400)]

    @field_validator("measure")
    @classmethod
    def _distance(cls, value: str) -> str:
        if value not in DISTANCES:
            raise ValueError(f"clearer cannot be judged by it; there are {', '.join(DISTANCES)}")
        return value


class Guards(Section):
    """Bounds on a challenger, however good it is; null, or left out: no bound."""

    #: Budgets: median milliseconds of one image, and megabytes (10⁶ bytes) of the weights.
    milliseconds: Annotated[float, Field(gt=0)] | None = None
    megabytes: Annotated[float, Field(gt=0)] | None = None
    #: Largest share of the panel of obvious pictures that may pass as normal (docs/registry.md).
    panel: Annotated[float, Field(ge=0, le=1)] | None = None
    #: Against a champion of the same data: largest rise of the false-alarm rate (difference of
    #: shares), largest ratio of latencies and of weight files.
    false_alarms: Annotated[float, Field(ge=0)] | None = None
    latency: Annotated[float, Field(gt=0)] | None = None
    size: Annotated[float, Field(gt=0)] | None = None


class Gate(Section):
    """When a challenger becomes champion."""

    #: Of the registered model in MLflow.
    name: str = Field(max_length=200)
    #: ``auroc``, or a key of `clarity.measures`.
    metric: str
    margin: Annotated[float, Field(ge=0)]
    confidence: Annotated[float, Field(gt=0.5, lt=1)]
    #: Ask for more confidence with every question put to the same people; docs/registry.md.
    spend: bool
    guards: Guards

    @field_validator("name")
    @classmethod
    def _plain(cls, value: str) -> str:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", value):
            raise ValueError(
                "a registered model's name begins with a letter or a digit; letters, digits, dots, "
                "underscores and hyphens follow"
            )
        return value

    @field_validator("metric")
    @classmethod
    def _known(cls, value: str) -> str:
        known = (AUROC, *(key for key, measure in MEASURES.items() if measure.every))
        if value not in known:
            raise ValueError(f"not measured of every image; there are {', '.join(known)}")
        return value


class Drift(Section):
    """When pictures that arrive are called different; read by the flows, by no stage."""

    #: Level of all tests of one look together.
    alpha: Annotated[float, Field(gt=0, lt=1)]
    #: Smallest effect that counts: standard deviations of the reference (MMD for latent codes).
    effect: Annotated[float, Field(ge=0)]
    #: Fewest images that are judged.
    minimum: Annotated[int, Field(ge=5, le=1_000_000)]
    #: Of the latent codes' test; with k the smallest p-value is 1 / (k + 1), before adjustment.
    permutations: Annotated[int, Field(ge=99, le=1_000_000)]
    seed: Seed
    #: Batches in a row that have to drift before anybody is called.
    lasting: Positive


class Params(Section):
    """The whole file."""

    device: Literal["auto", "cpu", "cuda"]
    threads: Annotated[int, Field(ge=1, le=1024)]
    seeds: tuple[Seed, ...]
    data: Data
    preprocess: Preprocess
    train: Train
    models: dict[str, Model] = Field(min_length=1)
    evaluate: Evaluate
    compare: Compare
    gate: Gate
    drift: Drift

    @field_validator("seeds", mode="before")
    @classmethod
    def _list(cls, value: Any) -> Any:
        return tuple(value) if isinstance(value, list) else value

    @field_validator("seeds")
    @classmethod
    def _unique(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        if not value:
            raise ValueError("the list is empty; give at least one seed")
        if len(set(value)) != len(value):
            raise ValueError("a seed is listed twice")
        return value

    @field_validator("models")
    @classmethod
    def _names(cls, value: dict[str, Model]) -> dict[str, Model]:
        for name in value:
            if not re.fullmatch(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", name) or len(name) > LONGEST_NAME:
                raise ValueError(
                    f"{short(name)} is no model name: lower-case letters, digits and single "
                    f"hyphens, {LONGEST_NAME} at most"
                )
        return value

    @model_validator(mode="after")
    def _fit(self) -> Params:
        shape = self.preprocess.shape
        for name, model in self.models.items():
            if problem := model.misfit(shape):
                raise ValueError(f"models.{name}.{problem}")
        measure = MEASURES[self.compare.measure]
        if measure.smallest > shape.size:
            known = ", ".join(k for k in DISTANCES if MEASURES[k].smallest <= shape.size)
            raise ValueError(
                f"compare.measure: {measure.key} needs {measure.smallest} pixels, and "
                f"preprocess.size is {shape.size}; there are {known}"
            )
        for name in self.models:
            self._learns(name)
        shifts = {f"models.{name}.train": model.train.shift for name, model in self.models.items()}
        for where, shift in {"train": self.train.shift, **shifts}.items():
            if shift is not None and shift >= shape.size // 2:
                raise ValueError(
                    f"{where}.shift: {shift} pixels of {shape.size}; at most {shape.size // 2 - 1}"
                )
        return self

    def _learns(self, name: str) -> None:
        model, loss = self.models[name], self.recipe(name).loss
        where = "train.loss" if model.train.loss is None else f"models.{name}.train.loss"
        if model.family == "vae" and loss != "mse":
            raise ValueError(
                f"{where}: {loss_words(loss)}, but {name} is a VAE, whose loss is the ELBO on "
                f"squared errors; set models.{name}.train.loss: mse"
            )
        small, names = MEASURES["ms_ssim"].smallest, [loss] if isinstance(loss, str) else loss
        if "ms-ssim" in names and self.preprocess.size < small:
            raise ValueError(
                f"{where}: ms-ssim needs {small} pixels, and preprocess.size is "
                f"{self.preprocess.size}; use ssim"
            )

    @property
    def trainings(self) -> list[Training]:
        """Every model from every seed, in the file's order."""
        return [Training(model, seed) for model in self.models for seed in self.seeds]

    def model(self, name: str) -> Model:
        """The entry of one model, or an error that lists the names there are."""
        if name not in self.models:
            known = ", ".join(self.models)
            raise ClarityError(f"params.yaml: models.{name} does not exist; there are {known}")
        return self.models[name]

    def recipe(self, name: str) -> Train:
        """The recipe of one model: the defaults with its own overrides."""
        overrides = self.model(name).train.model_dump(exclude_none=True)
        if self.model(name).family == "pca":  # fitted, to the squared error
            overrides |= {"loss": "mse", "noise": 0.0}
        return self.train.model_copy(update=overrides)


def load_params(path: Path = PARAMS) -> Params:
    """Read and check ``params.yaml``.

    Raises:
        ClarityError: one line with the key's path and the mend.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ClarityError(f"{path}: no such file; run from the project's root") from None
    except UnicodeDecodeError:
        raise ClarityError(f"{path}: not UTF-8 text; save it as UTF-8") from None
    return parse_params(text, path)


def check_data_path(data: Data) -> None:
    """Refuse a ``data.path`` that is not there: no source but DVC itself asks for it in any case.

    Raises:
        ClarityError: one line with the mend.
    """
    path = Path(data.path)
    try:
        there, folder = path.exists(), path.is_dir()
    except OSError as error:  # a name too long, a folder that may not be entered
        raise ClarityError(f"{PARAMS}: data.path: {data.path[:80]}: {error.strerror}") from None
    if not there:
        raise ClarityError(
            f"{PARAMS}: data.path: {data.path} is not there, and DVC runs nothing without it; make "
            "the folder or name another"
        )
    if not folder and data.source != "faces":
        raise ClarityError(f"{PARAMS}: data.path: {data.path} is a file; name the folder it is in")


def parse_params(text: str, path: Path) -> Params:
    """Check the text of a ``params.yaml``; ``path`` is for the messages only.

    Raises:
        ClarityError: one line with the key's path and the mend.
    """
    content = parse_mapping(text, path)
    try:
        return Params.model_validate(content)
    except ValidationError as error:
        raise ClarityError(f"{path}: {first_problem(error, Params)}") from None
