"""The trainings that params.yaml names, read from what `train` and `evaluate` left, checked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pandera.pandas as pa
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file

from clarity.choice import best_score, unseen_column
from clarity.compare.results import (
    POPULATIONS,
    QUESTIONS,
    Budget,
    Floats,
    ModelResults,
    Population,
    Question,
    Results,
    Rows,
    Spectrum,
    family_order,
)
from clarity.details import Details, Separation, read_details
from clarity.errors import ClarityError
from clarity.files import read_json, sha256_file
from clarity.layout import INDEX, SOURCE, Ensemble, Outputs, Training
from clarity.measures import MEASURES
from clarity.params import Params, family_of, loss_words

#: PSNR of a perfect reconstruction is infinite; means stop here (dB).
_MOST_PSNR = 100.0
_KEYS = ["split", "label", "row", "id", "group", "kind"]
#: Measures without which nothing is reported, beside the primary one.
_ALWAYS = ("mse", "psnr", "ssim", "lsd")


def load_results(params: Params) -> Results:
    """Read the trainings that ``params`` names; a folder of any other training is ignored.

    Raises:
        ClarityError: a file is missing, lacks a column, or was measured on other images.
    """
    index = _index()
    reader = _Reader(params, index[_KEYS])
    models = [reader.model(name) for name in params.models]
    models.sort(key=lambda m: (family_order(m.family), m.parameters, m.name))
    judged = (index["split"] == "test").to_numpy()
    return Results(
        models=tuple(models),
        ensembles=tuple(reader.ensemble(name) for name in params.ensembles),
        seeds=tuple(params.seeds),
        primary=MEASURES[params.compare.measure],
        measures=reader.measures,
        index=index,
        digest=sha256_file(INDEX),
        rows=reader.rows,
        test=index.loc[judged, ["label", "group", "kind"]].reset_index(drop=True),
        source=_json(SOURCE, "ingest"),
    )


def _index() -> pd.DataFrame:
    text = dict.fromkeys(("split", "id", "group", "kind", "sha256"), str)
    try:
        index = pd.read_csv(INDEX, dtype=text, keep_default_na=False)
    except FileNotFoundError:
        raise ClarityError(f"{INDEX}: no such file; run `dvc repro preprocess`") from None
    missing = [name for name in _KEYS if name not in index]
    if missing:
        raise ClarityError(f"{INDEX}: column {missing[0]} is missing; run `dvc repro preprocess`")
    for split, label in (("train", 0), ("test", 0), ("test", 1)):
        if not ((index["split"] == split) & (index["label"] == label)).any():
            what = "anomaly" if label else "normal image"
            raise ClarityError(f"{INDEX}: no {what} in {split}; give the split a larger share")
    return index


class _Reader:
    """Reads one model after the other; the first settles which measures there are, and of what."""

    def __init__(self, params: Params, keys: pd.DataFrame) -> None:
        self._seeds = params.seeds
        self._primary = params.compare.measure
        self._keys = keys
        self._size = 0
        self.measures: tuple[str, ...] = ()
        self.rows: dict[Population, dict[str, Rows]] = {}

    def model(self, name: str) -> ModelResults:
        """One model over its seeds."""
        return self._read(name, [Training(name, seed) for seed in self._seeds])

    def ensemble(self, name: str) -> ModelResults:
        """One ensemble, as a model of one training."""
        return self._read(name, [Ensemble(name)])

    def _read(self, name: str, outputs: Sequence[Outputs]) -> ModelResults:
        spectra = _spectra(outputs)
        self._size = 2 * spectra["train"].power.shape[1]
        details = tuple(_details(training) for training in outputs)
        frames = [self._table(t, t.per_image, self._keys) for t in outputs]
        # A seed may have no fused score: no signal told its anomalies.
        common = set.intersection(*(set(map(str, frame)) for frame in frames))
        scores = sorted(c for c in common if c.startswith("score_"))
        if not scores:
            raise ClarityError(
                f"{outputs[0].per_image}: no column score_*; "
                f"run `dvc repro {outputs[0].evaluated_by}`"
            )
        judged = (self._keys["split"] == "test").to_numpy()
        names = [name.removeprefix("score_") for name in scores]
        best, area = best_score(
            [
                Separation(
                    anomaly={n: c.anomaly[n] for n in names if n in c.anomaly},
                    unseen_kind=c.unseen_kind,
                )
                for c in details
            ]
        )
        first, family = details[0], details[0].family
        trained = [one for one in outputs if isinstance(one, Training)]
        loss, optimizer = _taught(trained[0]) if trained else ("", "")
        budgets = tuple(_budgets(one) for one in trained) if not family_of(family).fitted else ()
        return ModelResults(
            name=name,
            family=family,
            widths=first.widths or (),
            latent=first.latent,
            parameters=first.parameters,
            loss=loss,
            optimizer=optimizer,
            flops=first.flops,
            weight_bytes=first.weight_bytes,
            trainings=tuple(outputs),
            metrics=self._metrics(outputs, frames),
            same_compute=self._same_compute(outputs),
            budgets=budgets,
            spectra=spectra,
            scores={n: _stack(frames, f"score_{n}", judged) for n in names},
            unseen=self._unseen(frames, best, judged),
            best_score=best,
            val_auroc=area,
            details=details,
            curves=tuple(_curves(training) for training in trained),
        )

    def _unseen(
        self, frames: Sequence[pd.DataFrame], best: str, judged: NDArray[np.bool_]
    ) -> dict[str, Floats]:
        """By kind of the test's anomalies, the best score where it was fitted without the kind."""
        test, there = self._keys[judged], set.intersection(*(set(frame) for frame in frames))
        return {
            kind: _stack(frames, unseen_column(kind, best, there), judged)
            for kind in sorted(set(test.loc[test["label"] == 1, "kind"]))
        }

    def _same_compute(
        self, trainings: Sequence[Outputs]
    ) -> dict[Population, dict[str, Floats]] | None:
        keys = self._keys[(self._keys["label"] == 0) & self._keys["split"].isin(POPULATIONS)]
        frames = [self._table(t, t.same_compute_table, keys, scored=False) for t in trainings]
        empty = [not len(frame) for frame in frames]
        if any(empty):
            return None
        return self._metrics(trainings, frames)

    def _metrics(
        self, trainings: Sequence[Outputs], frames: Sequence[pd.DataFrame]
    ) -> dict[Population, dict[str, Floats]]:
        found: dict[Population, dict[str, Floats]] = {}
        for split in POPULATIONS:
            mine = ((frames[0]["split"] == split) & (frames[0]["label"] == 0)).to_numpy()
            stacks = {measure: _stack(frames, measure, mine) for measure in self.measures}
            if split not in self.rows:
                self.rows[split] = {k: _measured(values[0]) for k, values in stacks.items()}
            found[split] = {}
            for measure, values in stacks.items():
                rows = self.rows[split][measure]
                if not len(rows):
                    raise ClarityError(
                        f"{trainings[0].evaluation}: {measure} of no {split} image at all; "
                        f"run `dvc repro -f {trainings[0].evaluated_by}`"
                    )
                for training, own in zip(trainings, values, strict=True):
                    if not np.array_equal(_measured(own), rows):
                        raise ClarityError(
                            f"{training.evaluation}: {measure} of other images than elsewhere; "
                            f"run `dvc repro -f {training.evaluated_by}`"
                        )
                found[split][measure] = values[:, rows]
        return found

    def _table(
        self, training: Outputs, path: Path, keys: pd.DataFrame, *, scored: bool = True
    ) -> pd.DataFrame:
        """A table of ``evaluate``, its columns checked, its rows those of ``keys`` (or none)."""
        mend = f"run `dvc repro -f {training.evaluated_by}`"
        try:
            frame = pd.read_parquet(path)
        except FileNotFoundError:
            raise ClarityError(f"{path}: no such file; {mend}") from None
        except (ValueError, OSError) as error:
            raise ClarityError(
                f"{path}: not readable as Parquet ({type(error).__name__}); {mend}"
            ) from None
        if not self.measures:
            fit = [key for key, one in MEASURES.items() if one.smallest <= self._size]
            there = [key for key in fit if key in frame]
            self.measures = tuple(sorted(there, key=lambda key: key != self._primary))
        if not scored and not len(frame):
            return frame
        frame = _checked(frame, path, self.measures, self._primary, mend)
        for name in _KEYS:
            ours = frame[name].astype(str).to_numpy()
            if len(frame) != len(keys) or not np.array_equal(
                ours, keys[name].astype(str).to_numpy()
            ):
                raise ClarityError(f"{path}: not the images of {INDEX} (column {name}); {mend}")
        return frame


def _checked(
    frame: pd.DataFrame, path: Path, measures: Sequence[str], primary: str, mend: str
) -> pd.DataFrame:
    finite = pa.Check(lambda column: np.isfinite(column), error="not finite")
    wanted = dict.fromkeys((*_ALWAYS, primary, *measures))
    missing = [name for name in (*_KEYS, *wanted) if name not in frame]
    if missing:
        raise ClarityError(f"{path}: column {missing[0]} is missing; {mend}")
    columns: dict[str, Any] = {name: pa.Column(None) for name in _KEYS}
    for name in wanted:
        check = None if name == "psnr" else finite
        # A slow measure is taken of a sample; the rest of its column is empty.
        columns[name] = pa.Column(float, check, nullable=name not in _ALWAYS)
    columns["score_.*"] = pa.Column(float, finite, regex=True, required=False)
    try:
        return pa.DataFrameSchema(columns).validate(frame)
    except pa.errors.SchemaError as error:
        reason = str(error).splitlines()[0]
        raise ClarityError(f"{path}: {reason}; {mend}") from None


def _stack(frames: Sequence[pd.DataFrame], column: str, rows: NDArray[np.bool_]) -> Floats:
    values = np.stack([frame[column].to_numpy(np.float64)[rows] for frame in frames])
    return np.minimum(values, _MOST_PSNR) if column == "psnr" else values


def _measured(values: Floats) -> Rows:
    return np.flatnonzero(~np.isnan(values))


def _details(training: Outputs) -> Details:
    content = read_details(training.details, training.evaluated_by)
    try:
        family_of(content.family)
    except KeyError:
        known = f"{training.details}: family {content.family!r} is not known"
        raise ClarityError(known) from None
    return content


def _budgets(training: Training) -> Mapping[Question, Budget | None]:
    content = _json(training.description, training.made_by).get("budgets") or {}
    found: dict[Question, Budget | None] = {}
    for question in QUESTIONS:
        budget = content.get(question)
        try:
            found[question] = budget and Budget(
                float(budget["epoch"]), float(budget["epochs"]), float(budget["gflop_per_image"])
            )
        except (KeyError, TypeError, ValueError):
            found[question] = None
    if found["alike"] is None:
        raise ClarityError(
            f"{training.description}: budgets.alike is missing or broken; "
            f"run `dvc repro -f {training.made_by}`"
        )
    return found


def _taught(training: Training) -> tuple[str, str]:
    """What it minimised, in words, and the optimiser."""
    content = _json(training.description, training.made_by)
    noise = content.get("noise")
    try:
        said = loss_words(content.get("loss", "mse"))
    except (KeyError, TypeError, AttributeError, ValueError):
        raise ClarityError(
            f"{training.description}: loss {content['loss']!r} is not known; "
            f"run `dvc repro -f {training.made_by}`"
        ) from None
    loss = f"{said} with noise of {noise:g} on the input" if noise else said
    return loss, str(content.get("optimizer", "adamw"))


def _spectra(trainings: Sequence[Outputs]) -> dict[Population, Spectrum]:
    content = []
    for training in trainings:
        path, mend = training.frequency, f"run `dvc repro -f {training.evaluated_by}`"
        try:
            content.append(load_file(path))
        except FileNotFoundError:
            raise ClarityError(f"{path}: no such file; {mend}") from None
        except (SafetensorError, ValueError) as error:
            raise ClarityError(f"{path}: broken ({error}); {mend}") from None
    try:
        return {
            split: Spectrum(
                content[0][f"{split}/rows"],
                np.stack([tensors[f"{split}/error"] for tensors in content]).astype(np.float64),
                content[0][f"{split}/power"].astype(np.float64),
            )
            for split in POPULATIONS
        }
    except (KeyError, ValueError) as error:
        raise ClarityError(
            f"{trainings[0].frequency}: {error} is missing or of another shape than in other "
            f"seeds; run `dvc repro -f {trainings[0].evaluated_by}`"
        ) from None


def _json(path: Path, stage: str) -> dict[str, Any]:
    try:
        content = read_json(path)
    except FileNotFoundError:
        raise ClarityError(f"{path}: no such file; run `dvc repro {stage}`") from None
    except ValueError:
        raise ClarityError(f"{path}: not valid JSON; run `dvc repro -f {stage}`") from None
    if not isinstance(content, dict):
        raise ClarityError(f"{path}: expected a mapping; run `dvc repro -f {stage}`")
    return content


def _curves(training: Training) -> pd.DataFrame:
    try:
        curves = pd.read_csv(training.curves)
    except FileNotFoundError:
        raise ClarityError(
            f"{training.curves}: no such file; run `dvc repro {training.made_by}`"
        ) from None
    for name in ("epoch", "train_mse", "val_mse"):
        if name not in curves:
            raise ClarityError(
                f"{training.curves}: column {name} is missing; "
                f"run `dvc repro -f {training.made_by}`"
            )
    return curves
