"""Measures that agree with people, and the share of detail that is in its right place."""

from __future__ import annotations

import io
import math

import numpy as np
import pandas as pd
import piq
import pytest
import torch
from PIL import Image

from clarity.evaluate.frequency import finest_detail, kept, ring_powers
from clarity.evaluate.images import Images
from clarity.evaluate.measure import MOST_COMPARED, compared_places
from clarity.evaluate.perceptual import EVERY, SAMPLE, perceptual
from clarity.evaluate.spectrum import luma, transform
from clarity.ingest.faces import open_source
from clarity.measures import MEASURES


@pytest.fixture(scope="module")
def faces() -> torch.Tensor:
    """Eight photographs, N×3×64×64 on [0, 1]."""
    people = [item for item in open_source().items if item.id.endswith("/1.pgm")][:8]
    pictures = [Image.open(io.BytesIO(item.data)).resize((64, 64)) for item in people]
    grey = torch.from_numpy(np.stack([np.asarray(picture) for picture in pictures])).float() / 255
    return grey[:, None].repeat(1, 3, 1, 1)


def blurred(images: torch.Tensor, width: int) -> torch.Tensor:
    return torch.nn.functional.avg_pool2d(
        torch.nn.functional.pad(images, [width // 2] * 4, mode="replicate"), width, 1
    )


def all_measures(a: torch.Tensor, b: torch.Tensor) -> dict[str, torch.Tensor]:
    return perceptual(a, b, every=True) | perceptual(a, b, every=False)


def test_every_measure_falls_as_blur_grows_and_ends_at_its_best_for_the_same_picture(
    faces: torch.Tensor,
) -> None:
    ladder = [all_measures(blurred(faces, width), faces) for width in (1, 3, 5, 9)]
    for key in (*EVERY, *SAMPLE):
        distances = [MEASURES[key].distance(float(step[key].mean())) for step in ladder]
        assert distances[0] == 0, key
        assert distances == sorted(distances), key
        assert all(torch.isfinite(step[key]).all() for step in ladder)


def test_values_are_the_library_s_and_do_not_depend_on_the_batch(faces: torch.Tensor) -> None:
    other = blurred(faces, 3)
    whole = perceptual(other, faces, every=True)["haarpsi"]
    alone = [
        perceptual(other[i : i + 1], faces[i : i + 1], every=True)["haarpsi"] for i in range(8)
    ]
    torch.testing.assert_close(torch.cat(alone), whole, rtol=1e-5, atol=1e-6)
    reference = piq.haarpsi(other, faces, subsample=False, reduction="none").double()
    torch.testing.assert_close(whole, reference)


@pytest.mark.parametrize("shade", [0.0, 0.5, 1.0])
def test_pictures_of_one_shade_have_finite_values(shade: float, faces: torch.Tensor) -> None:
    flat = torch.full_like(faces[:2], shade)
    for key, values in all_measures(flat, flat).items():
        assert MEASURES[key].distance(float(values[0])) == 0, key
    for values in all_measures(flat, faces[:2]).values():
        assert torch.isfinite(values).all()


def test_detail_in_the_wrong_place_never_counts_as_clearer(faces: torch.Tensor) -> None:
    """Another face's fine detail on a blurred one: more detail, and a worse picture."""
    soft = blurred(faces, 5)
    detail = (faces - soft).roll(1, 0)
    wrong = (soft + detail).clamp(0, 1)
    for key in ("haarpsi", "gmsd"):
        measure = MEASURES[key]
        plain = perceptual(soft, faces, every=True)[key]
        ghost = perceptual(wrong, faces, every=True)[key]
        sign = 1 if measure.lower_is_better else -1
        assert ((ghost - plain) * sign > 0).all(), key


def test_of_a_large_set_the_cheap_measures_see_all_but_a_part_of_train() -> None:
    counts = {"train": 5000, "val": 10, "gate": 3000, "test": 3000}
    parts = [(split, label) for split in counts for label in ((0,) if split == "train" else (0, 1))]
    index = pd.concat(
        pd.DataFrame({"split": split, "label": label, "row": range(counts[split])})
        for split, label in parts
    )
    arrays = {part: np.zeros((counts[part[0]], 1, 1, 3), np.uint8) for part in parts}
    compared = compared_places(Images(index, arrays, {}, torch.device("cpu")))
    assert not compared[index["label"] == 1].any()
    here = {split: int(compared[index["split"] == split].sum()) for split in counts}
    assert here == {**counts, "train": MOST_COMPARED}
    rows = index["row"].to_numpy()[compared & (index["split"] == "train").to_numpy()]
    assert (rows[0], rows[-1]) == (0, 4999)
    assert set(np.diff(rows)) == {2, 3}


def test_the_share_in_the_right_place_follows_the_transfer_function() -> None:
    """A picture scaled by h has the share 1 - (1 - h)²; noise of its own power has none."""
    draws = torch.Generator().manual_seed(0)
    images = torch.rand(16, 3, 64, 64, generator=draws)
    for h in (1.0, 0.7, 0.0, 2.0):
        error = ring_powers(transform(luma(h * images - images))).numpy()
        shares = kept(error, ring_powers(transform(luma(images))).numpy())
        np.testing.assert_allclose(shares, 1 - (1 - h) ** 2, atol=1e-6)


def test_the_finest_detail_is_half_a_period_where_the_share_crosses_one_half() -> None:
    shares = np.array([1.0, 0.9, 0.8, 0.2, 0.9])
    assert finest_detail(shares, 64) == pytest.approx(64 / (2 * 3.5))
    assert finest_detail(np.ones(32), 64) == 1.0
    assert math.isnan(finest_detail(np.zeros(32), 64))
