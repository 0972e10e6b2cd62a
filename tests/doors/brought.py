"""Doors for what a user brings: params.yaml, arrays, pictures, tables."""

from __future__ import annotations

import io
import json
from base64 import b64encode

import numpy as np
from behind import World
from data_helpers import SHAPE, random_images
from hypothesis import strategies as st
from malformed import PLAIN, altered, mangled, one_line
from PIL import Image
from project import ROOT

from clarity.errors import ClarityError
from clarity.preprocess.samples import ImageProblem

# -- params.yaml ----------------------------------------------------------------------------------

PARAMS = (ROOT / "tests/params.yaml").read_bytes()
LAUGHS = "".join(f"l{n}: &l{n} [{', '.join([f'*l{n - 1}'] * 9)}]\n" for n in range(1, 12))


def parameters() -> st.SearchStrategy[bytes]:
    from ruamel.yaml import YAML

    tree = YAML(typ="safe").load(PARAMS)
    return mangled(PARAMS) | altered(tree).map(lambda made: json.dumps(made).encode())


def read_parameters(world: World, case: bytes) -> None:
    from clarity.params import check_data_path, load_params

    world.folder("data/own")
    path = world.folder("params") / "params.yaml"
    path.write_bytes(case)
    found = load_params(path)
    check_data_path(found.data)
    for training in found.trainings:
        found.recipe(training.model)


# -- arrays ---------------------------------------------------------------------------------------


def array() -> bytes:
    out = io.BytesIO()
    np.save(out, random_images(2, (4, 4)))
    return out.getvalue()


def headed(kind: str, shape: tuple[int, ...]) -> bytes:
    """Of an ``.npy`` file, what stands before the numbers."""
    text = repr({"descr": kind, "fortran_order": False, "shape": shape}).encode() + b"\n"
    return b"\x93NUMPY\x01\0" + len(text).to_bytes(2, "little") + text


@st.composite
def arrays(draw: st.DrawFn) -> bytes:
    """An ``.npy`` file whose header says what it likes."""
    sides = st.integers(-4, 5) | st.sampled_from([0, 1, 3, 4, 2**40, 2**63, 10**30, True, 1.0])
    shape = tuple(draw(st.lists(sides, max_size=5)))
    kinds = ["|u1", "|b1", "<u2", ">u2", "<f4", ">f8", "|O", "<i8", "|V3", "<U3", "<M8[ns]", "|u1,"]
    kind = draw(st.sampled_from(kinds) | st.text(max_size=5) | PLAIN)
    entries = {"descr": kind, "fortran_order": draw(st.booleans() | PLAIN), "shape": shape}
    if not draw(st.integers(0, 5)):
        entries = draw(st.dictionaries(st.sampled_from([*entries, "x"]), PLAIN, max_size=4))
    text = repr(entries).encode(errors="replace")
    if not draw(st.integers(0, 3)):
        text = draw(mangled(text))
    version = draw(st.sampled_from([b"\x01\0", b"\x02\0", b"\x03\0", b"\xff\xff"]))
    size = 2 if version == b"\x01\0" else 4
    stated = draw(st.just(len(text) + 1) | st.integers(0, 2 ** (8 * size) - 1)) % 2 ** (8 * size)
    head = b"\x93NUMPY" + version + stated.to_bytes(size, "little") + text + b"\n"
    body = abs(int(np.prod([float(side) for side in shape]))) if shape else 1
    return head + bytes(min(body, 2000) * draw(st.sampled_from([0, 1, 1, 1, 2, 4, 8])))


def read_arrays(world: World, case: bytes) -> None:
    from clarity.ingest.npy import open_source
    from clarity.score import sources

    (world.arrays / "trainingset.npy").write_bytes(case)
    opened = open_source(str(world.arrays))
    count = sum(1 for _ in opened.items)
    assert count == opened.total
    found = sources.open_source(world.arrays / "trainingset.npy")
    found.reading = sources.Reading(SHAPE)
    piece = found.read(0, 10)
    assert len(piece.images) + len(piece.rejected) == min(len(found), 10)


def archive() -> bytes:
    out = io.BytesIO()
    images = random_images(2, (4, 4))
    np.savez_compressed(out, train=images, train_labels=np.array([0, 1]), test=images)
    return out.getvalue()


def read_archives(world: World, case: bytes) -> None:
    from clarity.ingest.npy import open_source

    folder = world.folder("archives")
    (folder / "images.npz").write_bytes(case)
    for _ in open_source(str(folder)).items:
        pass


# -- pictures -------------------------------------------------------------------------------------


def pictures() -> list[bytes]:
    """One of every kind that is read."""
    colour = random_images(1, (9, 7))[0]
    deep = colour[..., 0].astype(np.uint16) * 257
    made = []
    for pixels, kinds in (
        (colour, ("PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP", "PPM", "JPEG2000", "AVIF")),
        (colour[..., 0], ("PNG", "PPM", "TIFF")),
        (deep, ("PNG", "TIFF", "PPM")),
        (deep.astype(np.float32) / 65535, ("TIFF",)),
        (np.dstack([colour, colour[..., 0]]), ("PNG", "TIFF", "WEBP")),
    ):
        for kind in kinds:
            out = io.BytesIO()
            Image.fromarray(pixels).save(out, kind)
            made.append(out.getvalue())
    return made


def encoded() -> st.SearchStrategy[bytes]:
    return st.sampled_from(pictures()).flatmap(mangled) | st.binary(max_size=40)


def read_pictures(world: World, case: bytes) -> None:
    from clarity.preprocess.images import decode, to_square
    from clarity.score.pictures import decode_base64

    try:
        decode_base64(case.decode("latin-1"), "image, row 0", SHAPE)
    except ClarityError as error:
        one_line(str(error))
    try:
        for white in (None, 1023):
            assert to_square(decode(case, white), SHAPE).shape == SHAPE.stored
    except ImageProblem as problem:
        one_line(str(problem))
    decode_base64(b64encode(case).decode(), "image, row 0", SHAPE)


# -- tables ---------------------------------------------------------------------------------------

LABELS = b"ID,anomaly\n0,0\n1,1\n2,0\n"
TABLE = (
    "path,label,kind,split,group\na.png,0,,train,x\nb.png,1,scratch,test,y\nä.png,,,,\n".encode()
)
ANSWERS = (
    b"looker,trial,pair,choice,deck\n"
    b"ada,1,0123456789ab,left,reconstructions:test:2:0:0.5:0:0:aaaaaa+bbbbbb\n"
    b"ada,2,0123456789ab,cannot tell,reconstructions:test:2:0:0.5:0:0:aaaaaa+bbbbbb\n"
)


def read_labels(world: World, case: bytes) -> None:
    from clarity.ingest.npy import open_source

    folder = world.folder("labelled")
    for name in ("trainingset", "testingset"):
        if not (folder / f"{name}.npy").exists():
            np.save(folder / f"{name}.npy", random_images(3, (4, 4)))
    for name in ("testingset_labels.csv", "testingset_groups.csv"):
        (folder / name).write_bytes(
            case.replace(b"anomaly", b"group") if "g" in name[11:] else case
        )
    for _ in open_source(str(folder)).items:
        pass


def read_tables(world: World, case: bytes) -> None:
    _read_table(world, "table.csv", case)


def read_parquet(world: World, case: bytes) -> None:
    _read_table(world, "table.parquet", case)


def _read_table(world: World, name: str, case: bytes) -> None:
    from clarity.ingest.table import open_source

    path = world.pictures / name
    path.write_bytes(case)
    try:
        for _ in open_source(str(world.pictures)).items:
            pass
    finally:
        path.unlink()


def parquet() -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    out = io.BytesIO()
    pq.write_table(pa.table({"path": ["a.png", "b.png"], "label": [0, 1], "kind": ["", "x"]}), out)
    return out.getvalue()


def read_answers(world: World, case: bytes) -> None:
    from clarity.eye import answers, looks

    path = world.folder("answers") / "answers.csv"
    path.write_bytes(case)
    for answer in answers.once(answers.read(path)):
        looks._deck(answer)
