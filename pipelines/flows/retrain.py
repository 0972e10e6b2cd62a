"""The flow ``retrain``: new pictures checked, their drift measured, models trained where there is
a reason, and the best one put before the gate."""

from __future__ import annotations

from pathlib import Path

from prefect import flow, get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.states import Completed, Failed

from clarity.errors import ClarityError
from clarity.layout import normals
from clarity.machine import in_one_line
from clarity.params import load_params
from pipelines.arrivals.adopt import Arrivals, adopt, gather, takes_pictures
from pipelines.flows import show
from pipelines.flows.reproduce import reproduce
from pipelines.processes.runs import carried
from pipelines.stages.graph import read_graph


@flow(name="retrain")
def retrain(
    folders: list[str] | None = None,
    scores: str = "scores",
    include_flagged: bool = False,
    enough: float = 0.05,
    max_parallel: int | None = None,
    timeout: float | None = None,
    promote: bool = True,
) -> State:
    """Take in new pictures; train, compare and promote where there is a reason to.

    A reason is drift, enough new pictures, or anything that DVC calls changed (an updated
    `trainingset.npy`, parameters, code). The same pictures twice are no reason.

    Args:
        folders: Where new pictures lie. Empty: `data/new` and what `score` has handled.
        scores: Folder of `score`'s tables: of what it handled, only what they call normal is taken.
        include_flagged: Whether to train on pictures that were flagged as anomalous, too.
        enough: New pictures that are a reason by themselves, as a share of the training images.
        max_parallel: Stages at once; fewer where that times `threads` exceeds the cores. Empty: as
            many as cores and memory have room for.
        timeout: Seconds after which a stage is killed with all it started. Empty: no limit.
        promote: Whether to put the best model before the promotion gate afterwards.
    """
    log = get_run_logger()
    with carried(log.info):
        try:
            watched = [Path(one) for one in folders or ["data/new", "data/handled"]]
            params = load_params()
            changed = read_graph(say=log.info).to_run()
            reasons = [f"DVC calls {changed[0]} and what follows changed"] if changed else []
            pictures = 0
            if changed and not takes_pictures(params):
                # They are no reason to hold up the training that the changed data asks for.
                log.info(
                    "data.source is %s: new pictures in %s are left where they lie, as they cannot "
                    "join it",
                    params.data.source,
                    " and ".join(map(str, watched)),
                )
            else:
                arrivals = check_arrivals(watched, Path(scores), include_flagged)
                if pictures := len(arrivals.pictures):
                    reasons += reasons_of(arrivals, enough)
            if not reasons:
                few = f"{pictures} new pictures, no drift, fewer than would matter"
                nothing = "nothing to do: no new pictures, nothing changed"
                return Completed(message=few if pictures else nothing)
            log.info("%s", "; ".join(reasons))
            if pictures:
                log.info("took in %d pictures", adopt(arrivals, params))
            state = reproduce(max_parallel=max_parallel, timeout=timeout, return_state=True)
            if not state.is_completed():
                return Failed(message=state.message)
            if promote:
                put_before_gate()
        except ClarityError as error:
            return Failed(message=str(error))
    return Completed(message="; ".join(reasons))


@task(name="check arrivals", cache_policy=NO_CACHE, persist_result=False)
def check_arrivals(watched: list[Path], scores: Path, include_flagged: bool) -> Arrivals:
    """Find pictures that were not taken in before and check each as the pipeline will."""
    arrivals = gather(watched, scores, load_params(), include_flagged=include_flagged)
    get_run_logger().info("%s", arrivals.sentence)
    return arrivals


@task(name="drift", cache_policy=NO_CACHE, persist_result=False)
def reasons_of(arrivals: Arrivals, enough: float) -> list[str]:
    """Why the new pictures are a reason to train, in words; none if they are not."""
    import numpy as np

    from clarity.score.drift import measure
    from clarity.score.watch import look, reference_images

    train = normals("train")
    if not train.is_file():
        return [f"{len(arrivals.pictures)} new pictures and no training yet"]
    detector = None
    try:
        from clarity.score.registered import load_registered

        detector = load_registered("champion").detector
    except ClarityError as error:
        get_run_logger().info("drift by image statistics only: %s", error)
    report = measure(
        look(reference_images(), detector), look(arrivals.images, detector), load_params().drift
    )
    get_run_logger().info("%s", report.sentence)
    show.drift(report, "New pictures")
    reasons = [report.sentence] if report.drifted else []
    share = len(arrivals.pictures) / len(np.load(train, mmap_mode="r", allow_pickle=False))
    if share >= enough:
        reasons.append(f"{len(arrivals.pictures)} new pictures, {share:.0%} of the training images")
    return reasons


@task(name="promote", cache_policy=NO_CACHE, persist_result=False)
def put_before_gate() -> None:
    """Hand over to the gate, which alone moves `champion`."""
    from clarity.registry.promote import promote

    log = get_run_logger()
    with in_one_line():
        promote(say=lambda line: log.info("%s", line))
