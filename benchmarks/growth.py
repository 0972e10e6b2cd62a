"""What a store with many runs, and a comparison of many models, cost: time, memory, page size.

    python benchmarks/growth.py [--runs 1000 --runs 10000] [--models 2 --models 8 --models 32]

On the tests' small project. Runs and versions are copies of its own, each a training with another
fingerprint that a later one took the place of; models are copies of its own under other names. How
images grow is in `data.py`.
"""

from __future__ import annotations

import json
import shutil
import sqlite3
import sys
import tempfile
import uuid
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Annotated, Any

import typer
from figures import Figure, save, show
from ruamel.yaml import YAML

from data import measure

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests"))
from project import Project, make_project  # noqa: E402

from clarity.score.registered import TAG_FINGERPRINT  # noqa: E402
from clarity.tracking import keys  # noqa: E402

Row = dict[str, Any]


class Store:
    """MLflow's tables, of which rows are copied."""

    def __init__(self, path: Path) -> None:
        self.db = sqlite3.connect(path)

    def rows(self, table: str, **where: object) -> list[Row]:
        names = [row[1] for row in self.db.execute(f'PRAGMA table_info("{table}")')]
        asked = " AND ".join(f'"{name}" = ?' for name in where) or "1"
        query = f'SELECT * FROM "{table}" WHERE {asked}'  # noqa: S608
        found = self.db.execute(query, tuple(where.values()))
        return [dict(zip(names, row, strict=True)) for row in found]

    def copy(self, table: str, where: Row, change: Callable[[Row], Row]) -> None:
        """Copies of the rows for which ``where`` holds, changed."""
        new = [tuple((row | change(row)).values()) for row in self.rows(table, **where)]
        if new:
            places = ",".join("?" * len(new[0]))
            self.db.executemany(f'INSERT INTO "{table}" VALUES ({places})', new)  # noqa: S608


def grow(path: Path, count: int) -> None:
    """Copy runs, and the versions that were made of them, until there are so many runs."""
    store = Store(path)
    with closing(store.db), store.db:
        current = {row["run_uuid"] for row in store.rows("tags", key=keys.CURRENT, value="true")}
        made = [row["run_uuid"] for row in store.rows("tags", key=TAG_FINGERPRINT)]
        trainings = [run for run in made if run in current]
        number = max(row["version"] for row in store.rows("model_versions"))
        (there,) = store.db.execute("SELECT count(*) FROM runs").fetchone()
        for turn in range(count - there):
            old, new, other = trainings[turn % len(trainings)], uuid.uuid4().hex, uuid.uuid4().hex
            said = {TAG_FINGERPRINT: 2 * other, keys.CURRENT: "false"}

            def renamed(row: Row, new: str = new, said: dict[str, str] = said) -> Row:
                value = {"value": said.get(row["key"], row["value"])} if "key" in row else {}
                return {"run_uuid": new} | value

            for table in ("runs", "params", "latest_metrics", "metrics", "tags"):
                store.copy(table, {"run_uuid": old}, renamed)
            mark = (keys.SUPERSEDED_BY, old, new)
            store.db.execute("INSERT INTO tags (key, value, run_uuid) VALUES (?, ?, ?)", mark)
            for version in store.rows("model_versions", run_id=old):
                number += 1
                place = {"name": version["name"], "version": version["version"]}
                store.copy("model_versions", place, _always(version=number, run_id=new))
                store.copy("model_version_tags", place, _always(version=number))


def _always(**values: object) -> Callable[[Row], Row]:
    return lambda _: values


def multiplied(project: Project, count: int) -> None:
    """Give params.yaml so many models: copies of the first one's files under other names."""
    path = project.path / "params.yaml"
    content = YAML(typ="safe").load(path)
    first, spec = next(iter(content["models"].items()))
    names = [f"{spec['family']}-copy{number}" for number in range(count)]
    for name in names:
        for folder in ("models", "evaluations"):
            place = project.path / folder / f"{name}-0"
            shutil.copytree(project.path / folder / f"{first}-0", place)
            for file in place.glob("*.json"):
                content_of = json.loads(file.read_text())
                if content_of.get("model") == first:
                    file.write_text(json.dumps(content_of | {"model": name}))
    content["models"] = dict.fromkeys(names, spec)
    YAML().dump(content, path)


def main(
    runs: Annotated[list[int] | None, typer.Option(help="Runs in the store.")] = None,
    models: Annotated[list[int] | None, typer.Option(help="Models that are compared.")] = None,
    out: Annotated[Path | None, typer.Option(help="Figures as JSON.")] = None,
) -> None:
    """Measure and print a table."""
    figures: list[Figure] = []

    def note(project: Project, name: str, said: str) -> None:
        seconds, memory = measure(name, project.path, project.environment)
        figures.append(Figure(what=f"clarity {name}, {said}", value=seconds, unit="s"))
        figures.append(Figure(what="its memory", value=memory / 1e6, unit="MB"))

    with tempfile.TemporaryDirectory() as folder:
        done = make_project(Path(folder) / "project")
        done.repro()
        for count in models or [2, 8, 32]:
            copy = done.copy(Path(folder) / f"models-{count}")
            multiplied(copy, count)
            note(copy, "compare", f"{count} models")
            size = (copy.path / "reports/index.html").stat().st_size / 1e6
            figures.append(Figure(what="its page", value=size, unit="MB"))
        note(done, "publish", "nothing new, a store of its own runs")
        for count in runs or [1000, 10_000]:
            grow(done.path / "mlruns/mlflow.db", count)
            note(done, "publish", f"with {count:,} runs in the store")
    show("Growth", figures)
    save(out, figures)


if __name__ == "__main__":
    typer.run(main)
