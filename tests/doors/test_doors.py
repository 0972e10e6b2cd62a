"""Every door through which something comes that others wrote: refused in one line, or accepted.

By default each door gets a few made-up cases, the same ones always, and what was ever found. `make
test-all` gives each 100,000 (CLARITY_DOOR_CASES), made of random bytes: hypothesis's own search
takes half as long again, for shorter finds. A find says the CLARITY_DOOR_SEED that begins with it.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from behind import World
from brought import (
    ANSWERS,
    LABELS,
    LAUGHS,
    PARAMS,
    TABLE,
    archive,
    array,
    arrays,
    encoded,
    headed,
    parameters,
    parquet,
    pictures,
    read_answers,
    read_archives,
    read_arrays,
    read_labels,
    read_parameters,
    read_parquet,
    read_pictures,
    read_tables,
)
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from kept import (
    HISTORY,
    find_alias,
    lines,
    name_store,
    open_path,
    read_history,
    read_training,
    request,
    requests,
    send_request,
    trainings,
)
from malformed import TEXTS, altered, bounded, mangled, one_line

from clarity.errors import ClarityError

FEW, MANY = 40, 100_000
#: Of which a case is made; a door whose cases ask for more now and then has fewer.
BYTES = 2000


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    made, before = World(tmp_path_factory.mktemp("world")), Path.cwd()
    os.chdir(made.root)
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        patch.delenv("DVC_ROOT", raising=False)
        yield made
    os.chdir(before)


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
    "table": of_bytes(
        TABLE,
        read_tables,
        b"path\n" + b"a/" * 3000 + b"a.png\n",
        TABLE.replace(b"path", b"path\r"),
        TABLE.replace(b"\n", b"\r"),
    ),
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
        lambda _: mangled(lines(HISTORY)) | st.lists(altered(HISTORY[1]), max_size=3).map(lines),
        read_history,
    ),
    "requests": Door(lambda _: request(), lambda _: requests(), send_request),
    "aliases": Door(lambda _: "1", lambda _: NAMES, find_alias),
    "paths": Door(lambda _: "a.png", lambda _: NAMES, open_path, ["\ud800"]),
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


def opened(name: str, world: World) -> tuple[Door, Any]:
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
@pytest.mark.filterwarnings("ignore")  # of a hundred thousand, each would be kept
@pytest.mark.parametrize("name", DOORS)
def test_many_that_are_malformed_are_refused_in_one_line(name: str, world: World) -> None:
    _, test = opened(name, world)
    enter = settings(**SETTINGS)(test).hypothesis.fuzz_one_input
    first = number = int(os.environ.get("CLARITY_DOOR_SEED", "0"))
    tried, wanted = 0, int(os.environ.get("CLARITY_DOOR_CASES", MANY))
    while tried < wanted:
        try:
            tried += enter(random.Random(number).randbytes(BYTES)) is not None
        except Exception as error:
            error.add_note(f"{name}: CLARITY_DOOR_SEED={number}")
            raise
        number += 1
        assert number - first < 2 * wanted + 100, f"{tried} cases of {number - first}"
