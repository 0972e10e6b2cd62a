"""What the pages show: fenced blocks, commands, and the marks that say which are not run.

A mark is a comment, which GitHub does not show, with the reason: directly above a block
``<!-- not run: REASON -->``, or anywhere on the page for commands that it names
``<!-- not run `make this`, `make that`: REASON -->``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
#: What a command begins with, where code stands in a table or in running text.
PROGRAMS = "clarity|dvc|prefect|mlflow|make|python|git|rm|source"

_FENCE = re.compile(
    r"(?:^<!-- not run: (?P<why>[^\n]+?) -->\n)?^```(?P<language>\w*)\n(?P<text>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
_EXCUSED = re.compile(r"<!-- not run (`[^:]+`): ([^\n]+?) -->")
_SPAN = re.compile(rf"`((?:{PROGRAMS}) [^`]+)`")
#: A word in capitals or dots, for which a reader puts something else.
_BLANK = re.compile(r"(?<![\w=:/.-])(?:[A-Z][A-Z-]*(?![\w=])|…)|[/=@]…|@[A-Z]+\b")


@dataclass(frozen=True)
class Command:
    """One command of a page, as a reader would type it."""

    page: Path
    line: int
    text: str
    #: Why it is not run; empty where it is.
    why_not: str

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


@dataclass(frozen=True)
class Block(Command):
    """A fenced block of a page: several commands, or code."""

    language: str


def blocks(page: Path, *languages: str) -> list[Block]:
    """A page's blocks in these languages, in order."""
    content = page.read_text()
    found = []
    for match in _FENCE.finditer(content):
        if match["language"] in languages:
            line = content.count("\n", 0, match.start("text")) + 1
            found.append(Block(page, line, match["text"], match["why"] or "", match["language"]))
    return found


def excused(page: Path) -> dict[str, str]:
    """Commands that the page's marks name, with the reason why they are not run."""
    return {
        command: why
        for named, why in _EXCUSED.findall(page.read_text())
        for command in re.findall("`([^`]+)`", named)
    }


def commands(page: Path) -> list[Command]:
    """A page's commands in order: of ``bash`` blocks, of tables and of running text.

    To be run are those of blocks and tables that leave no blank to fill in.
    """
    content = page.read_text()
    pardoned = excused(page)
    found = []
    for block in blocks(page, "bash"):
        at = block.line
        for text in re.split(r"(?<!\|)(?<!\\)\n", block.text.rstrip("\n")):
            bare = re.sub(r"\s+#.*", "", text)
            why = block.why_not or pardoned.get(bare, "")
            found.append(Command(page, at, bare, why))
            at += text.count("\n") + 1
    # Blocks are blanked, not taken out, so that lines keep their numbers.
    prose = _FENCE.sub(lambda match: "\n" * match[0].count("\n"), content)
    prose = re.sub("<!--.*?-->", "", prose)
    for number, line in enumerate(prose.splitlines(), start=1):
        for text in _SPAN.findall(line):
            why = pardoned.get(text, "")
            if not line.startswith("|"):
                why = why or "in running text"
            elif _BLANK.search(text):
                why = why or "a blank to fill in"
            found.append(Command(page, number, text, why))
    return sorted(found, key=lambda one: one.line)
