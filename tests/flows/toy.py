"""A project of tiny stages with Clarity's own shape, for trying the flows without training.

`make(root)` lays down params.yaml (the project's own, so that it passes its checks), a dvc.yaml
with a matrix, and a script that stands in for the stages: it appends a line to ``$TOY_LOG`` when it
starts and ends, sleeps for a moment and writes a digest of its inputs.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from ruamel.yaml import YAML

PROJECT = Path(__file__).parents[2]

SCRIPT = """
import hashlib, os, pathlib, sys, time
name, seconds, out, *inputs = sys.argv[1:]
def say(what):
    with open(os.environ.get("TOY_LOG", os.devnull), "a") as log:
        log.write(f"{what} {name} {os.getpid()} {time.time():.3f}\\n")
say("start")
print("working on", name, flush=True)
for epoch in range(1, 5):
    time.sleep(float(seconds) / 4)
    print(f"epoch {epoch}/4", flush=True)
digest = hashlib.sha256(name.encode())
for path in sorted(str(q) for p in inputs for q in (pathlib.Path(p), *pathlib.Path(p).rglob("*"))):
    if os.path.isfile(path):
        digest.update(pathlib.Path(path).read_bytes())
if pathlib.Path("fail").exists() and name in pathlib.Path("fail").read_text().split():
    sys.exit("clarity: images.npy: row 7 is not an image; remove it")
pathlib.Path(out).parent.mkdir(parents=True, exist_ok=True)
pathlib.Path(out).write_text(digest.hexdigest() + "\\n")
say("end")
"""

GRAPH = """
vars:
  - seconds: {seconds}
stages:
  ingest:
    cmd: '"{python}" toy.py ingest ${{seconds}} data/raw.txt source.txt'
    deps: [source.txt]
    params: [data]
    outs: [data/raw.txt]
  train:
    matrix:
      model: ${{models}}
      seed: ${{seeds}}
    cmd: >-
      "{python}" toy.py train@${{item.model}}-${{item.seed}} ${{seconds}}
      models/${{item.model}}-${{item.seed}}.txt data/raw.txt params.d/${{item.model}}
    deps: [data/raw.txt]
    params: ["models.${{item.model}}"]
    outs: ["models/${{item.model}}-${{item.seed}}.txt"]
  evaluate:
    matrix:
      model: ${{models}}
      seed: ${{seeds}}
    cmd: >-
      "{python}" toy.py evaluate@${{item.model}}-${{item.seed}} ${{seconds}}
      evaluations/${{item.model}}-${{item.seed}}.txt models/${{item.model}}-${{item.seed}}.txt
    deps: ["models/${{item.model}}-${{item.seed}}.txt"]
    metrics:
      - evaluations/${{item.model}}-${{item.seed}}.txt:
          cache: false
  compare:
    cmd: '"{python}" toy.py compare ${{seconds}} reports/table.md evaluations'
    deps: [evaluations]
    params: [compare]
    outs: [reports/table.md]
  publish:
    cmd: '"{python}" toy.py publish ${{seconds}} mlruns/published.txt reports/table.md'
    deps: [reports/table.md]
    outs:
      - mlruns/published.txt:
          cache: false
          persist: true
"""


def make(root: Path, seconds: float = 0.1, models: int = 2, python: str = sys.executable) -> Path:
    """Write the project into ``root``, with git and DVC, and commit it."""
    root.mkdir(parents=True, exist_ok=True)
    yaml = YAML()
    params = yaml.load((PROJECT / "tests/params.yaml").read_text())
    names = list(params["models"])[:models]
    params["models"] = {name: params["models"][name] for name in names}
    params["threads"] = 1
    with (root / "params.yaml").open("w") as handle:
        yaml.dump(params, handle)
    (root / "dvc.yaml").write_text(GRAPH.format(seconds=seconds, python=python))
    (root / "toy.py").write_text(SCRIPT)
    (root / "source.txt").write_text("faces\n")
    (root / "prefect.toml").write_text((PROJECT / "prefect.toml").read_text())
    (root / ".gitignore").write_text("/.prefect/\n")
    (root / ".dvcignore").write_text("/.prefect\n")
    for command in (
        ["git", "init", "-q", "-b", "main"],
        [sys.executable, "-m", "dvc", "init", "-q"],
        [sys.executable, "-m", "dvc", "config", "core.analytics", "false"],
        [sys.executable, "-m", "dvc", "config", "core.check_update", "false"],
    ):
        subprocess.run(command, cwd=root, check=True)
    commit(root, "A toy project")
    return root


def with_flows(root: Path) -> Path:
    """Add the project's own flows and deployments, as a clone would have them."""
    for name in ("pipelines", "src"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(PROJECT / name, root / name, ignore=ignored)
    shutil.copy(PROJECT / "prefect.yaml", root)
    return root


def commit(root: Path, message: str) -> str:
    """Commit everything; the commit's digest."""
    identity = ["-c", "user.name=test", "-c", "user.email=test@localhost"]
    subprocess.run(["git", "add", "-A"], cwd=root, check=True)
    subprocess.run(["git", *identity, "commit", "-q", "-m", message], cwd=root, check=True)
    head = ["git", "rev-parse", "HEAD"]
    return subprocess.run(head, cwd=root, check=True, capture_output=True, text=True).stdout.strip()
