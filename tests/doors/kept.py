"""Doors for what a training and the registry left, and for requests, names and addresses."""

from __future__ import annotations

import asyncio
import json
from base64 import b64encode
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from behind import World
from brought import pictures
from data_helpers import SHAPE, random_images
from hypothesis import strategies as st
from malformed import ANYTHING, PLAIN, altered, mangled, one_line

from clarity.errors import ClarityError

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
