"""A torchvision image data set by the name of its class, read from or downloaded to ``data.path``.

Its training part (``train=True`` or ``split="train"``) is the pool and its test part the test set;
where a class knows no such parts, all of it is the pool. Classes of objects are no groups; the
people of ``CelebA`` and ``LFWPeople`` are, and so are the folders of an ``ImageFolder``, which
are one's own. Where a class reads files, they are packed as they are, for the one decoder; only
what comes as arrays or out of archives is packed decoded.
"""

from __future__ import annotations

import contextlib
import difflib
import hashlib
import inspect
import io
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from clarity.errors import ClarityError, in_a_line
from clarity.ingest.folder import read_picture
from clarity.ingest.items import Item, Source
from clarity.ingest.words import ANOMALOUS, NORMAL, SPLITS, folded

Role = Literal["pool", "test"]
#: Seconds without an answer after which a download is given up.
PATIENCE = 30.0
#: Classes whose target is a person, with the arguments that make it so.
PEOPLE: dict[str, dict[str, str]] = {"CelebA": {"target_type": "identity"}, "LFWPeople": {}}
#: Names of the parts, tried in this order.
PARTS: dict[Role, tuple[str, ...]] = {"pool": ("train", "trainval"), "test": ("test",)}


def open_source(path: str, name: str) -> Source:
    """Open the data set, downloading it where ``path`` does not hold it yet.

    Raises:
        ClarityError: no such class, arguments needed that cannot be given, neither there nor
            to be downloaded, or no pictures in it.
    """
    kind = _find(name)
    parts: list[tuple[str, Role, Any]] = []
    for role in PARTS:
        found = _open_part(kind, path, role)
        if found is not None:
            parts.append((found[0], role, found[1]))
    source = Source(
        items=iter(()),
        licence=f"as torchvision documents {name}",
        credit=f"torchvision.datasets.{name}",
        total=sum(len(images) for _, _, images in parts),
    )
    source.items = (
        item
        for part, role, images in parts
        for item in _read(name, part, role, images, source.inputs)
    )
    return source


def _find(name: str) -> Any:
    from torchvision import datasets

    names = [
        known
        for known in datasets.__all__
        if inspect.isclass(getattr(datasets, known))
        and issubclass(getattr(datasets, known), datasets.VisionDataset)
        and known != "VisionDataset"
    ]
    if name not in names:
        folded = {known.lower(): known for known in names}
        near = difflib.get_close_matches(name.lower(), folded, n=3, cutoff=0.5)
        hint = ", ".join(folded[match] for match in near) or "its documentation lists them"
        raise ClarityError(f"data.name {name}: torchvision has no such data set; near: {hint}")
    kind = getattr(datasets, name)
    needed = [
        key
        for key, parameter in inspect.signature(kind).parameters.items()
        if parameter.default is inspect.Parameter.empty
        and parameter.kind is inspect.Parameter.POSITIONAL_OR_KEYWORD
        and key not in ("root", "split")
    ]
    if needed:
        raise ClarityError(
            f"data.name {name}: this data set needs {', '.join(needed)}, which params.yaml cannot "
            "say; bring its pictures as data.source folder"
        )
    return kind


def _open_part(kind: Any, path: str, role: Role) -> tuple[str, Any] | None:
    """The pool or the test part with its name; None where there is no such part."""
    from torchvision.datasets import DatasetFolder

    known = inspect.signature(kind).parameters
    arguments: dict[str, Any] = {"root": path} if "root" in known else {}
    arguments |= PEOPLE.get(kind.__name__, {})
    if "loader" in known or issubclass(kind, DatasetFolder):
        arguments["loader"] = _Encoded
    if "train" in known:
        part = PARTS[role][0]
        return part, _open(kind, path, arguments | {"train": role == "pool"})
    if "split" in known:
        for part in PARTS[role]:
            try:
                return part, _open(kind, path, arguments | {"split": part})
            except _NoSuchPartError:
                continue
        if role == "pool":
            raise ClarityError(
                f"data.name {kind.__name__}: this data set has no split named "
                f"{' or '.join(PARTS['pool'])}; bring its pictures as data.source folder"
            )
        return None
    if role != "pool":
        return None
    images = _open(kind, path, arguments)
    if kind.__name__ == "ImageFolder":
        classes = {folded(name) for name in images.classes}
        if classes & {*SPLITS, *NORMAL, *ANOMALOUS}:
            raise ClarityError(
                f"data.name ImageFolder: {', '.join(images.classes[:4])} in {path} are no groups; "
                "data.source folder reads splits and classes"
            )
    return "all", images


class _Encoded:
    """What a class's ``loader`` gives: the file, not decoded."""

    def __init__(self, path: Any) -> None:
        self.path = Path(path)


class _NoSuchPartError(Exception):
    """The class knows no split of that name."""


def _open(kind: Any, path: str, arguments: dict[str, Any]) -> Any:
    """What lies in ``path``, else what a download brings there."""
    name = kind.__name__
    parameters = inspect.signature(kind).parameters.values()
    downloads = any(p.name == "download" or p.kind is p.VAR_KEYWORD for p in parameters)
    attempts = [arguments, arguments | {"download": True}] if downloads else [arguments]
    reason = ""
    for attempt in attempts:
        try:
            with _quiet():
                return kind(**attempt)
        except ImportError as error:
            raise ClarityError(
                f"data.name {name}: reading it needs the package {error.name}, which is not "
                "installed"
            ) from None
        except Exception as error:  # each class fails in its own way
            if isinstance(error, ValueError) and str(error).startswith("Unknown value"):
                raise _NoSuchPartError from None
            reason = in_a_line(error, 160) or type(error).__name__
    if downloads:
        raise ClarityError(
            f"data.name {name}: not in {path}, and the download failed ({reason}); connect to a "
            "network, or put the files there as torchvision expects them"
        )
    raise ClarityError(
        f"data.name {name}: not readable from {path} ({reason}); torchvision does not download "
        "it, so put its files there"
    )


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Download bars only where somebody watches, and no waiting for ever."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(PATIENCE)
    try:
        if sys.stderr.isatty():
            yield
        else:
            with (
                contextlib.redirect_stdout(io.StringIO()),
                contextlib.redirect_stderr(io.StringIO()),
            ):
                yield
    finally:
        socket.setdefaulttimeout(before)


def _read(name: str, part: str, role: Role, images: Any, inputs: dict[str, str]) -> Iterator[Item]:
    digest = hashlib.sha256()
    for number in range(len(images)):
        try:
            image, *targets = images[number]
        except Exception as error:  # decoders of broken files raise nearly anything
            cause = in_a_line(error, 120) or type(error).__name__
            raise ClarityError(
                f"data.name {name}: image {number} of its part {part} cannot be read ({cause})"
            ) from None
        group = f"person {int(targets[0])}" if name in PEOPLE else ""
        if name == "ImageFolder":
            group = images.classes[int(targets[0])]
        item = _item(name, image, f"{part}/{number}", role, group)
        digest.update(item.data)
        yield item
    inputs[f"{name}/{part}"] = digest.hexdigest()


def _item(name: str, image: Any, identity: str, role: Role, group: str) -> Item:
    """An entry as a row: its file if it is one, else its samples."""
    opened = getattr(image, "filename", "")
    if isinstance(image, Image.Image) and opened and Path(opened).is_file():
        image = _Encoded(opened)  # and not yet read
    if isinstance(image, _Encoded):
        return Item(id=identity, group=group, role=role, data=read_picture(image.path))
    if not isinstance(image, Image.Image):
        raise ClarityError(
            f"data.name {name}: its entries are no pictures but {type(image).__name__}; "
            "choose an image data set"
        )
    array = _samples(image)
    return Item(
        id=identity,
        group=group,
        role=role,
        encoding="array",
        dtype=array.dtype.name,
        shape="x".join(map(str, array.shape)),
        data=array.tobytes(),
    )


def _samples(image: Image.Image) -> NDArray:
    """The samples of a picture that a class decoded itself, upright, in little-endian bytes."""
    image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I"):  # 16 bits, which Pillow sometimes widens
        array = np.asarray(image)
        return array.astype("<u2") if 0 <= array.min() <= array.max() <= 65535 else array
    if image.mode not in ("L", "RGB", "RGBA", "F"):
        image = image.convert("RGBA" if image.has_transparency_data else "RGB")
    return np.asarray(image)
