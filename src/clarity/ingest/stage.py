"""Stage ``ingest``: the images of ``data.source`` become ``data/raw``."""

from __future__ import annotations

import sys

from rich.console import Console
from rich.progress import track

from clarity.errors import ClarityError
from clarity.files import atomic_path, write_json
from clarity.ingest.items import Source, write_items
from clarity.layout import ITEMS, SOURCE
from clarity.params import Data, load_params


def open_source(data: Data) -> Source:
    """The source that ``data.source`` names."""
    if data.source == "faces":
        from clarity.ingest import faces

        return faces.open_source()
    if data.source == "npy":
        from clarity.ingest import npy

        return npy.open_source(data.path, data.name)
    if data.source == "folder":
        from clarity.ingest import folder

        return folder.open_source(data.path, data.normal, data.anomalous, data.masks)
    if data.source == "table":
        from clarity.ingest import table

        return table.open_source(data.path, data.name)
    from clarity.ingest import torchvision_set

    assert data.name is not None  # `clarity.params` refuses torchvision without a name
    return torchvision_set.open_source(data.path, data.name)


def run() -> None:
    """Write ``items.parquet`` and ``source.json``, both or neither.

    Raises:
        ClarityError: the source is missing, broken or empty; one line, nothing is written.
    """
    data = load_params().data
    source = open_source(data)
    with atomic_path(ITEMS) as items, atomic_path(SOURCE) as description:
        rows = write_items(
            items,
            track(
                source.items,
                "ingest",
                total=source.total,
                console=Console(stderr=True),
                disable=not sys.stderr.isatty(),
            ),
            source.annotated,
        )
        if rows == 0:
            raise ClarityError(f"data.source {data.source}: there are no images in {data.path}")
        write_json(
            description,
            {
                "source": data.source,
                "name": data.name,
                "rows": rows,
                "inputs": source.inputs,
                "licence": source.licence,
                "credit": source.credit,
            },
        )
    for note in source.notes:
        print(f"ingest: {note}")
    print(f"ingest: {rows} images from {data.source}")
