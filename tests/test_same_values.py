"""One ramp has the same values by every door, and one person is in one split."""

from __future__ import annotations

import base64
import io
import unicodedata
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import pytest
from data_helpers import SHAPE, clarity_here, make_project, random_images, run_stages
from PIL import Image

from clarity.preprocess.images import Seen, decode
from clarity.score.requests import Refusal, read_images

RAMP = np.repeat(np.arange(0, 256, 4, dtype=np.uint8)[None], 64, 0)
RGB = np.repeat(RAMP[:, :, None], 3, 2)


def saved(image: Image.Image, kind: str, **options: Any) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def turned() -> bytes:
    """The ramp lying on its side, and EXIF that says so (orientation 6: turn by 90 degrees)."""
    exif = Image.Exif()
    exif[0x0112] = 6
    return saved(Image.fromarray(RGB).rotate(90), "PNG", exif=exif)


def palette() -> bytes:
    return saved(Image.fromarray(RGB).quantize(64), "PNG")


DEEP = RAMP.astype(np.uint16) * 257
ENCODINGS = {
    "PNG grey": saved(Image.fromarray(RAMP), "PNG"),
    "PNG RGB": saved(Image.fromarray(RGB), "PNG"),
    "PNG 16 bits": saved(Image.fromarray(DEEP), "PNG"),
    "TIFF 16 bits": saved(Image.fromarray(DEEP), "TIFF"),
    "TIFF float": saved(Image.fromarray((RAMP / 255).astype(np.float32)), "TIFF"),
    "PGM 16 bits": b"P5\n64 64\n65535\n" + DEEP.astype(">u2").tobytes(),
    "PNG alpha": saved(Image.fromarray(np.dstack([RGB, np.full_like(RAMP, 255)])), "PNG"),
    "PNG turned by EXIF": turned(),
    "PNG palette": palette(),
    "BMP": saved(Image.fromarray(RGB), "BMP"),
    "WebP": saved(Image.fromarray(RGB), "WEBP", lossless=True),
}


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_a_ramp_has_the_same_values_by_every_door(encoding: str, tmp_path: Path) -> None:
    content = ENCODINGS[encoding]
    np.testing.assert_array_equal(decode(content), RGB)
    text = base64.encodebytes(content).decode()  # with line breaks, as `base64` prints it
    np.testing.assert_array_equal(read_images(pd.DataFrame({"image": [text]}), SHAPE)[0], RGB)
    path = tmp_path / "in" / "ramp.picture"
    path.parent.mkdir()
    path.write_bytes(content)
    from clarity.score.sources import Reading, open_source

    source = open_source(path.parent)
    source.reading = Reading(SHAPE)
    np.testing.assert_array_equal(source.read(0, 1).images[0], RGB)


@pytest.mark.parametrize("source", ["folder", "torchvision"])
def test_a_folder_is_read_alike_by_both_sources(source: str, tmp_path: Path) -> None:
    name = {"torchvision": "ImageFolder"}.get(source)
    project = make_project(tmp_path, {"source": source, "path": "own", "name": name})
    shades = random_images(40, (64, 64))
    for place, image in enumerate(shades):
        folder = project / "own" / f"person-{place % 8}"
        folder.mkdir(parents=True, exist_ok=True)
        deep = image[:, :, 0].astype(np.uint16) * 257
        (folder / f"{place:02}.png").write_bytes(saved(Image.fromarray(deep), "PNG"))
    run_stages(project, "ingest", "preprocess")
    index = pd.read_csv(project / "data/processed/index.csv", dtype=str)
    normals = index[index["label"] == "0"]
    assert normals["group"].nunique() == 8
    assert (normals.groupby("group")["split"].nunique() == 1).all()
    row = normals[normals["split"] == "train"].iloc[0]
    place = int(Path(row["id"]).stem)
    stored = np.load(project / "data/processed/train.npy")[int(row["row"])]
    np.testing.assert_array_equal(stored[:, :, 0], shades[place][:, :, 0])


@pytest.mark.parametrize("flat_name", ["copy.png", "a-copy.png", "zz.png"])
def test_a_person_is_in_one_split_whichever_copy_survives(flat_name: str, tmp_path: Path) -> None:
    """Three of one person's pictures also lie flat in the root, and her name has two spellings."""
    project = make_project(tmp_path, {"source": "folder", "path": "own"})
    images = random_images(60, (64, 64))
    for place, image in enumerate(images):
        person = f"Zoë {place % 10}"
        form: Literal["NFC", "NFD"] = "NFC" if place < 30 else "NFD"
        folder = project / "own" / unicodedata.normalize(form, person)
        folder.mkdir(parents=True, exist_ok=True)
        content = saved(Image.fromarray(image), "PNG")
        (folder / f"{place:02}.png").write_bytes(content)
        if place in (0, 10, 20):
            (project / "own" / f"{place}{flat_name}").write_bytes(content)
    said = run_stages(project, "ingest", "preprocess")
    index = pd.read_csv(project / "data/processed/index.csv", dtype=str)
    normals = index[index["label"] == "0"]
    assert len(normals) == 60, said
    assert normals["group"].nunique() == 10
    assert (normals.groupby("group")["split"].nunique() == 1).all()


def test_two_groups_with_the_same_picture_are_one_person(tmp_path: Path) -> None:
    project = make_project(tmp_path, {"source": "folder", "path": "own"})
    images = random_images(48, (64, 64))
    images[1] = images[0]
    for place, image in enumerate(images):
        folder = project / "own" / f"person-{place % 12}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{place:02}.png").write_bytes(saved(Image.fromarray(image), "PNG"))
    run_stages(project, "ingest", "preprocess")
    index = pd.read_csv(project / "data/processed/index.csv", dtype=str)
    assert index[index["label"] == "0"]["group"].nunique() == 11


def test_shallow_values_in_deep_files_are_said_aloud_and_mended(tmp_path: Path) -> None:
    seen = Seen()
    twelve_bits = RAMP.astype(np.uint16) * 16
    dark = decode(saved(Image.fromarray(twelve_bits), "PNG"), None, seen)
    assert dark.max() < 20
    assert any("preprocess.white: 4095" in line for line in seen.lines())
    light = decode(saved(Image.fromarray(twelve_bits), "PNG"), 4095)
    assert np.abs(light.astype(int) - RGB).max() <= 1


@pytest.mark.parametrize("kind", ["uint8", "float", "bool"])
def test_numbers_sent_to_the_model_mean_what_their_type_says(kind: str) -> None:
    wanted = RGB if kind != "bool" else np.where(RGB > 127, 255, 0).astype(np.uint8)
    kinds: dict[str, np.ndarray] = {"uint8": RGB, "float": RGB / 255, "bool": RGB > 127}
    sent = kinds[kind]
    np.testing.assert_array_equal(read_images(sent[None], SHAPE)[0], wanted)
    if kind != "bool":
        np.testing.assert_array_equal(read_images([sent.tolist()], SHAPE)[0], wanted)
    np.testing.assert_array_equal(read_images((RGB / 255 * 1.0000001)[None], SHAPE)[0], RGB)
    with pytest.raises(Refusal, match=r"\(x \+ 1\) / 2"):
        read_images((RGB / 127.5 - 1)[None], SHAPE)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"evaluate": {"seed": 4294967296}}, "evaluate.seed"),
        ({"seeds": [99999999999999999999]}, "seeds.0"),
        ({"seeds": None}, "seeds"),
        ({"train": {"epochs": 10**12}}, "train.epochs"),
        ({"drift": {"seed": 2**40}}, "drift.seed"),
        ({"preprocess": {"seed": 2**32}}, "preprocess.seed"),
    ],
)
def test_a_number_too_large_for_a_stage_is_refused_by_check(
    change: dict[str, Any], named: str, tmp_path: Path
) -> None:
    from ruamel.yaml import YAML

    project = make_project(tmp_path, {})
    path = project / "params.yaml"
    content = YAML(typ="safe").load(path.read_text())
    for key, value in change.items():
        content[key] = {**content[key], **value} if isinstance(value, dict) else value
    with path.open("w") as handle:
        YAML().dump(content, handle)
    result = clarity_here(project, "check")
    assert result.code == 2
    assert named in result.complained
    assert "tuple" not in result.complained


def test_brackets_without_end_are_one_line(tmp_path: Path) -> None:
    project = make_project(tmp_path, {})
    (project / "params.yaml").write_text("[" * 100_000)
    result = clarity_here(project, "check")
    assert (result.code, result.complained.count("\n")) == (2, 1)
