"""`clarity verify`: whether a run elsewhere came to the same conclusions as a committed one.

Another processor, BLAS or thread count adds in another order, so bits differ and figures differ in
their last digits. What has to be the same is what went in, every verdict, and every figure within
the interval that the report itself gives it.
"""

from __future__ import annotations

import json
import math
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from clarity.commands import dvc, git
from clarity.errors import ClarityError
from clarity.files import read_json
from clarity.layout import LOCK, REPORTS, Outputs
from clarity.params import Params, load_params
from clarity.yaml_text import parse_mapping

VERDICTS, TABLE = REPORTS / "verdicts.json", REPORTS / "table.json"
#: Parameters in which an honest rerun may differ.
FREE = ("device", "threads")
#: Dependencies that differ honestly: what stages made. The images themselves may not.
IMAGES = "data/processed/index.csv"
#: Figures that no seed changes.
EXACT = ("parameters", "flops", "latent")
#: Of a figure without an interval: this share of its value.
SHARE = 0.05

Say = Callable[[str], None]


@dataclass
class Outcome:
    """What was compared, and every difference in words."""

    verdicts: int = 0
    figures: int = 0
    differences: list[str] = field(default_factory=list)


def verify(revision: str = "HEAD", reports: Path | None = None, *, say: Say = print) -> bool:
    """Compare the workspace's results with those of a git revision; whether they agree.

    Args:
        revision: the reference: a commit, branch or tag with its ``dvc.lock``.
        reports: a copy of the reference's ``reports/``, where neither DVC's cache nor its remote
            has it.
        say: told what was compared and every difference, a line at a time.

    Raises:
        ClarityError: something to compare is missing.
    """
    root = Path.cwd()
    params = load_params()
    named = f"{revision}^{{commit}}"
    asked = ("rev-parse", "--verify", "--quiet", "--end-of-options", named)
    commit = git(root, *asked, check=False).strip()
    if not commit:
        raise ClarityError(f"{revision}: no such commit, branch or tag in a git repository here")
    there = _lock(_show(root, commit, LOCK), f"{revision}:{LOCK}")
    here = _lock(_text(Path(LOCK)), LOCK)
    outcome = Outcome()
    outcome.differences += _unrecorded(root)
    outcome.differences += inputs(there, here)
    ours = _json(VERDICTS)
    theirs = _reference(root, commit, reports)
    count, found = verdicts(theirs, ours)
    outcome.verdicts = count
    outcome.differences += found
    metrics = {
        training.name: _metrics(_show(root, commit, training.metrics.as_posix()), training)
        for training in params.outputs
    }
    count, found = figures(params, metrics, _json(TABLE))
    outcome.figures = count
    outcome.differences += found
    for line in outcome.differences:
        say(f"differs: {line}")
    same = not outcome.differences
    bits = "bit for bit" if _outputs(there) == _outputs(here) else "with other last digits"
    say(
        f"{revision} ({commit[:12]}): {outcome.verdicts} verdicts and {outcome.figures} figures "
        + (f"compared: the same conclusions, {bits}" if same else "compared: NOT the same")
    )
    return same


def inputs(there: Mapping[str, Any], here: Mapping[str, Any]) -> list[str]:
    """What of the stages' code, parameters and images differs between two ``dvc.lock``."""
    found: list[str] = []
    for name in sorted({*there, *here} - {"publish"}):
        if name not in there or name not in here:
            found.append(f"{name}: only {'here' if name in here else 'there'}")
            continue
        a, b = there[name], here[name]
        for key, before, after in _changed(_params(a), _params(b)):
            if key.split(".")[0] not in FREE:
                found.append(f"{name}: {key} is {after} here and {before} there")
        code = _digests(a, "deps"), _digests(b, "deps")
        made = _digests(a, "outs"), _digests(b, "outs")
        for path in sorted({*code[0], *code[1]}):
            if path.startswith("src/") and code[0].get(path) != code[1].get(path):
                found.append(f"{name}: other code in {path}")
        if made[0].get(IMAGES) != made[1].get(IMAGES):
            found.append(f"{name}: other images, {IMAGES} differs")
    return list(dict.fromkeys(found))


def verdicts(theirs: Mapping[str, Any], ours: Mapping[str, Any]) -> tuple[int, list[str]]:
    """How many verdicts there are, and those that are not the same."""
    a, b = dict(_judged(theirs)), dict(_judged(ours))
    found = []
    for key in sorted({*a, *b}):
        if a.get(key) != b.get(key):
            before, after = (" / ".join(one[key]) if key in one else "none" for one in (a, b))
            found.append(f"verdict {key}: {after} here and {before} there")
    return len({*a, *b}), found


def figures(
    params: Params, theirs: Mapping[str, Mapping[str, float]], table: Mapping[str, Any]
) -> tuple[int, list[str]]:
    """How many figures there are, and those outside of the report's interval.

    A model's figure is the mean over its seeds. Both the report's and that of ``metrics.json`` must
    lie no further from the reference's than half the interval's width.

    Args:
        params: names models and seeds.
        theirs: the reference's ``metrics.json`` by training.
        table: the workspace's ``table.json``.
    """
    count, found = 0, []
    rows = {row["model"]: row for row in (*table["models"], *table.get("ensembles", ()))}
    for model, trainings in params.detectors.items():
        mine = [_metrics(_text(one.metrics), one) for one in trainings]
        other = [theirs[one.name] for one in trainings]
        for name in sorted({*mine[0], *other[0]}):
            row = rows.get(model, {})
            before, after = _mean(other, name), _mean(mine, name)
            if before is None and after is None:
                continue
            count += 1
            if before is None or after is None:
                found.append(f"{model}: {name} is only {'here' if before is None else 'there'}")
                continue
            shown = row.get(name)
            room = _room(row, name, before)
            worst = max(abs(value - before) for value in (after, shown) if value is not None)
            if not worst <= room:
                values = f"{after:.6g} here and {before:.6g} there"
                found.append(f"{model}: {name} is {values}, {_allowed(room)}")
    return count, found


def _room(row: Mapping[str, Any], name: str, before: float) -> float:
    """How far a figure may lie from the reference."""
    if name in EXACT:
        return 0.0
    low, high = row.get(f"{name}_low"), row.get(f"{name}_high")
    if low is None or high is None:
        return SHARE * abs(before)
    return float((high - low) / 2)


def _allowed(room: float) -> str:
    return f"more than {room:.2g} apart" if room else "and no seed changes it"


def _judged(content: Mapping[str, Any]) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Every verdict by what it is about: its status, outcome and reading."""
    try:
        for claim in content["claims"]:
            about = [claim["claim"], claim.get("question")]
            yield _key(*about, "tested"), (str(claim.get("not_tested") is None),)
            for one in claim["comparisons"]:
                key = _key(*about, one["population"], one["subject"], one["reference"])
                yield key, (one["status"], one["verdict"]["outcome"], one["reading"])
        for one in content["findings"]:
            key = _key("detector", one["question"], one["subject"], one["reference"])
            yield key, (one["verdict"]["outcome"], one["reading"])
    except (KeyError, TypeError, AttributeError):
        raise ClarityError(f"{VERDICTS}: not what `compare` writes; `dvc repro compare`") from None


def _key(*parts: object) -> str:
    return ", ".join(str(part) for part in parts if part)


def _reference(root: Path, commit: str, reports: Path | None) -> dict[str, Any]:
    """The reference's verdicts: from a folder, else from DVC's cache or remote."""
    if reports is not None:
        return _json(reports / VERDICTS.name)
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "verdicts.json"
        done = dvc(
            root, root, "get", "--rev", commit, ".", VERDICTS.as_posix(), "--out", str(target)
        )
        if done.returncode or not target.is_file():
            raise ClarityError(
                f"{VERDICTS} of {commit[:12]}: neither in DVC's cache nor on a remote; name a copy "
                "of that run's reports/ with --reports, or let its machine `dvc push`"
            )
        return _json(target)


def _unrecorded(root: Path) -> list[str]:
    """Stages whose inputs or outputs are not what the workspace's ``dvc.lock`` says."""
    done = dvc(root, root, "status", "--json")
    try:
        changed = json.loads(done.stdout)
    except ValueError:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise ClarityError(f"dvc status: {last.removeprefix('ERROR: ')}") from None
    return [
        f"{name}: the workspace is not what {LOCK} records; `dvc repro` brings it up to date"
        for name in sorted(changed)
        if name != "publish"
    ]


def _lock(text: str, named: str) -> dict[str, Any]:
    stages = parse_mapping(text, Path(named)).get("stages")
    if not isinstance(stages, dict):
        raise ClarityError(f"{named}: no stages in it; `dvc repro` writes it")
    return stages


def _params(stage: Mapping[str, Any]) -> dict[str, Any]:
    found = (stage.get("params") or {}).get("params.yaml") or {}
    return dict(_flat(found))


def _flat(tree: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(tree, dict) and tree:
        for key, value in tree.items():
            yield from _flat(value, f"{prefix}.{key}" if prefix else str(key))
    else:
        yield prefix, tree


def _changed(a: Mapping[str, Any], b: Mapping[str, Any]) -> Iterator[tuple[str, Any, Any]]:
    for key in sorted({*a, *b}):
        if a.get(key) != b.get(key):
            yield key, a.get(key), b.get(key)


def _digests(stage: Mapping[str, Any], kind: str) -> dict[str, str]:
    return {str(one["path"]): str(one.get("md5")) for one in stage.get(kind) or ()}


def _outputs(stages: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    return {name: _digests(one, "outs") for name, one in stages.items() if name != "publish"}


def _mean(values: Sequence[Mapping[str, float]], name: str) -> float | None:
    if any(not isinstance(one.get(name), int | float) for one in values):
        return None
    return math.fsum(one[name] for one in values) / len(values)


def _metrics(text: str, training: Outputs) -> dict[str, float]:
    try:
        found = json.loads(text)
        return {str(name): value for name, value in found.items()}
    except (ValueError, AttributeError, RecursionError):
        raise ClarityError(f"{training.metrics}: not what `evaluate` writes") from None


def _show(root: Path, commit: str, path: str) -> str:
    try:
        return git(root, "show", f"{commit}:./{path}")
    except ClarityError:
        raise ClarityError(
            f"{path}: not in commit {commit[:12]}; commit {LOCK} and evaluations/ after a run, or "
            "name another revision"
        ) from None


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        raise ClarityError(f"{path}: missing or broken; `dvc repro` writes it") from None


def _json(path: Path) -> dict[str, Any]:
    try:
        content = read_json(path)
    except (OSError, ValueError, RecursionError):
        content = None
    if not isinstance(content, dict):
        raise ClarityError(f"{path}: missing or broken; `dvc repro compare` writes it")
    return content
