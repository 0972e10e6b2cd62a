"""A temporary project for the tests of ingest and preprocess, and the real command line in it."""

from __future__ import annotations

import contextlib
import io
import os
import subprocess
import sys
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from ruamel.yaml import YAML

from clarity.cli import main
from clarity.layout import Shape

ROOT = Path(__file__).resolve().parent.parent
#: Of the images of params.yaml.
SHAPE = Shape(64, 3)


def make_project(
    folder: Path, data: dict[str, Any], preprocess: dict[str, Any] | None = None
) -> Path:
    """The committed params.yaml in ``folder``, with other values in its first two sections."""
    yaml = YAML()
    params = yaml.load((ROOT / "tests/params.yaml").read_text())
    params["data"].update(data)
    params["preprocess"].update(preprocess or {})
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "params.yaml").open("w") as handle:
        yaml.dump(params, handle)
    return folder


@dataclass(frozen=True)
class Result:
    """What a run of the command line left behind."""

    code: int
    said: str
    complained: str


def clarity(project: Path, *arguments: str, path: str = "") -> Result:
    """Run ``clarity ARGUMENTS`` in ``project`` as a process; ``path`` is searched for packages."""
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join(filter(None, [path, str(ROOT / "src")])),
        "OMP_NUM_THREADS": "1",
    }
    done = subprocess.run(
        [sys.executable, "-m", "clarity", *arguments],
        cwd=project,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    return Result(done.returncode, done.stdout, done.stderr)


def clarity_here(project: Path, *arguments: str) -> Result:
    """The same entry point, called in this process: what is imported stays imported."""
    # Otherwise the command would put itself in this process's place, to run that source.
    source = project / "src" / "clarity"
    assert not source.exists() or source.resolve() == ROOT / "src" / "clarity", "use here()"
    said, complained = io.StringIO(), io.StringIO()
    before = sys.argv
    sys.argv = ["clarity", *arguments]
    code = 0
    try:
        with (
            contextlib.chdir(project),
            contextlib.redirect_stdout(said),
            contextlib.redirect_stderr(complained),
        ):
            main()
    except SystemExit as exit_:
        code = int(exit_.code or 0)
    finally:
        sys.argv = before
    return Result(code, said.getvalue(), complained.getvalue())


def run_stages(project: Path, *stages: str, run: Callable[..., Result] = clarity_here) -> str:
    """Run stages that must succeed; what they said."""
    said = ""
    for stage in stages:
        result = run(project, stage)
        assert result.code == 0, result.complained
        said += result.said
    return said


def refused(
    project: Path, stage: str, outputs: Sequence[str], run: Callable[..., Result] = clarity_here
) -> str:
    """Run a stage where outputs of an earlier run lie, which must stay as they are.

    Returns its one line on standard error, ``clarity: `` before it; the exit code was 2.
    """
    for name in outputs:
        path = project / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("of an earlier run")
    before = snapshot(project)
    result = run(project, stage)
    assert result.code == 2, result
    lines = result.complained.splitlines()
    assert len(lines) == 1, result.complained
    assert lines[0].startswith("clarity: ")
    assert "Traceback" not in result.said
    assert snapshot(project) == before
    return lines[0]


def snapshot(folder: Path) -> dict[str, bytes]:
    """Every file below ``folder``, hidden ones included."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def random_images(count: int, size: tuple[int, int] = (64, 64), seed: int = 0) -> np.ndarray:
    """uint8 N×H×W×3."""
    return np.random.default_rng(seed).integers(0, 256, (count, *size, 3), np.uint8)


def save_pictures(folder: Path, people: int, each: int, size: tuple[int, int] = (70, 80)) -> None:
    """PNG files ``person-0/0.png`` …, all different."""
    for number, pixels in enumerate(random_images(people * each, size)):
        path = folder / f"person-{number // each}" / f"{number % each}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path)


def huge_png(path: Path, side: int) -> None:
    """A valid black PNG of ``side``×``side`` one-bit pixels, written without holding it."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        check = zlib.crc32(kind + content).to_bytes(4, "big")
        return len(content).to_bytes(4, "big") + kind + content + check

    compress = zlib.compressobj(1)
    rows = bytes(1 + (side + 7) // 8) * 100
    packed = b"".join(compress.compress(rows) for _ in range(side // 100)) + compress.flush()
    header = side.to_bytes(4, "big") * 2 + bytes([1, 0, 0, 0, 0])
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", packed) + chunk(b"IEND", b"")
    )


def save_tree(folder: Path, counts: dict[str, int], size: tuple[int, int] = (40, 44)) -> None:
    """``counts[SUBFOLDER]`` PNG files ``SUBFOLDER/0.png`` …, all different."""
    images = iter(random_images(sum(counts.values()), size))
    for name, count in counts.items():
        (folder / name).mkdir(parents=True, exist_ok=True)
        for number in range(count):
            Image.fromarray(next(images)).save(folder / name / f"{number}.png")
