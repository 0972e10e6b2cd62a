"""`clarity restore VERSION`: its commit in a new worktree, and there the same bytes again."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

from clarity.commands import dvc, git, succeeds
from clarity.errors import ClarityError
from clarity.files import md5_file
from clarity.layout import LOCK, Ensemble, Outputs
from clarity.params import load_params
from clarity.redact import printable
from clarity.registry.lineage import outputs_of
from clarity.registry.reading import Record, matching, open_reader
from clarity.score.detector import Files
from clarity.score.registered import (
    TAG_COMMIT,
    TAG_DIRTY,
    TAG_EVALUATION,
    TAG_NAME,
    TAG_WEIGHTS,
    digests_of,
)

Say = Callable[[str], None]


def restore(version: str, target: Path | None, *, retrain: bool = False, say: Say = print) -> None:
    """Check out a version's commit in a new worktree and have DVC bring its files back there.

    Files come from DVC's cache, from its remote, or by running the stages, in this order; whichever
    it was, their digests are compared with the version's.

    Args:
        version: number or alias.
        target: folder of the new worktree; None: beside the project, named after the version.
        retrain: run the version's stages even where the cache has their outputs.

    Raises:
        ClarityError: no such version, no commit holds it, git or DVC refuse, or other bytes came
            out.
    """
    record = _find(version)
    root = _root()
    training = training_of(record)
    commit = commit_of(record, root)
    place = (target or root.parent / f"{root.name}-version-{record.number}").resolve()
    if place.exists() and (not place.is_dir() or any(place.iterdir())):
        raise ClarityError(f"{place}: there already; remove it or choose another with --target")
    git(root, "worktree", "add", "--detach", str(place), commit)
    try:
        how = _bring_back(root, place, training, retrain)
    except ClarityError:
        # Nothing half-restored stays behind.
        git(root, "worktree", "remove", "--force", str(place))
        raise
    _verify(record, training, place)
    say(
        f"version {record.number} ({training.name}) is in {place}, at commit {commit[:12]}: "
        f"{how}, weights and evaluation have the same digests; "
        f"`git worktree remove --force {shlex.quote(str(place))}` takes it away"
    )


def _find(version: str) -> Record:
    name = load_params().gate.name
    found = [
        one
        for one in matching(open_reader(name).versions(), version)
        if version in one.aliases or version.removeprefix("v") == str(one.number)
    ]
    if not found:
        raise ClarityError(
            f"{version}: no such version or alias of {name}; `clarity lineage` finds versions by "
            "anything else"
        )
    return found[0]


def commit_of(record: Record, root: Path) -> str:
    """The commit whose parameters, code and data make the version.

    A commit whose dvc.lock names the version's weights: what people do is run, look, and then
    commit. Else the commit that was recorded, if nothing was uncommitted then.

    Raises:
        ClarityError: there is none.
    """
    recorded = record.tag(TAG_COMMIT)
    what = f"version {record.number}"
    named = _commits_with(_weights_md5(record), root)
    if named:
        return recorded if recorded in named else named[0]
    if recorded and record.tag(TAG_DIRTY) != "true":
        if succeeds(root, "cat-file", "-e", f"{recorded}^{{commit}}"):
            return recorded
        raise ClarityError(
            f"{what}: commit {recorded[:12]} is not in this repository; `git fetch --all` may help"
        )
    if recorded:
        raise ClarityError(
            f"{what}: made from uncommitted changes on top of {recorded[:12]}, and no commit's "
            f"{LOCK} names its weights; commit params.yaml, the code and {LOCK} after a run"
        )
    raise ClarityError(f"{what}: its commit is unknown, it was made outside a git repository")


def training_of(record: Record) -> Outputs:
    """The training or ensemble that a version's tags name; checked, as anybody may have written
    them.

    Raises:
        ClarityError: they are not what Clarity writes.
    """
    found, commit = outputs_of(record), record.tag(TAG_COMMIT)
    if found is None:
        raise ClarityError(
            f"version {record.number}: its tags name no training "
            f"({printable(record.tag(TAG_NAME))[:60]!r}); `clarity backfill` into a new store "
            "writes them again"
        )
    if commit and not re.fullmatch("[0-9a-f]{7,64}", commit):
        raise ClarityError(
            f"version {record.number}: its commit is no digest ({printable(commit)[:40]!r})"
        )
    return found


def _weights_md5(record: Record) -> str | None:
    """DVC's digest of the version's weights, from the store's copy or from the workspace's."""
    training = training_of(record)
    if training.weights.is_file() and digests_of(training)[0] == record.tag(TAG_WEIGHTS):
        path = training.weights
    else:
        from clarity.score.registered import files_of
        from clarity.store import open_store

        open_store()
        try:
            path = files_of(load_params().gate.name, record.number or 0).weights
        except ClarityError:
            return None
    return md5_file(path)


def _commits_with(md5: str | None, root: Path) -> list[str]:
    """Commits, newest first, whose dvc.lock names a file of this digest."""
    if md5 is None:
        return []
    touched = git(root, "log", "--all", "--format=%H", f"-S{md5}", "--", LOCK).split()
    return [one for one in touched if md5 in git(root, "show", f"{one}:{LOCK}", check=False)]


def _bring_back(root: Path, place: Path, training: Outputs, retrain: bool) -> str:
    """Outputs of the version's stages in the worktree; how they came there."""
    local = root / ".dvc" / "config.local"
    if local.is_file():  # remotes' credentials
        shutil.copy(local, place / ".dvc" / "config.local")
    cache = dvc(root, root, "cache", "dir").stdout.strip() or str(root / ".dvc" / "cache")
    dvc(place, place, "cache", "dir", "--local", str((root / cache).resolve()))
    stages = list(dict.fromkeys(("preprocess", training.made_by, training.evaluated_by)))
    if retrain:
        # An ensemble is made of trainings, which are not made again for it.
        before = ["preprocess", "train"] if isinstance(training, Ensemble) else ["preprocess"]
        dvc(place, place, "checkout", *before)
        _need(dvc(place, place, "repro", "preprocess"))
        _need(dvc(place, place, "repro", "--force", "--single-item", *stages[1:]))
        return "made again" if isinstance(training, Ensemble) else "trained again"
    files = Files.of_training(training, place)
    paths = (files.weights, files.description, files.details, files.scorer)
    dvc(place, place, "checkout", *stages)
    if all(path.is_file() for path in paths):
        return "from DVC's cache"
    if dvc(place, place, "remote", "list").stdout.strip():
        dvc(place, place, "pull", *stages)
        if all(path.is_file() for path in paths):
            return "pulled from DVC's remote"
    done = dvc(place, place, "repro", stages[-1])
    _need(done)
    # DVC's run cache knows stages that ran with these inputs, whatever was checked out since.
    ran = f"Running stage '{stages[1]}'" in done.stdout
    if isinstance(training, Ensemble):
        return "made again by `dvc repro`" if ran else "from DVC's run cache"
    return "trained again by `dvc repro`" if ran else "from DVC's run cache, without a training"


def _verify(record: Record, training: Outputs, place: Path) -> None:
    weights, evaluation = digests_of(training, place)
    pairs = (
        ("weights", weights, record.tag(TAG_WEIGHTS)),
        ("evaluation", evaluation, record.tag(TAG_EVALUATION)),
    )
    for what, found, expected in pairs:
        if found != expected:
            raise ClarityError(
                f"{place}: other {what} came out ({found[:12]}, not {expected[:12]}): another "
                "processor, torch or thread count than then? The worktree is left to look at"
            )


def _root() -> Path:
    try:
        return Path(git(Path.cwd(), "rev-parse", "--show-toplevel").strip())
    except ClarityError:
        raise ClarityError(
            "no git repository here (a ZIP download has none); clone the project to restore "
            "versions"
        ) from None


def _need(done: subprocess.CompletedProcess[str]) -> None:
    if done.returncode:
        lines = (done.stdout + done.stderr).strip().splitlines() or ["no message"]
        # A stage's own line says why; DVC's only says which stage.
        own = [line for line in lines if line.startswith("clarity: ")]
        dvc = [line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR: ")]
        raise ClarityError(f"dvc {done.args[1]}: {'; '.join([*dvc[:1], *own[-1:]]) or lines[-1]}")
