"""``registry/history.jsonl``: every version's number and every move of an alias, kept in git.

One JSON object a line, oldest first. The file is the registry's memory: MLflow's store can be
deleted and refilled from it (`clarity backfill`), and who was champion before is read here.
"""

from __future__ import annotations

import getpass
import json
import subprocess
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from clarity.errors import ClarityError
from clarity.files import write_text
from clarity.layout import HISTORY

Event = Literal["register", "promote", "challenge", "rollback", "adopt"]
#: Events that move an alias.
MOVES = ("promote", "challenge", "rollback", "adopt")
CHAMPION = "champion"
CHALLENGER = "challenger"


class Entry(BaseModel):
    """One line of the history.

    ``register``: a version got its number. ``promote``, ``rollback``: the champion changed.
    ``challenge``: a version did not pass the gate and got the alias ``challenger``. ``adopt``: an
    alias was found where somebody had put it by hand.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    #: UTC, ISO 8601, to the second.
    time: str
    who: str
    event: Event
    alias: str | None = None
    #: Version numbers; null where there is none.
    before: int | None = Field(default=None, alias="from")
    after: int | None = Field(default=None, alias="to")
    why: str
    numbers: dict[str, Any] = {}
    #: Version number (as text, JSON's keys) to identity: SHA-256 of weights and evaluation.
    identities: dict[Annotated[str, Field(pattern=r"^[0-9]{1,9}$")], str] = {}

    def line(self) -> str:
        """The entry as one line of JSON."""
        return json.dumps(self.model_dump(by_alias=True), sort_keys=True, allow_nan=False)


def entry(
    event: Event,
    why: str,
    *,
    alias: str | None = None,
    before: int | None = None,
    after: int | None = None,
    numbers: dict[str, Any] | None = None,
    identities: dict[int, str] | None = None,
) -> Entry:
    """A new entry, of now and of this user."""
    return Entry.model_validate(
        {
            "time": datetime.now(UTC).isoformat(timespec="seconds"),
            "who": who(),
            "event": event,
            "alias": alias,
            "from": before,
            "to": after,
            "why": " ".join(why.split()),
            "numbers": numbers or {},
            "identities": {str(number): digest for number, digest in (identities or {}).items()},
        }
    )


def who() -> str:
    """Git's ``user.name``, else the login name, else ``unknown``."""
    try:
        found = subprocess.run(
            ["git", "config", "user.name"], capture_output=True, text=True, timeout=10, check=False
        )
        if name := found.stdout.strip():
            return name
    except OSError:
        pass
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown"


class History:
    """The entries of a file, and what follows from them."""

    def __init__(self, path: Path = HISTORY) -> None:
        self.path = path
        self.entries = _read(path)

    def append(self, new: Iterable[Entry]) -> None:
        """Add entries at the end, all or none. Hold the registry's lock."""
        added = list(new)
        if not added:
            return
        self.entries = [*self.entries, *added]
        write_text(self.path, "".join(f"{one.line()}\n" for one in self.entries))

    @property
    def numbers(self) -> dict[int, str]:
        """Version number → identity, of every version that ever got a number."""
        return {
            int(number): digest
            for one in self.entries
            if one.event == "register"
            for number, digest in one.identities.items()
        }

    @property
    def champions(self) -> list[int]:
        """Who was champion, oldest first, the present one last.

        A promotion puts a version on top, a rollback takes the top away: rolling back twice goes
        back two champions.
        """
        stack: list[int] = []
        for one in self.entries:
            if one.alias != CHAMPION or one.after is None:
                continue
            if one.event == "rollback":
                while stack and stack[-1] != one.after:
                    stack.pop()
            if not stack or stack[-1] != one.after:
                stack.append(one.after)
        return stack

    @property
    def withdrawn(self) -> set[int]:
        """Versions that were rolled back and not promoted again since."""
        gone: set[int] = set()
        for one in self.entries:
            if one.alias != CHAMPION:
                continue
            if one.event == "rollback" and one.before is not None:
                gone.add(one.before)
            if one.after is not None:
                gone.discard(one.after)
        return gone

    def asked(self, gate_split: str, pair: dict[int, str]) -> bool:
        """Whether these people have been asked about this pair last, and nothing moved since."""
        last = next((one for one in reversed(self.entries) if one.event in MOVES), None)
        return (
            last is not None
            and last.event == "challenge"
            and _about(last, gate_split)
            and set(last.identities.values()) == set(pair.values())
        )

    def question(self, gate_split: str, pair: dict[int, str]) -> int:
        """Which question to the people of a gate split one about this pair is, from 1 on.

        Asking about the same pair again is the same question: the same data, the same answer.
        """
        pairs = [
            frozenset(one.identities.values()) for one in self.entries if _about(one, gate_split)
        ]
        before = list(dict.fromkeys(pairs))
        this = frozenset(pair.values())
        return before.index(this) + 1 if this in before else len(before) + 1

    def alias(self, name: str) -> int | None:
        """Where the history says an alias stands."""
        for one in reversed(self.entries):
            if one.alias == name:
                return one.after
        return None

    @property
    def aliases(self) -> dict[str, int]:
        """Every alias and the version it stands at."""
        names = {one.alias for one in self.entries if one.alias}
        return {name: at for name in sorted(names) if (at := self.alias(name)) is not None}


def _about(one: Entry, gate_split: str) -> bool:
    split = one.numbers.get("gate_split")
    return bool(split) and gate_split.startswith(str(split))


def _read(path: Path) -> list[Entry]:
    if not path.is_file():
        return []
    entries = []
    for number, line in enumerate(path.read_bytes().splitlines(), start=1):
        if not line.strip():
            continue
        try:
            entries.append(Entry.model_validate_json(line))
        except ValidationError as error:
            problem = error.errors(include_url=False)[0]
            where = ".".join(str(part) for part in problem["loc"]) or "line"
            raise ClarityError(
                f"{path}:{number}: {where}: {problem['msg']}; restore the file with "
                f"`git checkout -- {path}` (after a merge, keep both sides' lines in time order)"
            ) from None
    return entries


def show(path: Path = HISTORY, *, registrations: bool = False) -> None:
    """Print every move of an alias, oldest first; ``registrations`` adds the versions' numbers."""
    from rich.console import Console
    from rich.padding import Padding
    from rich.text import Text

    history = History(path)
    shown = [one for one in history.entries if registrations or one.event != "register"]
    console = Console(highlight=False)
    if not shown:
        console.print("No alias has moved yet; `clarity promote` chooses the first champion.")
        return
    for one in shown:
        what = f"{one.event} {one.alias}" if one.alias else one.event
        before, after = ("–" if end is None else str(end) for end in (one.before, one.after))
        when = one.time[:19].replace("T", " ")
        console.print(Text(f"{when} UTC  {what}: {before} → {after}  ({one.who})", style="bold"))
        # A reason is a sentence or three: on its own lines, in any width.
        console.print(Padding(Text(one.why), (0, 0, 1, 2)))
    standing = ", ".join(f"{name} is version {at}" for name, at in history.aliases.items())
    console.print(standing or "No alias stands.")
    for name, at in history.aliases.items():
        if note := _foreign(at):
            console.print(f"{name}, version {at}, {note}")


def _foreign(number: int) -> str:
    """What makes a version foreign to the workspace's data; empty where the store can't say."""
    from clarity.params import load_params
    from clarity.registry.reading import open_reader
    from clarity.score.foreign import foreign

    try:
        versions = open_reader(load_params().gate.name).versions()
        return next((foreign(one.tags) for one in versions if one.number == number), "")
    except ClarityError:
        return ""
