"""Sections ``data`` and ``preprocess``: which images, and what becomes of them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import Field, field_validator, model_validator

from clarity.errors import ClarityError
from clarity.layout import PARAMS, Shape
from clarity.params.section import LISTED, Positive, Section, Seed, Share, among

AnomalyKind = Literal["cutpaste", "occlusion", "shuffled", "inverted", "photograph"]
SYNTHETIC: tuple[str, ...] = get_args(AnomalyKind)
#: Names, which may be written as one.
Words = tuple[Annotated[str, Field(min_length=1)], ...]
#: By ``data.source``: the module of `clarity.ingest` that opens it, and what of the other keys here
#: its ``open_source`` is given, in that order.
SOURCES: dict[str, tuple[str, tuple[str, ...]]] = {
    "faces": ("faces", ()),
    "folder": ("folder", ("path", "normal", "anomalous", "masks")),
    "table": ("table", ("path", "name")),
    "npy": ("npy", ("path", "name")),
    "torchvision": ("torchvision_set", ("path", "name")),
}
#: Keys that some sources have no use for.
SOME = ("name", "normal", "anomalous", "masks")


class Data(Section):
    """Where the images come from."""

    #: One of `SOURCES`.
    source: Annotated[str, among(SOURCES)]
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
    def _source_has_a_use_for_it(self) -> Data:
        if self.source == "torchvision" and self.name is None:
            raise ValueError("source: torchvision needs the name of a class")
        for key in SOME:
            if getattr(self, key) is not None and key not in SOURCES[self.source][1]:
                users = [name for name, (_, takes) in SOURCES.items() if key in takes]
                raise ValueError(f"{key} is for source: {', '.join(users)} (else null)")
        return self

    @model_validator(mode="after")
    def _a_named_file_is_below_path(self) -> Data:
        """DVC sees what is below ``path``; a file elsewhere would change and no stage would run.

        torchvision's name is a class.
        """
        if self.source in ("npy", "table") and self.name is not None:
            named = Path(self.name)
            if named.is_absolute() or ".." in named.parts:
                raise ValueError(
                    f"name: {self.name[:80]} leads out of path, where DVC would not see a change; "
                    "move the file there and write its bare name"
                )
        return self

    @model_validator(mode="after")
    def _classes_go_with_folders(self) -> Data:
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
    #: Where synthetic anomalies are made beside labelled ones; true is ``all`` and false ``none``.
    synthetic: Literal["val", "all", "none"]

    @property
    def shares(self) -> dict[str, float]:
        """By split."""
        return {"val": self.val, "gate": self.gate}

    @field_validator("synthetic", mode="before")
    @classmethod
    def _as_before(cls, value: object) -> object:
        return {True: "all", False: "none"}[value] if isinstance(value, bool) else value

    @model_validator(mode="after")
    def _leave_some(self) -> Labelled:
        if self.val + self.gate >= 1:
            raise ValueError(f"val and gate take {self.val + self.gate:g} and leave test none")
        return self


class Anomalies(Section):
    """Synthetic anomalies, made where the source brings none; and who gets those it brings."""

    kinds: Annotated[tuple[AnomalyKind, ...], LISTED] = Field(min_length=1)
    #: At most so many of each kind in a split; there are never more than normal images.
    per_kind: Positive
    #: null, or left out: labelled anomalies are only in the source's own splits and in ``test``.
    labelled: Labelled | None = None

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
