"""What parsers stumble over, trees and files with faults, and the bounds of one case."""

from __future__ import annotations

import copy
import json
import resource
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from clarity.names import LONGEST, line

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
                # A copy: what was drawn once may be drawn again, to stand within itself.
                at[key] = copy.deepcopy(draw(values))
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
