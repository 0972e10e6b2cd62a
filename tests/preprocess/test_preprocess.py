"""What preprocess hands over: splits, arrays, index, anomalies, and the same bytes twice."""

from __future__ import annotations

import hashlib
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from data_helpers import (
    clarity,
    clarity_here,
    make_project,
    random_images,
    run_stages,
    save_pictures,
    snapshot,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from clarity.errors import ClarityError
from clarity.preprocess.anomalies import KINDS, MASKED, make
from clarity.preprocess.photographs import cell, match_colours
from clarity.preprocess.split import assign

JUDGED = ("val", "gate", "test")


def index_of(project: Path) -> pd.DataFrame:
    return pd.read_csv(
        project / "data/processed/index.csv", dtype={"id": str, "group": str}, keep_default_na=False
    )


def array_of(project: Path, name: str) -> np.ndarray:
    return np.load(project / f"data/processed/{name}.npy", mmap_mode="r", allow_pickle=False)


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The default faces, ingested and preprocessed with the committed parameters."""
    project = make_project(tmp_path_factory.mktemp("faces"), {"source": "faces"})
    run_stages(project, "ingest", "preprocess", run=clarity)
    return project


def test_forty_people_are_split_by_person(faces: Path) -> None:
    normals = index_of(faces).query("label == 0")
    people = normals.groupby("split")["group"].nunique()
    assert people.to_dict() == {"train": 24, "val": 4, "gate": 6, "test": 6}
    assert (normals.groupby("group")["split"].nunique() == 1).all()
    assert len(normals) == 400


def test_index_describes_the_arrays(faces: Path) -> None:
    index = index_of(faces)
    assert list(index["split"].unique()) == ["train", "val", "gate", "test"]
    for (split, label), rows in index.groupby(["split", "label"]):
        array = array_of(faces, f"{split}_anomalies" if label else str(split))
        assert array.dtype == np.uint8
        assert array.shape == (len(rows), 64, 64, 3)
        assert list(rows["row"]) == list(range(len(rows)))
        digests = [hashlib.sha256(image.tobytes()).hexdigest() for image in array]
        assert digests == list(rows["sha256"])
    assert (faces / "data/processed/rejected.csv").read_text() == "id,reason\n"


def test_anomalies_come_from_people_of_their_split(faces: Path) -> None:
    index = index_of(faces)
    for split in JUDGED:
        normals = index[(index["split"] == split) & (index["label"] == 0)].set_index("id")
        made = index[(index["split"] == split) & (index["label"] == 1)]
        assert Counter(made["kind"]) == dict.fromkeys(KINDS, len(normals))
        sources = made["id"].str.rsplit("#", n=1).str[0]
        assert set(sources) == set(normals.index)
        of_people = made["kind"] != "photograph"
        own = normals.loc[list(sources[of_people]), "group"]
        assert list(own) == list(made.loc[of_people, "group"])
        assert set(made.loc[~of_people, "group"]) == {"china", "flower"}


def test_masks_say_what_was_changed(faces: Path) -> None:
    index = index_of(faces)
    for split in JUDGED:
        normals, anomalies = array_of(faces, split), array_of(faces, f"{split}_anomalies")
        masks = array_of(faces, f"{split}_masks")
        assert masks.shape == anomalies.shape[:3]
        rows = index[index["split"] == split]
        row_of = rows[rows["label"] == 0].set_index("id")["row"]
        made: Any  # a row's attributes are its columns
        for made in rows[rows["label"] == 1].itertuples():
            mask = np.asarray(masks[made.row])
            assert bool(made.has_mask) == (made.kind in MASKED)
            if made.kind not in MASKED:
                assert not mask.any()
                continue
            source = np.asarray(normals[row_of[made.id.rsplit("#", 1)[0]]])
            changed = (anomalies[made.row] != source).any(axis=2)
            assert not changed[mask == 0].any()
            assert changed[mask == 1].mean() > 0.3
            assert 0.015 < mask.mean() < 0.22
            rectangle = mask[np.ix_(mask.any(axis=1), mask.any(axis=0))]
            assert rectangle.all()


def test_other_kinds_are_what_their_names_say(faces: Path) -> None:
    normals, anomalies = array_of(faces, "val"), array_of(faces, "val_anomalies")
    rows = index_of(faces).query("split == 'val' and label == 1")
    turned = rows[rows["kind"] == "inverted"]["row"].to_numpy()
    np.testing.assert_array_equal(anomalies[turned], normals[:, ::-1, ::-1])
    mixed = rows[rows["kind"] == "shuffled"]["row"].to_numpy()

    def patches(image: np.ndarray) -> list[bytes]:
        return [
            image[y : y + 16, x : x + 16].tobytes()
            for y in range(0, 64, 16)
            for x in range(0, 64, 16)
        ]

    for normal, anomaly in zip(normals, anomalies[mixed], strict=True):
        before, after = patches(normal), patches(anomaly)
        assert sorted(before) == sorted(after)
        assert all(a != b for a, b in zip(before, after, strict=True))


def test_colour_does_not_give_photographs_away(faces: Path) -> None:
    rows = index_of(faces).query("split == 'test' and kind == 'photograph'")["row"].to_numpy()
    crops = np.asarray(array_of(faces, "test_anomalies")[rows]).astype(float)
    normals = np.asarray(array_of(faces, "test")).astype(float)
    assert (crops == crops[..., :1]).all()
    # Each crop has exactly the histogram of the face it stands beside.
    np.testing.assert_array_equal(
        np.sort(crops.reshape(len(crops), -1)), np.sort(normals.reshape(len(normals), -1))
    )


def test_no_pixel_of_a_photograph_is_in_two_splits() -> None:
    seen = np.zeros((427, 640), int)
    for split in JUDGED:
        for number in range(8):
            seen[cell(split, number, 427, 640)] += 1
    assert seen.max() == 1
    assert seen.mean() > 0.98


def test_matched_colours_have_the_models_histograms_and_correlations() -> None:
    rng = np.random.default_rng(0)
    mixing = np.array([[18, 4, 0], [9, 12, 3], [2, 5, 15]])
    model = np.clip(rng.normal(size=(64, 64, 3)) @ mixing + [90, 120, 150], 0, 255).astype(np.uint8)
    matched = match_colours(random_images(1)[0], model)
    a, b = (x.reshape(-1, 3).astype(float) for x in (matched, model))
    np.testing.assert_array_equal(np.sort(a, axis=0), np.sort(b, axis=0))
    np.testing.assert_allclose(np.corrcoef(a.T), np.corrcoef(b.T), atol=0.05)


def test_dropping_a_kind_changes_no_other_anomaly() -> None:
    image = random_images(1)[0]
    for kind in KINDS:
        first, again = (make(kind, image, "val", 3, 0) for _ in range(2))
        other = make(kind, image, "val", 4, 0)
        assert first is not None and again is not None and other is not None  # noqa: PT018
        np.testing.assert_array_equal(first.image, again.image)
        if kind != "inverted":
            assert (first.image != other.image).any()


def test_blank_picture_yields_no_anomaly_that_equals_it() -> None:
    blank = np.full((64, 64, 3), 255, np.uint8)
    assert make("inverted", blank, "val", 0, 0) is None
    assert make("shuffled", blank, "val", 0, 0) is None
    assert make("occlusion", blank, "val", 0, 0) is None


def test_same_inputs_give_the_same_bytes(tmp_path: Path) -> None:
    written = []
    for name, run in (("a", clarity), ("b", clarity_here)):
        project = make_project(tmp_path / name, {"source": "folder", "path": "own"})
        save_pictures(project / "own", 6, 2)
        run_stages(project, "ingest", "preprocess", run=run)
        written.append(snapshot(project / "data/processed"))
    assert written[0] == written[1]
    assert len(written[0]) == 12  # and no temporary file is left


def test_few_broken_pictures_are_listed_and_counted_aloud(tmp_path: Path) -> None:
    project = make_project(tmp_path, {"source": "folder", "path": "own"}, {"max_rejected": 0.2})
    save_pictures(project / "own", 5, 2)
    (project / "own/person-1/a.png").write_text("no picture")
    copy = (project / "own/person-2/0.png").read_bytes()
    (project / "own/person-4/copy.png").write_bytes(copy)
    said = run_stages(project, "ingest", "preprocess")
    assert "12 images, 1 broken, 1 left out as duplicates or leaks" in said
    assert (project / "data/processed/rejected.csv").read_text() == (
        "id,reason\n"
        "person-1/a.png,not a picture of a known kind\n"
        "person-4/copy.png,duplicate of person-2/0.png\n"
    )
    assert (index_of(project)["label"] == 0).sum() == 10


@pytest.fixture
def own_test_set(tmp_path: Path) -> Path:
    """Thirty images of ten people; a labelled test set with a person and a picture of theirs."""
    project = make_project(tmp_path, {"source": "npy", "path": "own"})
    own = project / "own"
    own.mkdir()
    training, testing = random_images(30), random_images(6, seed=1)
    testing[0] = training[4]  # a leak: the test set keeps it
    testing[3] = testing[2]
    testing[5] = testing[4]  # with another label: nobody knows
    np.save(own / "trainingset.npy", training)
    np.save(own / "testingset.npy", testing)
    groups = "".join(f"{i},person-{i % 10}\n" for i in range(30))
    (own / "trainingset_groups.csv").write_text("ID,group\n" + groups)
    (own / "testingset_groups.csv").write_text(
        "ID,group\n0,anna\n1,person-7\n2,bert\n3,bert\n4,carl\n5,carl\n"
    )
    (own / "testingset_labels.csv").write_text("ID,anomaly\n0,0\n1,0\n2,1\n3,1\n4,0\n5,1\n")
    return project


def test_the_sources_test_set_is_kept_and_the_pool_cleared_of_it(own_test_set: Path) -> None:
    run_stages(own_test_set, "ingest", "preprocess")
    index = index_of(own_test_set)
    test = index[index["split"] == "test"]
    assert list(test["id"]) == ["testingset/0", "testingset/1", "testingset/2"]
    assert list(test["kind"]) == ["normal", "normal", "labelled"]
    assert not array_of(own_test_set, "test_masks").any()
    assert set(index[index["split"] == "val"]["kind"]) == {"normal", *KINDS}
    rejected = pd.read_csv(own_test_set / "data/processed/rejected.csv").set_index("id")["reason"]
    assert rejected.to_dict() == {
        "trainingset/4": "duplicate of testingset/0",
        # Its duplicate in the test set is a picture of that person.
        "trainingset/14": "group person-4 is also in the test set",
        "trainingset/24": "group person-4 is also in the test set",
        "trainingset/7": "group person-7 is also in the test set",
        "trainingset/17": "group person-7 is also in the test set",
        "trainingset/27": "group person-7 is also in the test set",
        "testingset/3": "duplicate of testingset/2",
        "testingset/4": "same pixels labelled 0 and 1",
        "testingset/5": "same pixels labelled 0 and 1",
    }
    normals = index[(index["label"] == 0) & (index["split"] != "test")]
    assert normals.groupby("split")["group"].nunique().sum() == 8


def test_large_splits_get_a_bounded_number_of_anomalies(tmp_path: Path) -> None:
    project = make_project(
        tmp_path,
        {"source": "npy", "path": "own"},
        {"anomalies": {"kinds": ["photograph", "inverted"], "per_kind": 3}},
    )
    (project / "own").mkdir()
    np.save(project / "own/trainingset.npy", random_images(60, (32, 32)))
    run_stages(project, "ingest", "preprocess")
    made = index_of(project).query("label == 1")
    assert made.groupby(["split", "kind"]).size().to_dict() == {
        (split, kind): 3 for split in JUDGED for kind in ("inverted", "photograph")
    }


def test_kind_listed_twice_is_refused(tmp_path: Path) -> None:
    project = make_project(
        tmp_path, {}, {"anomalies": {"kinds": ["inverted", "inverted"], "per_kind": 3}}
    )
    result = clarity_here(project, "check")
    assert result.code == 2
    assert "preprocess.anomalies.kinds: a kind is listed twice" in result.complained


@given(
    st.lists(st.integers(1, 9), min_size=4, max_size=60),
    st.lists(st.floats(0.05, 1), min_size=4, max_size=4),
    st.integers(0, 9),
)
@settings(max_examples=100, deadline=None)
def test_every_group_goes_to_one_split_and_no_split_is_empty(
    sizes: list[int], weights: list[float], seed: int
) -> None:
    shares = dict(zip("abcd", weights, strict=True))
    groups = [f"g{i}" for i, size in enumerate(sizes) for _ in range(size)]
    split_of = assign(groups, shares, seed)
    assert set(split_of) == set(groups)
    assert set(split_of.values()) == set(shares)
    counts = Counter(split_of.values())
    for split, weight in shares.items():
        assert abs(counts[split] - len(sizes) * weight / sum(weights)) <= 3
    assert split_of == assign(list(reversed(groups)), shares, seed)


def test_another_seed_splits_otherwise_and_large_groups_are_shared_out() -> None:
    shares = {"train": 0.6, "val": 0.1, "gate": 0.15, "test": 0.15}
    groups = [f"g{i}" for i in range(40) for _ in range(1 if i % 2 else 20)]
    splits = assign(groups, shares, 0)
    assert splits != assign(groups, shares, 1)
    for split in shares:
        large = sum(
            1 for name, where in splits.items() if where == split and int(name[1:]) % 2 == 0
        )
        assert large == pytest.approx(shares[split] * 20, abs=1)
    with pytest.raises(ClarityError, match="3 groups"):
        assign(["a", "b", "c"], shares, 0)
