"""`clarity score`: many images with a registered model, in bounded memory, resumable."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from clarity.errors import ClarityError
from clarity.files import (
    atomic_path,
    only_one,
    read_json,
    sha256_bytes,
    write_json,
    write_text,
)
from clarity.names import line
from clarity.score.sources import SHEET_PNG, SUMMARY, Piece, Reading, Source, open_source

if TYPE_CHECKING:
    from clarity.score.detector import Detector
    from clarity.score.registered import Registered

#: Images (of 64×64×3; fewer larger ones) read, scored and made safe on disk at a time.
PIECE = 1024
#: Pieces decoded ahead of the model.
AHEAD = 2
#: Images on the contact sheet.
SHEET = 20
#: Anomalous images that are named on the screen.
NAMED = 5

TABLE_CSV, TABLE_PARQUET = "scores.csv", "scores.parquet"
REJECTED = "rejected.csv"
RESULTS = (SUMMARY, TABLE_CSV, TABLE_PARQUET, REJECTED, SHEET_PNG)
PARTS = ".unfinished"

SCORES = pa.schema(
    [
        ("position", pa.int64()),
        ("id", pa.string()),
        ("score", pa.float64()),
        ("threshold", pa.float64()),
        ("anomaly", pa.bool_()),
        ("p_value", pa.float64()),
        ("signal_1", pa.string()),
        ("signal_2", pa.string()),
    ]
)
REJECTS = pa.schema([("position", pa.int64()), ("id", pa.string()), ("reason", pa.string())])


def score_images(path: Path, output: Path, model: str) -> None:
    """Score what lies at ``path`` with a registered model.

    Writes to ``output``: ``scores.csv`` and ``scores.parquet`` (``id``, ``score``, ``threshold``,
    ``anomaly``, ``p_value``, ``signal_1``, ``signal_2``, in the source's order),
    ``rejected.csv``, ``most_anomalous.png`` and last ``summary.json`` with the version that
    scored. Until everything is scored these files are not there; what is done already waits in
    ``.unfinished``, from where the same call goes on.

    Args:
        path: folder of pictures and ``.npy`` arrays, one array or one picture.
        output: folder, made where it is missing; what is in it by these names is never scored.
        model: alias or version of the registered model.

    Raises:
        ClarityError: nothing to score, not one usable image, no such model, or another run writes
            to ``output``.
    """
    from clarity.score.registered import load_registered

    own = frozenset(os.path.abspath(output / name) for name in RESULTS)
    if os.path.abspath(path) in own:
        raise ClarityError(f"{path}: would be overwritten; name another folder with --output")
    source = open_source(path, leave_out=own)
    registered = load_registered(model)
    source.reading = Reading(registered.detector.shape, registered.detector.white)
    with _alone(output):
        _run(path, source, registered, output)


@contextmanager
def _alone(output: Path) -> Iterator[None]:
    """Make the output folder and keep others out of it."""
    try:
        output.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise ClarityError(f"{output}: a file; --output names a folder") from None
    with only_one(output) as alone:
        if not alone:
            raise ClarityError(
                f"{output}: another `clarity score` writes there; wait for it, or name another "
                "folder with --output"
            )
        yield


def _run(path: Path, source: Source, registered: Registered, output: Path) -> None:
    console = Console(stderr=True, soft_wrap=True, markup=False, highlight=False)
    key = sha256_bytes(
        f"{source.identity()}\0{registered.identity}\0{_piece(registered.detector)}".encode()
    )
    if _complete(output, key):
        console.print(line(f"{output}: complete already, with {registered.label}"))
        return
    _refuse_others_files(output)
    if (output / SUMMARY).is_file():
        console.print(line(f"{output}: replaces what an earlier run wrote there"))
    parts = _prepare(output, key)
    score_parts(source, registered.detector, parts, console)
    for said in source.reading.seen.lines():
        console.print(line(f"{path}: {said}"))
    scored, rejected, flagged, anomalous = _finish(source, registered.detector, output, parts)
    write_json(
        output / SUMMARY,
        {
            "key": key,
            "model": registered.name,
            "version": registered.number,
            "identity": registered.identity,
            "training": registered.training,
            "score": registered.detector.score_name,
            "threshold": registered.detector.threshold,
            "images": len(source),
            "scored": scored,
            "rejected": rejected,
            "anomalous": anomalous,
        },
    )
    shutil.rmtree(parts)
    if said := unpromised(registered.detector):
        console.print(line(said))
    files = [output / TABLE_CSV, output / SHEET_PNG, *([output / REJECTED] if rejected else [])]
    console.print(
        line(
            f"{scored:,} images scored with {registered.label}: {anomalous:,} anomalous, "
            f"{rejected:,} rejected; {', '.join(str(f) for f in files if f.exists())}"
        )
    )
    if flagged:
        rest = f" and {anomalous - NAMED:,} more" if anomalous > NAMED else ""
        console.print(line(f"anomalous, the most so first: {', '.join(flagged[:NAMED])}{rest}"))
    if not scored:
        raise ClarityError(f"{path}: not one usable image; {output / REJECTED} says why")


def unpromised(detector: Detector) -> str:
    """That the threshold promises no rate of false alarms, where too few normals set it."""
    entry = detector.details.threshold[detector.score_name]
    if entry.promised:
        return ""
    known = len(detector.scorer.calibration.scores) if detector.scorer.calibration else 0
    return (
        f"the threshold is the largest score of {known} validation normals, too few for the stated "
        f"{entry.false_alarm_rate:.0%} of false alarms to be promised; p-values end at "
        f"{1 / (known + 1):.2g}"
    )


def _key(output: Path) -> str | None:
    """Which run wrote the summary that lies there; None where none of ours does."""
    try:
        return str(read_json(output / SUMMARY)["key"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _complete(output: Path, key: str) -> bool:
    return _key(output) == key and all(
        (output / name).is_file() for name in RESULTS if name != SHEET_PNG
    )


def _refuse_others_files(output: Path) -> None:
    """Refuse files of a result's name that no run of this command wrote: they would be lost.

    Raises:
        ClarityError: there is one.
    """
    found = [output / name for name in RESULTS if os.path.lexists(output / name)]
    for path in found:
        if path.is_dir():
            raise ClarityError(f"{path}: a folder; name another --output")
    # A finished run left its summary; one that was cut off, the mark of its pieces.
    if found and _key(output) is None and not _mark(output).is_file():
        raise ClarityError(
            f"{found[0]}: would be overwritten, and was not written by `clarity score`; move it "
            "away, or name another folder with --output"
        )


def _mark(output: Path) -> Path:
    """Whose pieces wait there to be put together."""
    return output / PARTS / "key"


def _prepare(output: Path, key: str) -> Path:
    """The folder of finished pieces; those of another source or model are thrown away, and so are
    results that this run will replace: nothing old may pass for the new."""
    # The summary last: what a kill leaves here is still known for ours.
    for name in (*(name for name in RESULTS if name != SUMMARY), SUMMARY):
        (output / name).unlink(missing_ok=True)
    parts = output / PARTS
    mark = _mark(output)
    if not (mark.is_file() and mark.read_text() == key):
        shutil.rmtree(parts, ignore_errors=True)
        write_text(mark, key)
    return parts


def score_parts(source: Source, detector: Detector, parts: Path, console: Console) -> None:
    """Score every piece that is not on disk yet; a thread decodes while the model computes."""
    piece_size = _piece(detector)
    all_starts = range(0, len(source), piece_size)
    starts = [start for start in all_starts if not _part(parts, start).is_file()]
    shown = (TextColumn("scoring"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*shown, console=console, disable=not console.is_terminal) as progress:
        done = len(source) - sum(min(piece_size, len(source) - start) for start in starts)
        task = progress.add_task("scoring", total=len(source), completed=done)
        for start, piece in _ahead(source, starts, piece_size):
            verdict = detector.judge(piece.images)
            table = pa.table(
                {
                    "position": pa.array(piece.positions, pa.int64()),
                    "id": pa.array(piece.ids, pa.string()),
                    **verdict.columns(),
                },
                SCORES,
            )
            # The rejected first: a piece counts as done once its scores are there.
            places, ids, reasons = zip(*piece.rejected, strict=True) if piece.rejected else [()] * 3
            refused = pa.table([list(places), list(ids), list(reasons)], schema=REJECTS)
            with _writing(parts / f"rejected-{start:012d}.parquet") as file:
                pq.write_table(refused, file)
            with _writing(_part(parts, start)) as file:
                pq.write_table(table, file)
            progress.update(task, advance=len(piece.ids) + len(piece.rejected))


def _piece(detector: Detector) -> int:
    from clarity.models.base import at_most

    return at_most(PIECE, detector.shape)


@contextmanager
def _writing(path: Path) -> Iterator[IO[bytes]]:
    """An open file that takes its place when all is written.

    Arrow is given files, not paths: it takes a path for a URI, or falls over a byte in it.
    """
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        yield file


def _read(path: Path) -> pa.Table:
    with path.open("rb") as file:
        return pq.read_table(file)


def _part(parts: Path, start: int) -> Path:
    return parts / f"scores-{start:012d}.parquet"


def _ahead(source: Source, starts: list[int], size: int) -> Iterator[tuple[int, Piece]]:
    """Pieces in order, read and decoded up to ``AHEAD`` pieces ahead in another thread."""
    with ThreadPoolExecutor(1, thread_name_prefix="decode") as pool:
        waiting: list[tuple[int, Future[Piece]]] = []
        coming = iter(starts)
        try:
            while True:
                while len(waiting) < AHEAD and (start := next(coming, None)) is not None:
                    waiting.append((start, pool.submit(source.read, start, start + size)))
                if not waiting:
                    return
                start, future = waiting.pop(0)
                yield start, future.result()
        finally:
            pool.shutdown(cancel_futures=True)


def _finish(
    source: Source, detector: Detector, output: Path, parts: Path
) -> tuple[int, int, list[str], int]:
    """Put the pieces together, a piece in memory at a time.

    Returns:
        how many were scored, how many rejected; the ids of the most anomalous, of those above the
        threshold; how many those are.
    """
    kept = [name for name in SCORES.names if name != "position"]
    schema = pa.schema([SCORES.field(name) for name in kept])
    scored = anomalous = rejected = 0
    top: list[tuple[float, int, str]] = []
    output.mkdir(parents=True, exist_ok=True)
    with (
        _writing(output / TABLE_PARQUET) as parquet,
        _writing(output / TABLE_CSV) as csv,
        _writing(output / REJECTED) as refused,
        pq.ParquetWriter(parquet, schema) as parquet_writer,
        pa.csv.CSVWriter(csv, schema, write_options=_PLAIN) as csv_writer,
        pa.csv.CSVWriter(refused, _REFUSED, write_options=_PLAIN) as refused_writer,
    ):
        for start in range(0, len(source), _piece(detector)):
            table = _read(_part(parts, start))
            part = table.select(kept)
            parquet_writer.write_table(part)
            csv_writer.write_table(part)
            scored += table.num_rows
            anomalous += int(np.count_nonzero(table["anomaly"].to_numpy()))
            rows = zip(
                *(table[name].to_pylist() for name in ("score", "position", "id")), strict=True
            )
            top = sorted([*top, *rows], key=lambda row: (-row[0], row[1]))[:SHEET]
            reasons = _read(parts / f"rejected-{start:012d}.parquet")
            refused_writer.write_table(reasons.select(["id", "reason"]))
            rejected += reasons.num_rows
    if top:
        from clarity.score.sheet import write_sheet

        write_sheet(output / SHEET_PNG, source, detector, top)
    flagged = [name for score, _, name in top if score > detector.threshold]
    return scored, rejected, flagged, anomalous


_PLAIN = pa.csv.WriteOptions(quoting_style="needed")
_REFUSED = pa.schema([REJECTS.field(name) for name in ("id", "reason")])


def read_summary(output: Path) -> dict[str, object]:
    """What a finished run says of itself."""
    content: dict[str, object] = json.loads((output / SUMMARY).read_text())
    return content
