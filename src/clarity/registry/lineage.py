"""`clarity lineage X`: from any end of the chain to all of it, and the commands that rebuild it."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

from clarity.errors import ClarityError
from clarity.files import sha256_file
from clarity.layout import INDEX, Ensemble, Outputs, Training
from clarity.params import NAME
from clarity.redact import printable
from clarity.registry.history import History
from clarity.registry.reading import Reader, Record, matching, open_reader
from clarity.score.foreign import foreign
from clarity.score.registered import (
    TAG_COMMIT,
    TAG_DATA,
    TAG_DIRTY,
    TAG_EVALUATION,
    TAG_FAMILY,
    TAG_FINGERPRINT,
    TAG_FLOW_RUN,
    TAG_IDENTITY,
    TAG_MODEL,
    TAG_NAME,
    TAG_SEED,
    TAG_STAGE,
    TAG_WEIGHTS,
    registered_name,
)

#: Chains printed in full; more are only listed.
MOST = 3
#: Stages that belong to no single training: what they made is the data of the present workspace.
SHARED_STAGES = ("ingest", "preprocess", "compare", "publish")
PREFIX = 12
#: What a training is called: a model's name and a seed.
TRAINING = r"[a-z0-9]+(-[a-z0-9]+)*-\d{1,10}"


def show(name: str) -> None:
    """Print the chain of everything that ``name`` stands for.

    Args:
        name: version (``3``, ``v3``), alias, run id, data digest, git commit, DVC stage
            (``train@conv-small-0``), training, or the id of an orchestrator's flow run; of ids and
            digests the first six characters or more.

    Raises:
        ClarityError: nothing bears that name.
    """
    from rich.console import Console

    registered = registered_name()
    found = find(open_reader(registered), name.strip())
    history = History()
    # No wrapping: what is printed is to be copied.
    console = Console(soft_wrap=True, highlight=False)
    for record in found[:MOST]:
        console.print("\n".join(chain(record, registered, history)), markup=False)
    if len(found) > MOST:
        rest = ", ".join(_title(record, registered) for record in found[MOST:])
        console.print(f"\nand {len(found) - MOST} more: {rest}", markup=False)


def find(reader: Reader, name: str) -> list[Record]:
    """Versions first; runs only where no version bears the name. Newest first."""
    versions = reader.versions()
    if name in SHARED_STAGES:
        if not INDEX.is_file():
            raise ClarityError(f"{INDEX}: missing; `dvc checkout` or `dvc repro` brings it back")
        digest = sha256_file(INDEX)
        found = [one for one in versions if one.tag(TAG_DATA) == digest]
    else:
        found = matching(versions, name)
    if not found and len(name) >= 3:
        found = matching(reader.runs(name), name)
    if not found:
        numbers = ", ".join(str(one.number) for one in versions[:10]) or "none yet"
        raise ClarityError(
            f"{name}: no version, alias, run, data digest, commit, stage or flow run is called so "
            f"or begins so (six characters at least); versions: {numbers}"
        )
    return found


def chain(record: Record, registered: str, history: History) -> list[str]:
    """The lines that say where a version came from."""
    stage = record.tag(TAG_STAGE) or "unknown"
    links = [
        ("model", _model(record)),
        ("identity", record.tag(TAG_IDENTITY)),
        ("weights", record.tag(TAG_WEIGHTS)),
        ("evaluation", record.tag(TAG_EVALUATION)),
        ("MLflow run", record.run_id),
        ("DVC stages", ", ".join(dict.fromkeys((stage, *_evaluated(record))))),
        ("fingerprint", record.tag(TAG_FINGERPRINT)),
        ("data", _data(record)),
        ("git commit", _commit(record)),
        ("flow run", record.tag(TAG_FLOW_RUN) or "none: not started by a flow"),
    ]
    lines = [_title(record, registered)]
    lines += [f"  {key:<12}{printable(value) or 'unknown'}" for key, value in links]
    moves = [
        f"    {one.time[:19].replace('T', ' ')}  {one.event} {one.alias or ''}: "
        f"{printable(one.why)}"
        for one in history.entries
        if record.number is not None and record.number in (one.before, one.after)
    ]
    if moves:
        lines += ["  history", *moves]
    return [*lines, "  reproduce", *(f"    {line}" for line in _commands(record))]


def _title(record: Record, registered: str) -> str:
    if record.number is None:
        return f"run {record.run_id[:PREFIX]} ({printable(record.tag(TAG_NAME)) or 'no training'})"
    aliases = f", {' and '.join(record.aliases)}" if record.aliases else ""
    return f"{registered} version {record.number} ({printable(record.tag(TAG_NAME))}{aliases})"


def _model(record: Record) -> str:
    several = "s" if " " in record.tag(TAG_SEED) else ""
    return (
        f"{record.tag(TAG_MODEL)}, seed{several} {record.tag(TAG_SEED)}, {record.tag(TAG_FAMILY)}"
    )


def _evaluated(record: Record) -> list[str]:
    """The stage that evaluated a version, where its training is known."""
    outputs = outputs_of(record)
    return [outputs.evaluated_by] if outputs else []


def outputs_of(record: Record) -> Outputs | None:
    """The training or ensemble that tags name, if they are what Clarity writes."""
    name, model, seed = (record.tag(key) for key in (TAG_NAME, TAG_MODEL, TAG_SEED))
    if record.tag(TAG_STAGE) == f"ensemble@{name}":
        return Ensemble(name) if name == model and NAME.fullmatch(name) else None
    if name != f"{model}-{seed}" or not re.fullmatch(TRAINING, name):
        return None
    return Training(model, int(seed))


def _data(record: Record) -> str:
    digest = record.tag(TAG_DATA)
    if not digest:
        return ""
    if not INDEX.is_file():
        note = f"there is no {INDEX} here to compare with"
    elif sha256_file(INDEX) == digest:
        note = f"{INDEX} lists every image's SHA-256"
    elif foreign(record.tags):
        note = "not what is in the workspace now: a foreign model"
    else:
        note = "not what is in the workspace now, but the images that were trained on are the same"
    return f"{digest} ({note})"


def _commit(record: Record) -> str:
    commit = record.tag(TAG_COMMIT)
    if not commit:
        return "unknown: made outside a git repository"
    dirty = record.tag(TAG_DIRTY) == "true"
    return f"{commit} (with uncommitted changes on top)" if dirty else commit


def _commands(record: Record) -> list[str]:
    """What one types to get the same bytes again, with and without this command line."""
    commit, training = record.tag(TAG_COMMIT), outputs_of(record)
    lines = [f"clarity restore {record.number}"] if record.number is not None else []
    if not commit or not record.tag(TAG_NAME):
        return lines or ["# the commit is unknown; the fingerprint above names what it took"]
    # Whoever may write tags would else write commands that somebody else pastes into a shell.
    if not re.fullmatch(r"[0-9a-f]{7,64}", commit) or training is None:
        return [*lines, "# its commit or training is not what Clarity writes; no commands to copy"]
    folder = shlex.quote(f"../{Path.cwd().name}-{commit[:8]}")
    return [
        *lines,
        "# or by hand:",
        f"git worktree add --detach {folder} {commit} && cd {folder}",
        f"dvc pull {training.evaluated_by} || dvc repro {training.evaluated_by}",
        f"sha256sum {training.weights.as_posix()}",
    ]
