"""Every command that README and docs name exists, with its sub-commands and options.

What can be run is run by tests/docs/test_docs_run.py.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from functools import cache
from typing import Any

import typer
from documented import PAGES, ROOT, commands, excused

#: Programs of the system, whose options are not looked up.
SYSTEM = {"base64", "cd", "curl", "export", "git", "rm", "sed", "source", "tr", "cat"}
EVERY = [command for page in PAGES for command in commands(page)]


def click_problem(command: Any, words: list[str]) -> str:
    """What a command of click's does not know of these words; empty if it knows all."""
    while words and (commands := getattr(command, "commands", None)):  # click's, or typer's copy
        found = commands.get(words[0])
        if found is None:
            return f"no sub-command {words[0]!r}"
        command, words = found, words[1:]
    known = {name for one in command.params for name in (*one.opts, *one.secondary_opts)}
    unknown = [w for w in words if w.startswith("-") and w.split("=")[0] not in known]
    return f"no option {unknown[0]}" if unknown else ""


def typer_problem(function: object, words: list[str]) -> str:
    app = typer.Typer(add_completion=False)
    app.command()(function)  # type: ignore[arg-type, type-var]
    return click_problem(typer.main.get_command(app), words)


def dvc_problem(words: list[str]) -> str:
    """Walks argparse's own tables: parsing would refuse a command named without its arguments."""
    from dvc.cli.parser import get_main_parser

    parser = get_main_parser()
    while True:
        chosen = next((a.choices for a in parser._actions if isinstance(a.choices, dict)), {})
        known = {name for action in parser._actions for name in action.option_strings}
        for place, word in enumerate(words):
            if word.startswith("-"):
                if word.split("=")[0] not in known:
                    return f"no option {word}"
            elif chosen:
                if word not in chosen:
                    return f"no sub-command {word!r}"
                parser, words = chosen[word], words[place + 1 :]
                break
        else:
            return ""


@cache
def prefect_help(words: tuple[str, ...]) -> str:
    program = [sys.executable, "-m", "prefect", *words, "--help"]
    wide = {**os.environ, "COLUMNS": "200", "DO_NOT_TRACK": "1"}
    done = subprocess.run(program, capture_output=True, text=True, env=wide)
    return done.stdout if done.returncode == 0 else ""


def prefect_problem(words: list[str]) -> str:
    names = []
    for word in words:
        if not re.fullmatch(r"[a-z][a-z-]*", word):
            break
        names.append(word)
    shown = prefect_help(tuple(names))
    if not shown or (len(names) > 1 and f" {names[-1]} " not in prefect_help(tuple(names[:-1]))):
        return f"no such sub-command: {' '.join(names)}"
    options = [word.split("=")[0] for word in words if word.startswith("-")]
    unknown = [name for name in options if not re.search(rf"(?<!\S){name}\b", shown)]
    return f"no option {unknown[0]}" if unknown else ""


def python_problem(words: list[str]) -> str:
    if words == ["-m", "pipelines"]:
        return ""
    if words[:2] == ["-m", "pipelines"]:  # a command of it is a module below it
        words = ["-m", f"pipelines.{words[2]}", *words[3:]]
    if words[:1] == ["-m"] and words[1].startswith("pipelines."):
        name = words[1]
        if not (ROOT / f"{name.replace('.', '/')}.py").is_file():
            return f"no module {name}"
        import importlib

        return typer_problem(importlib.import_module(name).main, words[2:])
    script = ROOT / words[0]
    if not script.is_file():
        return f"no file {words[0]}"
    unknown = [w for w in words[1:] if w.startswith("-") and f'"{w}"' not in script.read_text()]
    return f"no option {unknown[0]}" if unknown else ""


def mlflow_problem(words: list[str]) -> str:
    from mlflow.cli import cli

    return click_problem(cli, words)


def clarity_problem(words: list[str]) -> str:
    from clarity.cli import app

    return click_problem(typer.main.get_command(app), words)


def make_problem(words: list[str]) -> str:
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    unknown = [word for word in words if word not in targets]
    return f"no target {unknown[0]}" if unknown else ""


LOOK_UP = {
    "clarity": clarity_problem,
    "dvc": dvc_problem,
    "make": make_problem,
    "mlflow": mlflow_problem,
    "prefect": prefect_problem,
    "python": python_problem,
}


def problem(text: str) -> str:
    """What is wrong with a command line, of one program or several; empty if nothing is."""
    lexer = shlex.shlex(text, posix=True, punctuation_chars="|&;")
    lexer.whitespace_split = True
    line: list[str] = []
    for word in [*lexer, "&&"]:
        if word not in ("|", "&&", ";", "||"):
            line.append(word)
            continue
        while line and re.match(r"[A-Z_]+=", line[0]):
            line = line[1:]
        if "<" in line:
            line = line[: line.index("<")]
        if line:
            program, words = line[0].rpartition("/")[2], line[1:]
            if program in LOOK_UP:
                found = LOOK_UP[program](words)
                if found:
                    return f"{program}: {found}"
            elif program not in SYSTEM:
                return f"{program}: no such program"
        line = []
    return ""


def test_every_command_of_the_docs_exists_with_its_options() -> None:
    assert len(EVERY) > 150
    wrong = {f"{one}: {one.text}": found for one in EVERY if (found := problem(one.text))}
    assert wrong == {}


def test_the_look_up_finds_what_is_wrong() -> None:
    for text in (
        "clarity scoer x",
        "clarity score x --modell 3",
        "dvc exp shw",
        "dvc exp show --narrow",
        "make everything",
        "prefect deployment rum x/y",
        "prefect deployment run x/y --atonce",
        "python -m pipelines.nothing",
        "python -m pipelines nothing",
        "python -m pipelines.reproduce --maxparallel 2",
        "mlflow servers",
        "frobnicate x | tr -d y",
    ):
        assert problem(text), text


def test_what_is_not_run_says_why_and_is_there() -> None:
    for page in PAGES:
        assert excused(page).keys() <= {one.text for one in commands(page)}, page
