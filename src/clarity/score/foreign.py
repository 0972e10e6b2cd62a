"""Whether a version was trained on the data of this workspace, or is foreign to it."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path

from clarity.errors import ClarityError
from clarity.files import sha256_bytes, sha256_file
from clarity.layout import INDEX
from clarity.score.registered import TAG_DATA, TAG_TRAINING_DATA

#: Splits that a model has seen, or whose normals set its stopping point and its threshold.
SEEN = ("train", "val")


def training_data(root: Path = Path()) -> str:
    """SHA-256 over the normal images that trainings of this workspace see, in order.

    The index names the SHA-256 of every image's pixels. Other anomalies, or another cut between
    the gate's people and the test's, leave it as it is.
    """
    lines = []
    try:
        with (root / INDEX).open(newline="", encoding="utf-8") as handle:
            for row in csv.DictReader(handle):
                if row["split"] in SEEN and row["label"] == "0":
                    lines.append(f"{row['split']} {row['sha256']}\n")
    except (KeyError, ValueError, csv.Error) as error:
        raise ClarityError(
            f"{root / INDEX}: not a table of images ({error}); run `dvc repro preprocess`"
        ) from None
    return sha256_bytes("".join(lines).encode())


def foreign(tags: Mapping[str, str], root: Path = Path()) -> str:
    """What makes a version with these tags foreign, in words; empty where nothing does.

    Nothing is said where there is no index to compare with: a machine that only scores.
    """
    data, trained = tags.get(TAG_DATA, ""), tags.get(TAG_TRAINING_DATA, "")
    index = root / INDEX
    if not (data or trained) or not index.is_file() or data == sha256_file(index):
        return ""
    here = training_data(root) if trained else sha256_file(index)
    if trained == here:
        return ""
    return (
        f"is foreign: it was trained on other data ({(trained or data)[:8]}) than is in the "
        f"workspace ({here[:8]})"
    )
