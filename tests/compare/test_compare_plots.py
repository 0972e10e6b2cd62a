"""`dvc plots` on what compare writes: one chart with every model's curve, and the pictures."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def dvc(*arguments: str) -> str:
    run = subprocess.run(
        [sys.executable, "-m", "dvc", *arguments], capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
    return run.stdout


@pytest.fixture
def project(reported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A DVC project without git around finished evaluations and a finished report."""
    shutil.copytree(reported, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    shutil.copy(ROOT / "dvc.yaml", tmp_path)
    shutil.copytree(ROOT / ".dvc/plots", tmp_path / ".dvc/plots")
    config = "[core]\n    no_scm = true\n    analytics = false\n    check_update = false\n"
    (tmp_path / ".dvc/config").write_text(config)
    return tmp_path


def test_all_learning_curves_stand_in_one_chart(project: Path) -> None:
    chart = json.loads(dvc("plots", "show", "--show-vega", "Learning curves, validation MSE"))
    values = chart["data"]["values"]
    assert {row["model"] for row in values} == {path.name[:-2] for path in Path("models").iterdir()}
    assert {chart["encoding"][axis]["field"] for axis in "xy"} == {"epoch", "val_mse"}
    assert chart["encoding"]["color"]["field"] == "model"
    assert "DVC_METRIC" not in json.dumps(chart)


def test_the_pictures_are_on_the_page(project: Path) -> None:
    dvc("plots", "show")
    page = Path("dvc_plots/index.html").read_text()
    for picture in Path("reports/figures").iterdir():
        assert f"workspace_reports_figures_{picture.name}" in page
