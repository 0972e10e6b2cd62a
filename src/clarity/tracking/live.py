"""A training seen while it runs: curves, speed, pictures and system metrics, best effort.

Nothing here may delay or stop a training. A thread of its own imports MLflow and writes; what it
cannot do is said once, and `publish` completes the run from the outputs.
"""

from __future__ import annotations

import os
import queue
import sys
import tempfile
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from clarity.errors import ClarityError
from clarity.layout import Training
from clarity.params import Params, load_params
from clarity.redact import redact
from clarity.score import owner
from clarity.tracking import facts, keys, runs

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

#: A training shorter than this many seconds is left to `publish`: importing MLflow takes longer.
PATIENCE = 1.5
#: Epochs are written together, at most this often, in seconds.
INTERVAL = 1.0
#: How long the end of a training waits for what is not yet written, in seconds: for a server, which
#: may be slow or away, and for a file of this machine, which may be very busy.
GRACE_SERVER, GRACE_FILE = 5.0, 120.0
#: Seconds between two samples of the system's metrics.
SAMPLING = 5

Job = Callable[[], None]


class LiveMirror:
    """Hears of a training and writes to MLflow behind its back.

    Use as a context manager around the training; hand it over as the training's listener.
    """

    def __init__(self, params: Params, training: Training) -> None:
        self._params = params
        self._training = training
        self._jobs: queue.Queue[Job | None] = queue.Queue()
        self._points: list[tuple[int, Mapping[str, float]]] = []
        self._guard = threading.Lock()
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None
        self._failed = False
        self._done = False
        self._client: MlflowClient | None = None
        self._run_id = ""
        self._monitor: SystemMetricsMonitor | None = None
        self._last: dict[str, int] = {}
        self._pictured: set[int] = set()
        self._grace = GRACE_FILE

    @classmethod
    def of_training(cls, model: str, seed: int) -> LiveMirror:
        """The mirror of one training, its parameters read from params.yaml."""
        return cls(load_params(), Training(model, seed))

    def __enter__(self) -> LiveMirror:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Write what is left, say how it ended, and let go in any case after some seconds."""
        self._ended.set()
        if self._thread is None:
            return
        if kind is None:
            status = "FINISHED" if self._done else "KILLED"
        else:
            status = "FAILED" if issubclass(kind, Exception) else "KILLED"
        self._jobs.put(lambda: self._close(status))
        self._jobs.put(None)
        self._thread.join(self._grace)
        if self._thread.is_alive():
            self._give_up(
                ClarityError(f"MLflow's store did not take all within {self._grace:.0f} s")
            )

    # What a training tells.

    def started(self, provenance: Mapping[str, Any]) -> None:
        """Training begins or resumes: its run is made, or found again by the fingerprint."""
        content = dict(provenance)
        self._jobs.put(lambda: self._open(content))
        self._thread = threading.Thread(target=self._work, name="live-mirror", daemon=True)
        self._thread.start()

    def epoch(self, row: Mapping[str, float], images_per_second: float) -> None:
        """An epoch ended; epochs told again after a resume are not written twice."""
        values = facts.curve_values(row)
        if images_per_second > 0:
            values[keys.IMAGES_PER_SECOND] = float(images_per_second)
        with self._guard:
            self._points.append((int(row["epoch"]), values))
        self._jobs.put(self._write)

    def picture(self, epoch: int, path: Path) -> None:
        """A grid of reconstructions, which is read now: the file may go away after the call."""
        content = path.read_bytes()
        self._jobs.put(lambda: self._show(epoch, content))

    def finished(self, training: Training) -> None:
        """Every output is in its place; `publish` will complete the run from them."""
        self._done = True

    # What the thread does with it.

    def _work(self) -> None:
        """Do the jobs in order. After a failure take them without doing them."""
        if self._ended.wait(PATIENCE):
            return
        while (job := self._jobs.get()) is not None:
            if self._failed:
                continue
            try:
                job()
            except Exception as problem:
                self._give_up(problem)
        if self._monitor is not None:
            self._monitor.finish()  # type: ignore[no-untyped-call]

    def _give_up(self, problem: Exception) -> None:
        """Say once why nothing more is written."""
        with self._guard:
            if self._failed:
                return
            self._failed = True
        lines = str(problem).splitlines() or [""]
        # Redacted before it is cut: half an address would hide its password from the redaction.
        reason = lines[0] if isinstance(problem, ClarityError) else redact(repr(problem))[:200]
        print(
            f"clarity: not mirrored to MLflow, training goes on ({reason}); "
            "`publish` completes the run from the outputs",
            file=sys.stderr,
        )

    def _open(self, provenance: Mapping[str, Any]) -> None:
        # A server that hangs must not hold the end of a training.
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
        from clarity.address import sqlite_file, tracking_uri
        from clarity.store import experiment_id, open_store

        if sqlite_file(tracking_uri()) is None:
            self._grace = GRACE_SERVER
        client = open_store()
        import logging

        logging.getLogger("mlflow").setLevel(logging.ERROR)
        experiment = experiment_id(client)
        fingerprint = str(provenance["fingerprint"])
        tags = {
            **facts.identity_tags(self._params, self._training, fingerprint),
            **facts.flow_run(),
            keys.CURRENT: "true",
            keys.PROCESS: runs.this_process(),
        }
        params = facts.recipe(provenance)
        name = self._training.name
        same = runs.of_fingerprint(client, experiment, name, fingerprint)
        known = next(owner.own(client, self._params.gate.name, same), None)
        if known:
            run = known
            if runs.is_deleted(run.info):
                client.restore_run(run.info.run_id)
            for key, points in runs.history(client, run, f"{keys.CURVES}/").items():
                self._last[key] = max(points)
            self._pictured = runs.logged_steps(client, run.info.run_id, keys.PROGRESS)
            client.update_run(run.info.run_id, status="RUNNING")
        else:
            tags |= facts.commit()
            run = client.create_run(experiment, tags=tags, run_name=name)
        self._run_id = run.info.run_id
        runs.log(client, self._run_id, params=runs.new_params(run, params), tags=tags)
        self._client = client
        from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

        self._monitor = SystemMetricsMonitor(  # type: ignore[no-untyped-call]
            self._run_id, sampling_interval=SAMPLING, resume_logging=known is not None
        )
        self._monitor.start()  # type: ignore[no-untyped-call]

    def _write(self) -> None:
        """Write the epochs that have gathered; then let some gather."""
        with self._guard:
            points, self._points = self._points, []
        fresh = [
            (step, {k: v for k, v in values.items() if step > self._last.get(k, -1)})
            for step, values in points
        ]
        if not any(values for _, values in fresh):
            return
        assert self._client is not None
        runs.log(self._client, self._run_id, fresh)
        for step, values in fresh:
            self._last |= {key: max(step, self._last.get(key, -1)) for key in values}
        self._ended.wait(INTERVAL)

    def _show(self, epoch: int, content: bytes) -> None:
        if epoch in self._pictured:
            return
        assert self._client is not None
        with tempfile.NamedTemporaryFile(suffix=".png") as file:
            file.write(content)
            file.flush()
            runs.log_picture(self._client, self._run_id, Path(file.name), keys.PROGRESS, epoch)
        self._pictured.add(epoch)

    def _close(self, status: str) -> None:
        self._write()
        assert self._client is not None
        if self._monitor is not None:
            self._monitor.finish()  # type: ignore[no-untyped-call]
            self._monitor = None
        self._client.set_terminated(self._run_id, status)
