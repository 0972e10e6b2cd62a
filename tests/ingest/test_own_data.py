"""One's own pictures under DVC: kept through every verb, in every way the docs give."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from project import Project

NAMES = ("data/own/faces", "data/own/2024 spring/gezüchtet", "pictures/elsewhere")


def bare(path: Path) -> Project:
    """A project folder with git, DVC and our ignore files, and nothing that has run."""
    project = Project(path)
    path.mkdir(parents=True)
    root = Path(__file__).parent.parent.parent
    for part in (".gitignore", ".dvcignore"):
        shutil.copy(root / part, path)
    (path / "data" / "own").mkdir(parents=True)
    shutil.copy(root / "data/own/README.md", path / "data/own")
    project.git("init", "--quiet")
    project.run("dvc", "init", "--quiet")
    project.run("dvc", "config", "core.analytics", "false")
    project.run("dvc", "remote", "add", "--quiet", "--default", "shelf", str(path.parent / "shelf"))
    return project


def pictures(project: Project, name: str, *numbers: int) -> None:
    folder = project.path / name
    folder.mkdir(parents=True, exist_ok=True)
    for number in numbers:
        (folder / f"{number}.png").write_bytes(f"{name} {number}".encode())


def found(project: Project, name: str) -> list[str]:
    return sorted(path.name for path in (project.path / name).glob("*.png"))


def test_pictures_outlive_every_verb(tmp_path: Path) -> None:
    project = bare(tmp_path / "a project")
    for name in NAMES:
        pictures(project, name, 1, 2)
        project.run("dvc", "add", "--quiet", name)
    pictures(project, "data/own/loose", 9)
    project.commit("First pictures")
    tracked = project.git("-c", "core.quotePath=false", "ls-files").splitlines()
    assert {f"{name}.dvc" for name in NAMES} <= set(tracked)
    assert not [path for path in tracked if path.endswith(".png")]
    assert project.git("status", "--porcelain") == ""

    # Six pictures and three lists of them.
    assert "9 files pushed" in project.run("dvc", "push").stdout
    project.run("dvc", "checkout")
    project.run("dvc", "gc", "--workspace", "--force")
    pictures(project, NAMES[0], 3)
    status = project.run("dvc", "status").stdout
    assert "data/own/faces" in status
    project.run("dvc", "add", "--quiet", NAMES[0])
    project.commit("One more")
    project.run("dvc", "push")

    for name in NAMES:
        assert found(project, name) == ["1.png", "2.png"] + ["3.png"] * (name == NAMES[0])
    assert found(project, "data/own/loose") == ["9.png"]
    project.git("checkout", "--quiet", "HEAD~1")
    project.run("dvc", "checkout")
    assert found(project, NAMES[0]) == ["1.png", "2.png"]
    project.git("checkout", "--quiet", "-")
    project.run("dvc", "checkout")
    assert found(project, NAMES[0]) == ["1.png", "2.png", "3.png"]

    project.git("clone", "--quiet", str(project.path), str(tmp_path / "clone"))
    clone = Project(tmp_path / "clone")
    clone.run("dvc", "pull")
    for name in NAMES:
        assert found(clone, name) == found(project, name)


@pytest.mark.parametrize("way", ["import", "import-url"])
def test_imported_pictures_are_kept_too(way: str, tmp_path: Path) -> None:
    project = bare(tmp_path / "project")
    if way == "import":
        other = bare(tmp_path / "other")
        pictures(other, "faces", 1, 2)
        other.run("dvc", "add", "--quiet", "faces")
        other.commit("Faces")
        other.run("dvc", "push")
        project.run("dvc", "import", str(other.path), "faces", "--out", "data/own/faces")
    else:
        source = Project(tmp_path / "source")
        pictures(source, "faces", 1, 2)
        project.run("dvc", "import-url", str(source.path / "faces"), "data/own/faces")
    project.commit("Imported")
    assert "data/own/faces.dvc" in project.git("ls-files")
    project.run("dvc", "push")
    project.run("dvc", "checkout")
    project.run("dvc", "gc", "--workspace", "--force")
    assert found(project, "data/own/faces") == ["1.png", "2.png"]
    project.git("clone", "--quiet", str(project.path), str(tmp_path / "clone"))
    clone = Project(tmp_path / "clone")
    clone.run("dvc", "pull")
    assert found(clone, "data/own/faces") == ["1.png", "2.png"]
