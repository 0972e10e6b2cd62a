"""Atomic writing: a reader sees the old file or the new one, never half of either."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from clarity.files import atomic_path, read_json, sha256_tree, write_json


def test_a_failed_write_leaves_the_old_file_and_nothing_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text("old")

    def interrupted() -> None:
        with atomic_path(path) as temporary:
            temporary.write_text("half of the n")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        interrupted()
    assert path.read_text() == "old"
    assert [file.name for file in tmp_path.iterdir()] == ["table.csv"]


def test_what_a_killed_writer_left_is_swept_by_the_next(tmp_path: Path) -> None:
    script = (
        "import os, signal, sys; from pathlib import Path; from clarity.files import atomic_path\n"
        "with atomic_path(Path(sys.argv[1])) as temporary:\n"
        "    temporary.write_text('half'); os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    path = tmp_path / "figures.json"
    killed = subprocess.run([sys.executable, "-c", script, str(path)])
    assert killed.returncode < 0
    assert not path.exists()
    assert len(list(tmp_path.iterdir())) == 1
    write_json(path, {"b": 1, "a": 2})
    assert [file.name for file in tmp_path.iterdir()] == ["figures.json"]
    assert read_json(path) == {"a": 2, "b": 1}


def test_json_refuses_what_json_cannot_say(tmp_path: Path) -> None:
    with pytest.raises(ValueError):
        write_json(tmp_path / "x.json", {"a": float("nan")})
    assert list(tmp_path.iterdir()) == []


def test_the_digest_of_code_ignores_byte_code(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("1")
    before = sha256_tree(tmp_path)
    (tmp_path / "__pycache__").mkdir()
    (tmp_path / "__pycache__/a.pyc").write_text("x")
    assert sha256_tree(tmp_path) == before
    (tmp_path / "a.py").write_text("2")
    assert sha256_tree(tmp_path) != before
