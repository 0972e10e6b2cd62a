"""Stage ``preprocess``: ``data/raw`` becomes packed arrays and an index."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Sequence, Set
from contextlib import ExitStack
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import track

from clarity.files import atomic_path, sha256_bytes
from clarity.layout import (
    INDEX,
    ITEMS,
    JUDGED_SPLITS,
    PROCESSED,
    REJECTED,
    SPLITS,
    anomalies,
    masks,
    normals,
    synthetic_id,
)
from clarity.params import Preprocess, load_params
from clarity.preprocess.anomalies import KINDS, make
from clarity.preprocess.arrays import ArrayWriter, Spool
from clarity.preprocess.groups import Accepted, Names, join_groups
from clarity.preprocess.images import Seen
from clarity.preprocess.items import count_items, read_items
from clarity.preprocess.selection import (
    Left,
    as_rejected,
    check_all,
    divide,
    refuse_too_many,
    without_duplicates,
    without_leaks,
)
from clarity.preprocess.tables import IndexRow, write_index, write_rejected

#: Groups joined, and broken images, that are named aloud.
SHOWN = 8


def preprocess() -> None:
    """Write the arrays, ``index.csv`` and ``rejected.csv``: all of them or none.

    Raises:
        ClarityError: too many images are broken, duplicates are refused, or a split stays empty.
    """
    params = load_params()
    preprocess = params.preprocess
    total = count_items(ITEMS)
    with Spool(PROCESSED, preprocess.shape) as spool:
        items = track(
            read_items(ITEMS),
            "preprocess",
            total=total,
            console=Console(stderr=True),
            disable=not sys.stderr.isatty(),
        )
        names, seen = Names(), Seen()
        accepted, left = check_all(items, spool, names, preprocess, seen)
        refuse_too_many(left, total, preprocess.max_rejected)
        accepted, joined = join_groups(accepted)
        accepted, duplicates = without_duplicates(accepted, preprocess.duplicates)
        accepted, leaks = without_leaks(accepted)
        left += duplicates + leaks
        dealt = divide(accepted, left, preprocess)
        left += [Left(image.order, image.id, reason, broken=False) for image, reason in dealt.left]
        divided = dealt.divided
        known = {image.sha256 for image in accepted}
        with ExitStack() as stack:
            # Files are renamed into place when all are written, the first placed last: the index
            # appears after the arrays that it describes.
            def place(path: Path) -> Path:
                return stack.enter_context(atomic_path(path))

            index, rejected = place(INDEX), place(REJECTED)
            rows: list[IndexRow] = []
            for split in SPLITS:
                rows += _pack_normals(place(normals(split)), split, divided[split], spool)
            for split in JUDGED_SPLITS:
                images, planes = place(anomalies(split)), place(masks(split))
                rows += _pack_anomalies(
                    images, planes, split, divided[split], spool, known, preprocess
                )
            write_index(index, rows)
            write_rejected(rejected, as_rejected(left))
    notes = names.lines() + joined
    for line in notes[:SHOWN] + seen.lines() + dealt.said:
        print(f"preprocess: {line}")
    if len(notes) > SHOWN:
        print(f"preprocess: and {len(notes) - SHOWN} more groups that count as one with another")
    _say(total, left, rows)
    # `models` is no parameter of this stage: a word about it, on which no output and no exit code
    # depends, is all that may be said here. It is the first to know how many images there are.
    trained = sum(row.split == "train" and row.label == 0 for row in rows)
    for line in params.too_many_components(trained):
        print(f"preprocess: {line}", file=sys.stderr)


def _pack_normals(
    path: Path, split: str, images: Sequence[Accepted], spool: Spool
) -> list[IndexRow]:
    rows = []
    with ArrayWriter(path, spool.shape.stored) as writer:
        for image in (image for image in images if image.label == 0):
            row = writer.append(spool.read(image.spooled))
            rows.append(IndexRow(split, 0, row, image.id, image.group, "normal", 0, image.sha256))
    return rows


def _pack_anomalies(
    path: Path,
    mask_path: Path,
    split: str,
    images: Sequence[Accepted],
    spool: Spool,
    known: Set[str],
    preprocess: Preprocess,
) -> list[IndexRow]:
    """Labelled anomalies where the split has them; else, or beside them, synthetic ones by kind.

    None of them has the pixels of an image of the data set (digests ``known``): of a set with
    turned copies, say, a turned one is no anomaly.
    """
    rows = []
    shape = spool.shape.stored
    blank = np.zeros(shape[:2], np.uint8)
    sources = [image for image in images if image.label == 0]
    labelled = [image for image in images if image.label == 1]
    with ArrayWriter(path, shape) as writer, ArrayWriter(mask_path, shape[:2]) as planes:
        for image in labelled:
            row = writer.append(spool.read(image.spooled))
            mask = blank
            if image.mask is not None:
                bits = np.unpackbits(np.frombuffer(image.mask, np.uint8), count=blank.size)
                mask = bits.reshape(blank.shape)
            planes.append(mask)
            kind, masked = image.kind or "labelled", int(image.mask is not None)
            rows.append(IndexRow(split, 1, row, image.id, image.group, kind, masked, image.sha256))
        sharing = preprocess.anomalies.labelled
        few = sharing and split != "test" and len(labelled) < sharing.minimum
        beside = sharing.synthetic if sharing else "val"
        if labelled and not (few or beside in ("all", split)):
            return rows
        chosen = _spread(len(sources), preprocess.anomalies.per_kind)
        for kind in (kind for kind in KINDS if kind in preprocess.anomalies.kinds):
            for number in chosen:
                source = sources[number]
                made = make(kind, spool.read(source.spooled), split, number, preprocess.seed)
                if made is None:
                    continue
                digest = sha256_bytes(made.image.tobytes())
                if digest in known:
                    continue
                row = writer.append(made.image)
                planes.append(blank if made.mask is None else made.mask)
                rows.append(
                    IndexRow(
                        split=split,
                        label=1,
                        row=row,
                        id=synthetic_id(source.id, kind),
                        group=made.group or source.group,
                        kind=kind,
                        has_mask=int(made.mask is not None),
                        sha256=digest,
                    )
                )
    return rows


def _spread(count: int, most: int) -> list[int]:
    """At most ``most`` of ``count`` row numbers, evenly spread."""
    kept = min(count, most)
    return [index * count // kept for index in range(kept)]


def _say(total: int, left: Sequence[Left], rows: Sequence[IndexRow]) -> None:
    """Count aloud what was left out and what is where."""
    broken = sum(row.broken for row in left)
    print(
        f"preprocess: {total} images, {broken} broken, {len(left) - broken} left out as duplicates "
        f"or leaks ({REJECTED} lists them)"
    )
    for row in [row for row in left if row.broken][:SHOWN]:
        print(f"  broken: {row.id!r}: {row.reason}")
    normal = Counter(row.split for row in rows if row.label == 0)
    anomalous = Counter(row.split for row in rows if row.label == 1)
    for split in SPLITS:
        groups = {row.group for row in rows if row.split == split and row.label == 0}
        print(
            f"  {split}: {normal[split]} normals of {len(groups)} groups, "
            f"{anomalous[split]} anomalies"
        )
