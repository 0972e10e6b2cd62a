"""``params.yaml`` as types: the one place where it is read and checked.

Strict: unknown keys, wrong types and impossible sizes are refused in one line that names the key.
Nothing here has a default that shapes a result; what a stage computes with stands in the file,
where DVC sees it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, TypeVar

from pydantic import Field, ValidationError, field_validator, model_validator

from clarity.errors import ClarityError
from clarity.layout import PARAMS, Ensemble, Outputs, Training
from clarity.measures import DISTANCES, MEASURES
from clarity.params.data import (
    SOURCES,
    SYNTHETIC,
    Anomalies,
    AnomalyKind,
    Data,
    Labelled,
    Preprocess,
    Split,
    check_data_path,
)
from clarity.params.families import ENSEMBLE, FAMILIES, Family, family_of
from clarity.params.judging import (
    AUROC,
    UNSEEN,
    Compare,
    Drift,
    Evaluate,
    Gate,
    Guards,
    Margins,
)
from clarity.params.models import (
    LOSSES,
    NAME,
    OWN_FAMILY,
    Loss,
    Model,
    Train,
    TrainOverrides,
    loss_words,
)
from clarity.params.section import LISTED, Section, Seed
from clarity.problems import first_problem, short
from clarity.yaml_text import parse_mapping

__all__ = [
    "AUROC",
    "ENSEMBLE",
    "FAMILIES",
    "LOSSES",
    "NAME",
    "OWN_FAMILY",
    "SOURCES",
    "SYNTHETIC",
    "UNSEEN",
    "Anomalies",
    "AnomalyKind",
    "Compare",
    "Data",
    "Drift",
    "Evaluate",
    "Family",
    "Gate",
    "Guards",
    "Labelled",
    "Loss",
    "Margins",
    "Model",
    "Params",
    "Preprocess",
    "Split",
    "Train",
    "TrainOverrides",
    "check_data_path",
    "family_of",
    "load_params",
    "loss_words",
    "parse_params",
]

Named = TypeVar("Named", Model, tuple[str, ...])

#: Folders and DVC's stages bear a model's name.
LONGEST_NAME = 80


class Params(Section):
    """The whole file."""

    device: Literal["auto", "cpu", "cuda"]
    threads: Annotated[int, Field(ge=1, le=1024)]
    seeds: Annotated[tuple[Seed, ...], LISTED]
    data: Data
    preprocess: Preprocess
    train: Train
    models: dict[str, Model] = Field(min_length=1)
    #: Models that score and serve as one, by the ensemble's name: each from every seed.
    ensembles: dict[str, Annotated[tuple[str, ...], LISTED]]
    evaluate: Evaluate
    compare: Compare
    gate: Gate
    drift: Drift

    @field_validator("seeds")
    @classmethod
    def _unique(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        if not value:
            raise ValueError("the list is empty; give at least one seed")
        if len(set(value)) != len(value):
            raise ValueError("a seed is listed twice")
        return value

    @field_validator("models", "ensembles")
    @classmethod
    def _names(cls, value: dict[str, Named]) -> dict[str, Named]:
        for name in value:
            if not NAME.fullmatch(name) or len(name) > LONGEST_NAME:
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
        for name in self.ensembles:
            self._combines(name)
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
        if model.traits.prior and loss != "mse":
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

    def _combines(self, name: str) -> None:
        where, members = f"ensembles.{name}", self.ensembles[name]
        for member in members:
            if member not in self.models:
                known = ", ".join(self.models)
                raise ValueError(f"{where}: {short(member)} is no model; there are {known}")
        if len(set(members)) != len(members):
            raise ValueError(f"{where}: a model is listed twice")
        taken = {*self.models, *(training.name for training in self.trainings)}
        if name in taken:
            raise ValueError(f"{where}: {name} is the name of a model already; choose another")
        if len(self.members(name)) < 2:
            raise ValueError(
                f"{where}: one training is no ensemble; name several models, or more seeds"
            )

    def too_many_components(self, images: int) -> list[str]:
        """A line for each PCA that cannot be fitted to so many training images."""
        return [
            f"models.{name}.latent: {model.latent} components cannot be fitted to {images} "
            f"training images; set it to {images} at most, or remove {name}"
            for name, model in self.models.items()
            if model.traits.fitted and model.latent is not None and model.latent > images
        ]

    @property
    def trainings(self) -> list[Training]:
        """Every model from every seed, in the file's order."""
        return [Training(model, seed) for model in self.models for seed in self.seeds]

    @property
    def detectors(self) -> dict[str, list[Outputs]]:
        """By model, its trainings; then by ensemble, that alone; in the file's order."""
        found: dict[str, list[Outputs]] = {name: [] for name in self.models}
        for training in self.trainings:
            found[training.model].append(training)
        return found | {name: [Ensemble(name)] for name in self.ensembles}

    @property
    def outputs(self) -> list[Outputs]:
        """All that is evaluated, registered and can be served: trainings, then ensembles."""
        return [one for several in self.detectors.values() for one in several]

    def members(self, ensemble: str) -> list[Training]:
        """The trainings of an ensemble: its models from every seed, PCA once, since it has none."""
        return [
            Training(model, seed)
            for model in self.ensembles[ensemble]
            for seed in (self.seeds[:1] if self.models[model].traits.fitted else self.seeds)
        ]

    def model(self, name: str) -> Model:
        """The entry of one model, or an error that lists the names there are."""
        if name not in self.models:
            known = ", ".join(self.models)
            raise ClarityError(f"params.yaml: models.{name} does not exist; there are {known}")
        return self.models[name]

    def recipe(self, name: str) -> Train:
        """The recipe of one model: the defaults with its own overrides."""
        overrides = self.model(name).train.model_dump(exclude_none=True)
        if self.model(name).traits.fitted:  # to the squared error, in no steps
            overrides |= {"loss": "mse", "noise": 0.0, "optimizer": "adamw"}
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
