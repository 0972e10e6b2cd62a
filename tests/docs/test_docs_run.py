"""The commands of README and docs, run as they are printed, page by page.

Those of fenced ``bash`` blocks and of tables; words in capitals (``FOLDER``) are a reader's to fill
in. Marks in the pages say which are not run, and why (tests/documented.py). The reader has a
project with two champions, some pictures, and answers to `clarity eye`.
"""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from documented import PAGES, ROOT, Command, commands
from PIL import Image
from project import Project

pytestmark = [pytest.mark.slow, pytest.mark.timeout(2400)]

#: Commands that stay: what answers once they are up.
SERVERS = {
    "make serve": "http://127.0.0.1:5001/ping",
    "clarity serve --port 5001": "http://127.0.0.1:5001/ping",
    "make ui": "http://127.0.0.1:5000/health",
    "clarity ui": "http://127.0.0.1:5000/health",
    "clarity ui --port 5050": "http://127.0.0.1:5050/health",
    "make serve-flows": "http://127.0.0.1:4200/api/health",
}
#: How else a reader sees that one is up: it says so once its deployments are there.
UP = {"make serve-flows": "test -f .prefect/server.json"}
#: Every server and client in a network of their own: ports are free, and nothing is outside.
APART = ["unshare", "--map-root-user", "--net"]
#: Somebody moves aliases in MLflow's UI: the second champion, and a challenger.
MOVE = """
from clarity.store import open_store
open_store().set_registered_model_alias("clarity", "champion", "1")
open_store().set_registered_model_alias("clarity", "challenger", "2")
"""


@pytest.fixture(scope="module")
def reader(finished: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """What a reader of the docs has before them. Change only copies."""
    project = finished.copy(tmp_path_factory.mktemp("reader") / "project")
    root = project.path
    for name in ("Makefile", "prefect.yaml", "pyproject.toml", "requirements.txt"):
        shutil.copy2(ROOT / name, root)
    for name in ("docs/images", "examples"):
        shutil.copytree(ROOT / name, root / name, dirs_exist_ok=True)
    # As the project's own params.yaml has it: a recipe of the model's own.
    project.change({"models": {"fcn-small": {"train": {"epochs": 2}}}})
    project.repro()
    project.run("clarity", "promote", "--version", "3")
    project.run(sys.executable, "-c", MOVE)
    face = Image.open(ROOT / "docs/images/face.png").convert("RGB")
    (root / "path/to/pictures").mkdir(parents=True)
    for name in ("one.jpg", "path/to/pictures/1.png", "path/to/pictures/2.png"):
        face.save(root / name)
    np.save(root / "new.npy", np.asarray(face)[None])
    grain = np.random.default_rng(0).integers(0, 256, (1800, 2400, 3), np.uint8)
    Image.fromarray(grain).save(root / "photograph.jpg", quality=95)
    project.run("clarity", "eye", "--sheets", "looks", "--pairs", "4")
    answers = (root / "looks/answers.csv").read_text()
    (root / "eye-1f3a.csv").write_text(answers.replace(",,", ",left,"))
    project.git("config", "user.name", "A Reader")
    project.git("config", "user.email", "reader@example.org")
    storage = project.path.parent / "storage"
    project.run("dvc", "remote", "add", "--default", "storage", str(storage))
    project.commit("As a reader has it")
    origin = project.path.parent / "origin.git"
    project.git("init", "--quiet", "--bare", str(origin))
    project.git("remote", "add", "origin", str(origin))
    project.git("push", "--quiet", "--set-upstream", "origin", "HEAD")
    # The environment is there; setting one up needs a network.
    (root / ".venv").mkdir()
    for part in Path(sys.prefix).iterdir():
        if part.name != ".ready":
            (root / ".venv" / part.name).symlink_to(part)
    for name in (".uv/bin/uv", ".venv/.ready"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return project


def script(chosen: list[Command]) -> str:
    """What the reader's shells do: servers at the back, the rest one after another."""
    lines = ["set -eu -o pipefail", "trap 'echo \"FAILED: $BASH_COMMAND\"' ERR"]
    for one in chosen:
        lines.append(f"echo {shlex.quote(f'### {one} {one.text}')}")
        if one.text in SERVERS:
            wait = f"until {UP.get(one.text, f'curl -sf {SERVERS[one.text]} > /dev/null')}; do "
            wait += "sleep 0.3; done"
            lines += [f"{one.text} &", f"timeout 180 bash -c {shlex.quote(wait)}"]
        else:
            lines.append(one.text)
    return "\n".join(lines) + "\n"


def run(project: Project, text: str) -> str:
    """Run a script in the project, apart from this machine's network; what it printed."""
    if subprocess.run([*APART, "ip", "link", "set", "lo", "up"], capture_output=True).returncode:
        pytest.skip("no network can be made here (unshare, ip)")
    page, log = project.path.parent / "page.sh", project.path.parent / "page.log"
    page.write_text("ip link set lo up\n" + text)
    environment = {k: v for k, v in project.environment.items() if not k.startswith("PREFECT_")}
    with log.open("wb") as out:
        process = subprocess.Popen(
            [*APART, "bash", str(page)],
            cwd=project.path,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            start_new_session=True,
        )
        try:
            code = process.wait()
        finally:
            with suppress(ProcessLookupError):  # the servers
                os.killpg(process.pid, signal.SIGTERM)
    said = log.read_text(errors="replace")
    assert code == 0, said[-5000:]
    return said


def runnable(page: Path) -> list[Command]:
    return [one for one in commands(page) if not one.why_not]


@pytest.mark.parametrize(
    "page", [page for page in PAGES if runnable(page)], ids=lambda page: page.stem
)
def test_every_command_of_the_page_runs(page: Path, reader: Project, tmp_path: Path) -> None:
    project = reader.copy(tmp_path / "project")
    said = run(project, script(runnable(page)))
    assert "Traceback" not in said


def test_a_photograph_of_four_megabytes_is_scored_as_the_readme_says(
    reader: Project, tmp_path: Path
) -> None:
    project = reader.copy(tmp_path / "project")
    assert (project.path / "photograph.jpg").stat().st_size > 4_000_000
    served = [one for one in runnable(PAGES[0]) if "5001" in one.text or one.text == "make serve"]
    text = script(served).replace("docs/images/face.png", "photograph.jpg")
    assert '"threshold"' in run(project, text)
