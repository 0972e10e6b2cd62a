"""Every door through which something comes that others wrote: refused in one line, or accepted.

By default each door gets a few made-up cases, the same ones always, and what was ever found. `make
test-all` gives each up to 100,000, by chance, as many as fit into CLARITY_DOOR_MINUTES (1); the
number printed with a find brings it back.
"""

from __future__ import annotations

import asyncio
import io
import json
import os
import resource
import signal
import time
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from data_helpers import SHAPE, random_images
from hypothesis import HealthCheck, Phase, example, given, seed, settings
from hypothesis import strategies as st
from PIL import Image

from clarity.errors import ClarityError
from clarity.names import LONGEST, line
from clarity.preprocess.samples import ImageProblem

ROOT = Path(__file__).parent.parent
FEW, MANY, AT_ONCE = 40, 100_000, 200
#: Bytes beyond what the process already has, and seconds of its processor, for one case.
MEMORY, SECONDS = 2 * 2**30, 30
#: What parsers stumble over.
WORDS = [
    *(b"", b"\0", b"\n", b"\r", b"\x1b[2J", b'"', b"'", b",", b";", b":", b"\t", b" ", b"#", b"%"),
    *(b"\xff\xfe", b"\xef\xbb\xbf", b"\xe2\x80\xa8", b"\xc2\x85", b"\xed\xa0\x80", b"\xff" * 4),
    *(b"nan", b"-inf", b"1e999", b"-1", b"0", b"9" * 5000, b"0x10", b"1_0", b"null", b"true"),
    *(b"{", b"}", b"[", b"]", b"[" * 200, b"&a ", b"*a", b"!!python/name:os.system ", b"<<: "),
    *(b"../", b"/", b"a" * 300, b"\x00\x00\x00\x00", b"\x7f\xff\xff\xff", b"---\n", b"=1+1"),
]
TEXTS = st.text(max_size=30) | st.sampled_from([word.decode("latin-1") for word in WORDS])
PLAIN = (
    st.none() | st.booleans() | st.integers() | st.floats() | TEXTS
    | st.sampled_from([0, 1, -1, 2**31, 2**63, 10**30, 0.5, 1e308, [], {}, [[]]])
)  # fmt: skip
ANYTHING = st.recursive(
    PLAIN, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4)
)


def mangled(content: bytes, words: Sequence[bytes] = WORDS) -> st.SearchStrategy[bytes]:
    """A file with up to four stretches of it replaced, lost or doubled, or words put in."""
    edit = st.tuples(
        st.integers(0, len(content)),
        st.integers(-12, 12) | st.integers(-len(content), len(content)),
        st.binary(max_size=6) | st.sampled_from(list(words)),
    )

    def edited(edits: list[tuple[int, int, bytes]]) -> bytes:
        found = content
        for start, length, word in edits:
            found = found[:start] + word + found[max(0, start + length) :]
        return found

    return st.lists(edit, min_size=1, max_size=4).map(edited)


@st.composite
def altered(draw: st.DrawFn, tree: Any, values: st.SearchStrategy = ANYTHING) -> Any:
    """A tree of mappings and lists with up to three of its values or keys changed."""
    made = json.loads(json.dumps(tree))
    for _ in range(draw(st.integers(1, 3))):
        at = made
        while True:
            keys = list(at) if isinstance(at, dict) else list(range(len(at)))
            if not keys:
                break
            key = draw(st.sampled_from(keys))
            deeper = isinstance(at[key], dict | list) and at[key]
            if deeper and draw(st.integers(0, 3)):
                at = at[key]
                continue
            how = draw(st.integers(0, 5))
            if how == 0:
                del at[key]
            elif how == 1 and isinstance(at, dict):
                at[draw(TEXTS)] = at.pop(key)
            else:
                at[key] = draw(values)
            break
    return made


@contextmanager
def bounded() -> Iterator[None]:
    """One case with bounds: a hang is an error and so is a great allocation."""

    def late(*_: object) -> None:
        raise AssertionError(f"{SECONDS} s of the processor for one case")

    before = signal.signal(signal.SIGVTALRM, late)
    limits = resource.getrlimit(resource.RLIMIT_AS)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, limits[1]))
    signal.setitimer(signal.ITIMER_VIRTUAL, SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        resource.setrlimit(resource.RLIMIT_AS, limits)
        signal.signal(signal.SIGVTALRM, before)


def one_line(message: str) -> None:
    """It is a line that a person reads."""
    shown = line(message, LONGEST)
    assert shown.strip()
    assert len(shown.splitlines()) == 1


class World:
    """What stands behind the doors, each made when it is first asked for."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def folder(self, name: str) -> Path:
        made = self.root / name
        made.mkdir(parents=True, exist_ok=True)
        return made

    @cached_property
    def arrays(self) -> Path:
        folder = self.folder("arrays")
        np.save(folder / "trainingset.npy", random_images(3, (4, 4)))
        np.save(folder / "testingset.npy", random_images(3, (4, 4), seed=1))
        return folder

    @cached_property
    def pictures(self) -> Path:
        folder = self.folder("pictures")
        for name, image in zip(("a.png", "b.png", "ä.png"), random_images(3, (4, 4)), strict=True):
            Image.fromarray(image).save(folder / name)
        return folder

    @cached_property
    def training(self) -> dict[str, bytes]:
        """The files of a trained model with its evaluation."""
        from tracking_world import write_world

        from clarity.layout import Training
        from clarity.score.detector import Files

        write_world(self.root, {"pca-3": {"family": "pca", "latent": 3}})
        self.files = Files.of_training(Training("pca-3", 0), self.root)
        return {name: getattr(self.files, name).read_bytes() for name in self.files.__dict__}

    @cached_property
    def server(self) -> Any:
        """The application that `clarity serve` runs."""
        import mlflow
        from mlflow.pyfunc import scoring_server

        from clarity.score.refusals import Refusals
        from clarity.score.signature import signature

        assert self.training
        model = self.root / "model"
        mlflow.pyfunc.save_model(
            str(model),
            python_model=str(ROOT / "src/clarity/score/pyfunc_model.py"),
            artifacts={name: str(getattr(self.files, name)) for name in self.files.__dict__},
            signature=signature(),
            pip_requirements=[],
        )
        app = scoring_server.init(mlflow.pyfunc.load_model(str(model)))
        app.add_middleware(Refusals)
        return app

    @cached_property
    def store(self) -> Any:
        from clarity.store import open_store

        (self.root / "dvc.yaml").touch()
        return open_store(self.root)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    made, before = World(tmp_path_factory.mktemp("world")), Path.cwd()
    os.chdir(made.root)
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        patch.delenv("DVC_ROOT", raising=False)
        yield made
    os.chdir(before)


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


# -- what a training and the registry left --------------------------------------------------------


@st.composite
def tensors(draw: st.DrawFn, content: bytes) -> bytes:
    """A safetensors file with another header that is as long as it says."""
    end = 8 + int.from_bytes(content[:8], "little")
    tree = json.loads(content[8:end])
    inner = tree.get("__metadata__", {})
    if "scorer" in inner and draw(st.booleans()):
        inner["scorer"] = json.dumps(draw(altered(json.loads(inner["scorer"]))))
    else:
        tree = draw(altered(tree, ANYTHING | st.sampled_from(["F32", "F64", "I8", [3], [0, 0]])))
    header = json.dumps(tree).encode()
    return len(header).to_bytes(8, "little") + header + content[end:]


@st.composite
def trainings(draw: st.DrawFn, whole: Mapping[str, bytes]) -> tuple[str, bytes]:
    """One of the four files of a detector, and what is in it instead."""
    name = draw(st.sampled_from(list(whole)))
    content = whole[name]
    if draw(st.booleans()):
        return name, draw(mangled(content))
    if name in ("weights", "scorer"):
        return name, draw(tensors(content))
    return name, json.dumps(draw(altered(json.loads(content)))).encode()


def read_training(world: World, case: tuple[str, bytes]) -> None:
    from clarity.score.detector import Detector

    name, content = case
    path = getattr(world.files, name)
    path.write_bytes(content)
    try:
        detector = Detector.load(world.files)
        verdict = detector.judge(random_images(2, detector.shape.stored[:2]), reconstruct=True)
        assert not np.isnan(verdict.score).any()
    finally:
        path.write_bytes(world.training[name])


HISTORY = [
    {"time": "2026-01-01T00:00:00+00:00", "who": "Ada", "event": "register", "alias": None,
     "from": None, "to": None, "why": "published", "numbers": {}, "identities": {"1": "a" * 64}},
    {"time": "2026-01-01T00:00:01+00:00", "who": "Ada", "event": "promote", "alias": "champion",
     "from": None, "to": 1, "why": "the first", "numbers": {"gate_split": "ab"},
     "identities": {"1": "a" * 64}},
    {"time": "2026-01-02T00:00:00+00:00", "who": "Ada", "event": "rollback", "alias": "champion",
     "from": 2, "to": 1, "why": "no", "numbers": {"gate_split": "ab"}, "identities": {}},
]  # fmt: skip


def lines(entries: Sequence[Any]) -> bytes:
    return "".join(f"{json.dumps(entry)}\n" for entry in entries).encode()


def read_history(world: World, case: bytes) -> None:
    from clarity.registry.history import History

    path = world.folder("registry") / "history.jsonl"
    path.write_bytes(case)
    found = History(path)
    _ = found.numbers, found.champions, found.withdrawn, found.aliases
    found.asked("abc", {1: "a" * 64})
    assert found.question("abc", {1: "a" * 64}) >= 1


# -- requests, names, addresses -------------------------------------------------------------------


PICTURE = b64encode(pictures()[0]).decode()


def request() -> tuple[str, bytes]:
    return "application/json", json.dumps(FRAME).encode()


FRAME = {"dataframe_split": {"columns": ["image"], "data": [[PICTURE]]}}


def requests() -> st.SearchStrategy[tuple[str, bytes]]:
    picture = PICTURE
    rows = st.lists(ANYTHING | st.just([picture]) | st.just({"image": picture}), max_size=3)
    forms = st.fixed_dictionaries(
        {},
        optional={
            "dataframe_split": st.fixed_dictionaries(
                {"columns": st.just(["image"]) | ANYTHING, "data": rows | ANYTHING}
            )
            | ANYTHING,
            "dataframe_records": rows | ANYTHING,
            "inputs": ANYTHING | st.just({"image": [picture]}),
            "instances": ANYTHING,
            "params": st.dictionaries(
                st.sampled_from(["return_reconstruction", "return_error_map", "x"]), PLAIN
            )
            | ANYTHING,
        },
    )
    bodies = (
        forms.map(lambda made: json.dumps(made).encode())
        | altered(FRAME).map(lambda made: json.dumps(made).encode())
        | mangled(json.dumps(FRAME).encode())
        | mangled(f"image\n{picture}\n".encode())
    )
    kinds = ["application/json", "application/json; charset=utf-8", "text/csv", "image/png", ""]
    types = st.sampled_from(kinds) | st.text(st.characters(max_codepoint=126, min_codepoint=32))
    return st.tuples(st.sampled_from(kinds[:1]) | types, bodies)


def send_request(world: World, case: tuple[str, bytes]) -> None:
    import httpx

    async def asked() -> httpx.Response:
        transport = httpx.ASGITransport(world.server)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
            headers = {"Content-Type": case[0]}
            return await client.post("/invocations", content=case[1], headers=headers)

    # In a thread: whoever had a browser before in this process has left a loop running in this one.
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(lambda: asyncio.run(asked())).result()
    assert answer.status_code < 500, answer.text[:500]
    if answer.status_code >= 400:
        one_line(answer.json()["message"])


def find_alias(world: World, case: str) -> None:
    from clarity.score.registered import find_version

    try:
        find_version(world.store, "clarity", case)
    except ClarityError as error:
        one_line(str(error))


def open_path(world: World, case: str) -> None:
    from clarity.score.sources import Reading, open_source

    # Not a whole file system: that is the user's wish, however long it takes.
    name = case.replace("\0", "").replace("..", "").lstrip("/")
    found = open_source(world.pictures / name)
    found.reading = Reading(SHAPE)
    found.read(0, 10)


def name_store(world: World, case: str) -> None:
    from clarity.address import tracking_uri

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", case.replace("\0", ""))
        tracking_uri(world.root)


@dataclass(frozen=True)
class Door:
    """Something that reads what others wrote.

    Attributes:
        good: what it takes.
        cases: the strategy of what comes; made when there is a world.
        enter: reads it; what it raises is looked at.
        finds: what once went wrong.
    """

    good: Callable[[World], Any]
    cases: Callable[[World], st.SearchStrategy]
    enter: Callable[[World, Any], None]
    finds: Sequence[Any] = ()


def of_bytes(good: bytes, enter: Callable[[World, Any], None], *finds: bytes) -> Door:
    return Door(lambda _: good, lambda _: mangled(good), enter, finds)


NAMES = TEXTS | st.text(st.characters(codec=None), max_size=20) | st.integers().map(str)
SCHEMES = ["", "http://", "https:", "sqlite:///", "sqlite:", "file:", "postgres://", "uc"]
ADDRESSES = st.tuples(st.sampled_from(SCHEMES), TEXTS).map("".join)
DOORS = {
    "params.yaml": Door(
        lambda _: PARAMS, lambda _: parameters(), read_parameters, [LAUGHS.encode() + PARAMS]
    ),
    "npy": Door(
        lambda _: array(),
        lambda _: arrays(),
        read_arrays,
        [
            # A header that Python's tokenizer gives up; sides below nothing; 10**30 of them.
            b"\x93NUMPY\x01\x005\x00'descr': '|u1', 'fortran_order': False, 'shape': ()}\n",
            headed("|u1", (-2, 8, -8, 3)) + bytes(384),
            headed("|u1", (10**30, 8, 8, 3)),
            headed("|u1", (2, 8, 8, 3)).replace(b"False", b"{[]:1}"),
        ],
    ),
    "npz": of_bytes(archive(), read_archives, archive()[1:], archive()[:200] + archive()[203:]),
    "pictures": Door(lambda _: pictures()[0], lambda _: encoded(), read_pictures),
    "labels": of_bytes(LABELS, read_labels),
    "table": of_bytes(TABLE, read_tables, b"path\n" + b"a/" * 3000 + b"a.png\n"),
    "parquet": of_bytes(parquet(), read_parquet),
    "answers": of_bytes(
        ANSWERS, read_answers, ANSWERS.replace(b"ada,1,", b"ada," + b"1" * 5000 + b",")
    ),
    "trainings": Door(
        lambda world: ("details", world.training["details"]),
        lambda world: trainings(world.training),
        read_training,
    ),
    "history": Door(
        lambda _: lines(HISTORY),
        lambda _: mangled(lines(HISTORY)) | st.lists(altered(HISTORY[1])).map(lines),
        read_history,
    ),
    "requests": Door(lambda _: request(), lambda _: requests(), send_request),
    "aliases": Door(lambda _: "1", lambda _: NAMES, find_alias),
    "paths": Door(lambda _: "a.png", lambda _: NAMES, open_path),
    "addresses": Door(
        lambda _: "http://127.0.0.1:5000",
        lambda _: ADDRESSES,
        name_store,
        ["sqlite:///" + "9" * 5000, "sqlite:///~nobody-of-that-name/x"],
    ),
}
SETTINGS: dict[str, Any] = {
    "deadline": None,
    "database": None,
    "suppress_health_check": list(HealthCheck),
    "print_blob": False,
}


def opened(name: str, world: World) -> tuple[Door, Callable[..., None]]:
    """A door that lets in what is good, and a test of one other case."""
    door = DOORS[name]
    door.enter(world, door.good(world))  # imports on the way, which no bounds are meant for

    def enter(case: Any) -> None:
        with bounded():
            try:
                door.enter(world, case)
            except ClarityError as error:
                one_line(str(error))

    return door, given(door.cases(world))(enter)


@pytest.mark.parametrize("name", DOORS)
def test_what_is_malformed_is_refused_in_one_line(name: str, world: World) -> None:
    door, test = opened(name, world)
    for find in door.finds:
        test = example(find)(test)
    settings(max_examples=FEW, derandomize=True, **SETTINGS)(test)()


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("name", DOORS)
def test_many_that_are_malformed_are_refused_in_one_line(name: str, world: World) -> None:
    _, test = opened(name, world)
    phases = [Phase.generate, Phase.shrink]
    test = settings(max_examples=AT_ONCE, phases=phases, **SETTINGS)(test)
    minutes = float(os.environ.get("CLARITY_DOOR_MINUTES", "1"))
    number = int(os.environ.get("CLARITY_DOOR_SEED", "0"))
    end, tried = time.monotonic() + 60 * minutes, 0
    while tried < MANY and time.monotonic() < end:
        print(f"{name}: CLARITY_DOOR_SEED={number}", flush=True)
        seed(number)(test)()
        number, tried = number + 1, tried + AT_ONCE
    print(f"{name}: {tried} cases")
