"""``details.json``: everything that `evaluate` measured of one model, as a type.

`evaluate` writes through it and everybody reads through it; docs/architecture.md says what each
figure is. What a default is given here was not measured by every version: an evaluation, or a
registered model, from before has none. None in place of a number: it could not be measured.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from clarity.errors import ClarityError
from clarity.files import finite, read_json, write_json

#: Counts are whole numbers.
Figure = int | float | None
#: By split.
Listed = Mapping[str, list[float]]
Means = Mapping[str, Figure]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True)


class Threshold(_Part):
    """Where one score calls an image anomalous, and what came of it."""

    value: Figure
    false_alarm_rate: float
    by: str | None = None
    promised: bool = True
    train_false_alarms: Figure = None
    test_false_alarms: Figure = None
    test_misses: Figure = None
    test_normals: Figure = None
    test_anomalies: Figure = None


class PanelFigures(_Part):
    """How much of the panel of obviously wrong pictures one score calls normal, by kind."""

    let_through: Mapping[str, float] = {}
    share: Figure = None
    pictures: int = 0


class Frequency(_Part):
    """Share of the original's power in its right place, by cycles an image."""

    cycles: list[int]
    train: list[Figure]
    test: list[Figure]


class LatentSpace(_Part):
    """docs/metrics/latent-space.md; lists are by split, an element a pair of images."""

    size: int | None = None
    faces: int | None = None
    participation_ratio: Figure = None
    participation_bound: int | None = None
    steps: int | None = None
    path_pairs: Mapping[str, list[tuple[str, str]]] = {}
    path_length: Listed = {}
    jump: Listed = {}
    jump_haarpsi: Listed = {}
    crossfade: Listed = {}
    path_length_mean: Means = {}
    jump_mean: Means = {}
    jump_haarpsi_mean: Means = {}
    crossfade_mean: Means = {}
    active_units: int | None = None
    active_share: Figure = None
    collapsed: bool = False


class Drawn(_Part):
    """Samples from one density over the latents; docs/metrics/samples.md."""

    method: str | None = None
    source: str | None = None
    components: int | None = None
    sharpness: list[float] = []
    sharpness_mean: Figure = None
    high_frequency_db: Figure = None
    frechet: Figure = None
    precision: Figure = None
    recall: Figure = None


class Samples(Drawn):
    """Those of the model, what they are compared with, and why there are none."""

    skipped: str | None = None
    count: int | None = None
    fitted: Drawn | None = None
    sharpness_reconstructions_mean: Figure = None
    sharpness_real_mean: Figure = None
    frechet_train: Figure = None
    precision_train: Figure = None
    recall_train: Figure = None
    features: str | None = None


class Separation(_Part):
    """How well scores tell anomalies from normals: by score, then split, then kind."""

    anomaly: Mapping[str, Mapping[str, Mapping[str, Mapping[str, Figure]]]]
    unseen_kind: Mapping[str, Mapping[str, Mapping[str, Figure]]] = {}


class Details(Separation):
    """All of it."""

    model: str
    seed: int | None = None
    members: tuple[str, ...] | None = None
    family: str
    widths: tuple[int, ...] | None = None
    latent: int
    parameters: int
    flops: int
    weight_bytes: int
    reconstruction: Mapping[str, Means]
    same_compute: Mapping[str, Means] | None = None
    frequency: Frequency | None = None
    finest_detail: Means = {}
    threshold: Mapping[str, Threshold]
    best_score: str
    fused_weights: Mapping[str, float] | None = None
    panel: Mapping[str, PanelFigures] = {}
    pixel_auroc: Mapping[str, Means] = {}
    latent_space: LatentSpace = LatentSpace()
    samples: Samples = Samples()
    left_out: Mapping[str, str] = {}
    white: int | None = None

    @classmethod
    def of(cls, content: Mapping[str, Any]) -> Details:
        """What was measured; a key that is not known here is a mistake of whoever measured."""
        return cls.model_validate(finite(content), extra="forbid")

    def write(self, path: Path) -> None:
        """Write what was measured, and no default."""
        write_json(path, self.known())

    def known(self) -> dict[str, Any]:
        """What was measured, as JSON has it."""
        return self.model_dump(mode="json", exclude_unset=True)


def read_details(path: Path, stage: str | None = None) -> Details:
    """Read one.

    Args:
        path: of a details.json.
        stage: that makes it anew, for the message; None: the message speaks of `dvc checkout`.

    Raises:
        ClarityError: it is missing, broken, or lacks a figure.
    """
    again = f"run `dvc repro -f {stage}`" if stage else "restore it with dvc checkout"
    try:
        return Details.model_validate(read_json(path))
    except FileNotFoundError:
        how = f"run `dvc repro {stage}`" if stage else "evaluate the model (dvc repro)"
        raise ClarityError(f"{path}: no such file; {how}") from None
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"])) or "its content"
        lacks = first["type"] == "missing"
        what = f"{where} is missing" if lacks else f"broken ({where}: {first['msg']})"
        raise ClarityError(f"{path}: {what}; {again}") from None
    except ValueError:
        raise ClarityError(f"{path}: not valid JSON; {again}") from None
