"""A search's memory: which candidates were tried, what came of them, and which comes next.

Optuna's tree-structured Parzen estimator proposes (Bergstra et al. 2011); a candidate that is worse
than half of those before it at the same epoch is cut short (`MedianPruner`). The study lies in
``mlruns/tuning.db``; a search that was interrupted goes on with the same candidates.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

from clarity.errors import ClarityError
from clarity.files import sha256_bytes, write_text
from clarity.layout import CHECKPOINTS, MLRUNS
from clarity.measures import MEASURES
from clarity.params import Params
from clarity.presets import PRESETS
from clarity.tune.space import changes, committed

if TYPE_CHECKING:
    from optuna import Study
    from optuna.distributions import BaseDistribution
    from optuna.trial import FrozenTrial, Trial

STORE = MLRUNS / "tuning.db"
#: Candidates drawn at random before the estimator takes over, the committed one among them.
RANDOM = 8
#: Candidates that are trained to the end before any is cut short; and the first share of the
#: epochs in which none is.
PATIENT, UNTOUCHED = 5, 0.25


@dataclass(frozen=True)
class Search:
    """What is searched.

    Attributes:
        model: a key of ``models``.
        seed: of every candidate's training, and of the proposals.
        knobs: what may change (`clarity.tune.space.KNOBS`).
        space: Optuna's distributions by knob.
        fingerprint: of the committed training: data, code, recipe, device. Another one is another
            search.
    """

    params: Params
    model: str
    seed: int
    knobs: tuple[str, ...]
    space: Mapping[str, BaseDistribution]
    fingerprint: str

    @property
    def name(self) -> str:
        """Of the study: the same for the same question."""
        asked = json.dumps([self.fingerprint, self.seed, self.knobs, self.params.compare.measure])
        return f"{self.model}-{sha256_bytes(asked.encode())[:12]}"


@contextmanager
def alone(search: Search) -> Iterator[None]:
    """Search alone, until the block or its process ends.

    A second search would call the candidate that the first one trains interrupted, and train it
    again in the same checkpoint. Of other knobs, too: every search of a model and seed begins with
    the recipe that there is.

    Raises:
        ClarityError: another process is at it.
    """
    CHECKPOINTS.mkdir(exist_ok=True)
    # No name of a training, whose own lock lies there too; while one is held `clarity gc` waits.
    lock = FileLock(CHECKPOINTS / f"tune@{search.model}-{search.seed}.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise ClarityError(
            f"{search.model}: another process searches here with seed {search.seed}; wait for it, "
            "or name another --seed"
        ) from None
    try:
        yield
    finally:
        lock.release()


def open_study(search: Search) -> Study:
    """The study of a search, made where there is none, with what was under way to be done again.

    To be called within `alone`.
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    MLRUNS.mkdir(exist_ok=True)
    epochs = search.params.recipe(search.model).epochs
    study = optuna.create_study(
        storage=f"sqlite:///{STORE}",
        study_name=search.name,
        direction="minimize",
        load_if_exists=True,
        pruner=optuna.pruners.MedianPruner(PATIENT, round(epochs * UNTOUCHED)),
    )
    if not study.trials:
        study.enqueue_trial(committed(search.params, search.model, search.knobs))
    for trial in study.trials:
        if trial.state.name == "RUNNING":
            study.tell(trial.number, state=optuna.trial.TrialState.FAIL)
            study.enqueue_trial(trial.params)
    return study


def ask(study: Study, search: Search) -> Trial:
    """The next candidate. What it is follows from the seed and from those before it."""
    import optuna

    seed = 1000 * search.seed + len(study.trials)
    study.sampler = optuna.samplers.TPESampler(seed=seed, n_startup_trials=RANDOM)
    return study.ask(dict(search.space))


def ended(study: Study) -> list[FrozenTrial]:
    """Candidates that were trained to the end or cut short, in their order."""
    return [t for t in study.trials if t.state.name in ("COMPLETE", "PRUNED")]


def ranked(study: Study) -> list[FrozenTrial]:
    """Candidates that were trained to the end, the nearest to their originals on ``val`` first."""
    done = [trial for trial in study.trials if trial.state.name == "COMPLETE"]
    return sorted(done, key=lambda trial: (trial.value, trial.number))


def best(study: Study) -> FrozenTrial | None:
    """The first of `ranked`; None before one was trained to the end."""
    return next(iter(ranked(study)), None)


def first(study: Study) -> FrozenTrial | None:
    """The committed recipe's candidate, where it was trained to the end."""
    mine = study.trials[0].params if study.trials else {}
    return next((trial for trial in ranked(study) if trial.params == mine), None)


def told(search: Search, distance: float) -> str:
    """A distance as its measure is usually given: ``HaarPSI 0.655``."""
    measure = MEASURES[search.params.compare.measure]
    # What makes a distance of a value makes the value of the distance again.
    return f"{measure.label} {measure.distance(distance):.{measure.digits}f}"


def summary(study: Study, search: Search) -> str:
    """What came of the search, in a line."""
    winner, own = best(study), first(study)
    if winner is None or winner.value is None:
        return f"{search.model}: no candidate was trained to its end"
    done = ended(study)
    cut = sum(trial.state.name == "PRUNED" for trial in done)
    text = (
        f"{search.model}: {told(search, winner.value)} on val by candidate {winner.number}, the "
        f"best of {len(done)} ({cut} cut short)"
    )
    if own is None or own.value is None:
        return text
    if winner.params == own.params:
        return (
            f"{search.model}: params.yaml's own recipe was the best of {len(done)} candidates "
            f"({cut} cut short), {told(search, own.value)} on val"
        )
    return f"{text}; {told(search, own.value)} by params.yaml's own recipe"


def write_preset(study: Study, search: Search) -> Path | None:
    """The winner as ``presets/tuned-MODEL.yaml``; None where it changes nothing."""
    from io import StringIO

    from ruamel.yaml import YAML

    winner = best(study)
    found = changes(search.params, search.model, winner.params) if winner else {}
    if not found:
        return None
    buffer = StringIO()
    yaml = YAML()
    yaml.dump({"models": {search.model: found}}, buffer)
    text = (
        f"# {summary(study, search)}.\n# Seed {search.seed}; searched: {', '.join(search.knobs)}. "
        "The best of many is a little too good by chance:\n"
        "# compare it with the recipe it replaces on other people (docs/training.md) first.\n"
    )
    path = PRESETS / f"tuned-{search.model}.yaml"
    write_text(path, text + buffer.getvalue())
    return path
