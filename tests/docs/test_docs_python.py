"""The page for people who write Python, run as it stands, and the example; from another folder."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from documented import PAGES, ROOT, blocks
from PIL import Image
from project import Project

import clarity
from clarity.errors import ClarityError

PAGE = ROOT / "docs/python.md"


@pytest.fixture(scope="module")
def elsewhere(finished: Project, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder beside a project ``faces`` that has a champion."""
    base = tmp_path_factory.mktemp("python")
    project = finished.copy(base / "faces")
    shutil.copytree(ROOT / "docs/images", base / "faces/docs/images")
    project.run("clarity", "promote")
    (base / "elsewhere").mkdir()
    return base / "elsewhere"


def run(folder: Path, *command: str, **extra: str) -> str:
    """Run Python in ``folder`` as a user does; what it printed. Warnings count as failures."""
    environment = {k: v for k, v in os.environ.items() if k != "MLFLOW_TRACKING_URI"}
    environment |= {"PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1", **extra}
    done = subprocess.run(
        [sys.executable, *command], cwd=folder, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "arning" not in done.stderr, done.stderr
    return done.stdout


def test_every_line_of_the_page_runs_from_another_folder_and_leaves_nothing(
    elsewhere: Path,
) -> None:
    script = "\n".join(block.text for block in blocks(PAGE, "python"))
    printed = run(elsewhere, "-c", script).splitlines()
    assert "conv-small-0" in printed[0]
    assert "(2, 64, 64, 3)" in printed
    assert any(line.startswith("clarity version ") for line in printed)
    assert "Trained alike" in printed[-3]
    assert [path.name for path in elsewhere.iterdir()] == ["reconstructed.png"]


def test_mlflow_alone_loads_the_champion_where_the_address_is_set(elsewhere: Path) -> None:
    """In the project's root as well, and without a database of MLflow's own there."""
    root = elsewhere.parent / "faces"
    script = (
        "import mlflow, numpy\n"
        "model = mlflow.pyfunc.load_model('models:/clarity@champion')\n"
        "print(model.predict(numpy.zeros((2, 64, 64, 3), 'uint8')).shape)"
    )
    address = f"sqlite:///{root}/mlruns/mlflow.db"
    assert run(root, "-c", script, MLFLOW_TRACKING_URI=address) == "(2, 6)\n"
    assert not (root / "mlflow.db").exists()


def test_the_example_draws_a_picture(elsewhere: Path, tmp_path: Path) -> None:
    printed = run(tmp_path, str(ROOT / "examples/first_look.py"), str(elsewhere.parent / "faces"))
    assert "flags" in printed
    with Image.open(tmp_path / "first_look.png") as picture:
        assert picture.width > 600


def test_pictures_of_every_kind_become_what_preprocess_makes_of_them(finished: Project) -> None:
    project = clarity.open(finished.path / "src")
    model = project.load("pca-3")
    packed = project.images("test")
    assert np.array_equal(model.images(packed), packed)
    assert np.array_equal(model.images(packed[0]), packed[:1])
    assert np.array_equal(model.images(packed[:2] / 255), packed[:2])
    sizes = [np.zeros((20, 30), bool), np.full((90, 70, 4), 65535, np.uint16)]
    assert model.images(sizes)[:, 0, 0, 0].tolist() == [0, 255]
    assert model.images([]).shape == (0, 64, 64, 3)
    scored = model.score(packed)
    assert np.allclose(scored["score"], model.score(list(packed))["score"])
    per_image = project.per_image("pca-3")
    test = per_image[(per_image["split"] == "test") & (per_image["label"] == 0)]
    same = test[f"score_{model.detector.score_name}"]
    assert np.allclose(scored["score"], same, rtol=1e-3, atol=1e-3)


def test_a_folder_of_pictures_has_a_row_for_each_file(finished: Project, tmp_path: Path) -> None:
    model = clarity.open(finished.path).load("pca-3")
    Image.fromarray(np.full((80, 64, 3), 9, np.uint8)).save(tmp_path / "b.png")
    (tmp_path / "a.png").write_bytes(b"no picture")
    table = model.score(tmp_path)
    assert table["id"].tolist() == ["a.png", "b.png"]
    assert table["score"].isna().tolist() == [True, False]
    assert table["reason"][0]
    with pytest.raises(ClarityError, match=r"a\.png"):
        model.images(tmp_path)


@pytest.mark.parametrize("mode", ["P", "LA", "CMYK", "RGBA", "I;16", "1"])
def test_a_picture_of_pillows_is_what_its_file_is(
    finished: Project, tmp_path: Path, mode: str
) -> None:
    model = clarity.open(finished.path).load("pca-3")
    drawn = np.random.default_rng(0).integers(0, 256, (80, 64, 3), np.uint8)
    colour = Image.fromarray(drawn)
    picture = Image.fromarray(drawn[..., 0].astype(np.uint16) * 257)
    if mode != "I;16":
        picture = colour.convert(mode)
    path = tmp_path / ("a.tiff" if mode == "CMYK" else "a.png")
    picture.save(path)
    assert np.array_equal(model.images(picture), model.images(path))
    assert np.array_equal(model.images([colour, picture])[1:], model.images(path))


def test_what_is_not_there_is_named(finished: Project, tmp_path: Path) -> None:
    with pytest.raises(ClarityError, match="no project here"):
        clarity.open(tmp_path)
    project = clarity.open(finished.path)
    for call, said in (
        (lambda: project.load("huge"), "no model of .*pca-3"),
        (lambda: project.load("pca-3", seed=7), "missing"),
        (lambda: project.images("trial"), "no split"),
        (lambda: project.version("nobody"), "no such version"),
        (lambda: project.load("pca-3").images(np.zeros((2, 64, 64, 3)) + 7), "row 0"),
        # A wrong type is what is asked about.
        (lambda: project.load("pca-3").images(7), "int is none"),  # type: ignore[arg-type]
    ):
        with pytest.raises(ClarityError, match=said):
            call()


def test_other_pages_show_python_that_runs(elsewhere: Path) -> None:
    for page in PAGES:
        for block in blocks(page, "python"):
            if page != PAGE and not block.why_not:
                run(elsewhere.parent / "faces", "-c", block.text)
