"""Stage ``ingest``: the images of ``data.source`` become ``data/raw``."""

from __future__ import annotations

import sys
from importlib import import_module

from rich.console import Console
from rich.progress import track

from clarity.errors import ClarityError
from clarity.files import atomic_path, write_json
from clarity.ingest.items import Source, write_items
from clarity.layout import ITEMS, SOURCE
from clarity.params import SOURCES, Data, load_params


def open_source(data: Data) -> Source:
    """The source that ``data.source`` names."""
    module, keys = SOURCES[data.source]
    opened = import_module(f"clarity.ingest.{module}").open_source
    found: Source = opened(*(getattr(data, key) for key in keys))
    return found


def ingest() -> None:
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
