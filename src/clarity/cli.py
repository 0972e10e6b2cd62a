"""``clarity …``: the command line. Thin: each command imports what it needs when it is called."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from clarity.errors import ClarityError
from clarity.names import LONGEST, line
from clarity.redact import redact
from clarity.workspace import own_source

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Does a larger autoencoder reconstruct more clearly, and is it the better detector?",
)

Model = Annotated[str, typer.Argument(help="A key of `models` in params.yaml.")]
Seed = Annotated[int, typer.Argument(help="One of `seeds` in params.yaml.")]
ModelName = Annotated[str, typer.Option(help="Alias or version of the registered model.")]
#: Commands about a project's store, which another may be named for, and about the project itself.
STORED = {"ui", "serve", "score", "lineage"}
PROJECT = {"promote", "rollback", "backfill", "history", "restore", "answer", "eye", "verify", "gc"}
#: Commands that only tell, and take no path: asked below a project's folder, they speak of it.
FROM_BELOW = {"history", "lineage"}
STAGES = "Stages (DVC runs these)"
#: Commands that load torch and compute.
COMPUTING = {"train", "evaluate", "ensemble", "compare", "promote", "score", "serve"}
REGISTRY = "Registry"


@app.callback()
def project_first(context: typer.Context) -> None:
    """Refuse what speaks of a project where there is none, before anything is made there."""
    from clarity.address import VARIABLE, project_root
    from clarity.layout import GRAPH
    from clarity.processes import end_with_starter, follows

    if follows():  # it ends with the process that leads
        return
    end_with_starter()
    command = context.invoked_subcommand
    stored = command in STORED and os.environ.get(VARIABLE)
    if command not in {*STORED, *PROJECT} or os.environ.get("DVC_ROOT"):
        return
    root = project_root()
    if command in FROM_BELOW and root != Path.cwd():
        os.chdir(root)
    if not stored and not (root / GRAPH).is_file():
        either = f", or name a store in {VARIABLE}" if command in STORED else ""
        raise ClarityError(
            f"{Path.cwd()}: no project here (no {GRAPH} here or above); go to its folder{either}"
        )


@app.command()
def check() -> None:
    """Check params.yaml, and networks of your own, and name the first mistake."""
    from clarity.notices import notices
    from clarity.params import check_data_path, load_params

    params = load_params()
    check_data_path(params.data)
    for name, spec in params.models.items():
        if spec.own:
            from clarity.models.own import check as check_own
            from clarity.networks import read_code

            code, shape = read_code(spec.family), params.preprocess.shape
            check_own(code, spec.arguments, shape, name, params.seeds[0])
    for told in notices(params):
        typer.echo(f"check: {told}", err=True)
    typer.echo(f"params.yaml is fine: {len(params.models)} models, {len(params.seeds)} seed(s)")


@app.command()
def preset(
    name: Annotated[str, typer.Argument(help="A file of presets/, without its ending.")],
    root: Annotated[Path, typer.Option(help="The project to change.")] = Path("."),
) -> None:
    """Merge a preset into params.yaml: `quick` or `full`."""
    from clarity.presets import apply_preset

    changed = apply_preset(name, root)
    typer.echo(f"params.yaml: preset {name} {'applied' if changed else 'already there'}")


@app.command(rich_help_panel=STAGES)
def ingest() -> None:
    """Pack the images of `data.source` into data/raw."""
    from clarity.ingest.stage import ingest
    from clarity.inputs import unchanged

    with unchanged("ingest"):
        ingest()


@app.command(rich_help_panel=STAGES)
def preprocess() -> None:
    """Check, crop, split and pack data/raw into data/processed."""
    from clarity.inputs import unchanged
    from clarity.preprocess.stage import preprocess

    with unchanged("preprocess"):
        preprocess()


@app.command(rich_help_panel=STAGES)
def networks() -> None:
    """Read the code of networks of one's own, for the models that use it."""
    from clarity.inputs import unchanged
    from clarity.networks import record_networks

    with unchanged("networks"):
        record_networks()


@app.command(rich_help_panel=STAGES)
def train(model: Model, seed: Seed) -> None:
    """Train one model from one seed."""
    from clarity.inputs import unchanged
    from clarity.layout import Training
    from clarity.processes import follows, one_at_a_time
    from clarity.tracking.live import LiveMirror
    from clarity.train.stage import follow, train

    if follows():
        follow(model, seed)
        return
    alone = one_at_a_time(Training(model, seed))
    declared = unchanged("train", model=model, seed=seed)
    with alone, declared, LiveMirror.of_training(model, seed) as mirror:
        train(model, seed, listener=mirror)


@app.command(rich_help_panel=STAGES)
def evaluate(model: Model, seed: Seed) -> None:
    """Measure one training on every split."""
    from clarity.evaluate.stage import evaluate_training
    from clarity.inputs import unchanged

    with unchanged("evaluate", model=model, seed=seed):
        evaluate_training(model, seed)


@app.command(rich_help_panel=STAGES)
def ensemble(
    name: Annotated[str, typer.Argument(help="A key of `ensembles` in params.yaml.")],
) -> None:
    """Put several trainings side by side as one network, and measure it."""
    from clarity.ensembles.stage import evaluate_ensemble
    from clarity.inputs import unchanged

    with unchanged("ensemble", ensemble=name):
        evaluate_ensemble(name)


@app.command(rich_help_panel=STAGES)
def compare() -> None:
    """Write the tables, the verdicts and the report."""
    from clarity.compare.stage import compare
    from clarity.inputs import unchanged

    with unchanged("compare"):
        compare()


@app.command()
def answer() -> None:
    """Print what the last comparison answers, a line for each question, and where to look."""
    from clarity.compare.answer import read

    typer.echo("\n".join(read()))


@app.command()
def verify(
    revision: Annotated[str, typer.Argument(help="The reference: commit, branch or tag.")] = "HEAD",
    reports: Annotated[
        Path | None, typer.Option(help="A copy of the reference's reports/, if DVC has none.")
    ] = None,
) -> None:
    """Say whether the results here lead to the conclusions of a commit; exit code 1 if not."""
    from clarity.verify import verify

    if not verify(revision, reports):
        raise typer.Exit(1)


@app.command(rich_help_panel=STAGES)
def publish() -> None:
    """Complete MLflow's runs and model versions from the outputs."""
    from clarity.registry.backfill import publish as run

    run()


@app.command(rich_help_panel=REGISTRY)
def backfill() -> None:
    """Refill an empty or lost MLflow store from the outputs and the history of aliases."""
    from clarity.registry.backfill import backfill

    backfill()


@app.command(rich_help_panel=REGISTRY)
def promote(
    version: Annotated[
        str | None, typer.Option(help="This version or alias, not the best on `val`.")
    ] = None,
) -> None:
    """Put the best challenger before the gate; move `champion` only if it is measurably better."""
    from clarity.registry.promote import promote

    promote(version)


@app.command(rich_help_panel=REGISTRY)
def rollback(
    why: Annotated[str, typer.Option(help="Kept in the history.")] = "",
) -> None:
    """Return to the previous champion; twice goes back two."""
    from clarity.registry.promote import rollback as run

    run(why)


@app.command(rich_help_panel=REGISTRY)
def history(
    registrations: Annotated[bool, typer.Option(help="Versions' numbers too.")] = False,
) -> None:
    """Print every move of an alias."""
    from clarity.registry.history import show

    show(registrations=registrations)


@app.command(rich_help_panel=REGISTRY)
def lineage(
    name: Annotated[
        str, typer.Argument(help="Version, alias, run, data digest, commit, stage or flow run.")
    ],
) -> None:
    """Print where a model came from, and the commands that reproduce it."""
    from clarity.registry.lineage import show

    show(name)


@app.command(rich_help_panel=REGISTRY)
def restore(
    version: Annotated[str, typer.Argument(help="A version or an alias.")],
    target: Annotated[Path | None, typer.Option(help="Folder of the new worktree.")] = None,
    retrain: Annotated[bool, typer.Option(help="Train even what DVC's cache has.")] = False,
) -> None:
    """Check out a version's commit in a new worktree and reproduce its bytes there."""
    from clarity.registry.restore import restore

    restore(version, target, retrain=retrain)


@app.command(rich_help_panel=REGISTRY)
def gc(
    force: Annotated[bool, typer.Option(help="Delete it, not only say so.")] = False,
) -> None:
    """Say which versions, runs and checkpoints nobody needs; with --force, delete them."""
    from clarity.registry.gc import collect

    collect(force=force)


@app.command()
def score(
    path: Annotated[Path, typer.Argument(help="A folder of pictures, a .npy file or a picture.")],
    output: Annotated[
        Path, typer.Option(help="Folder for the table and the contact sheet.")
    ] = Path("scores"),
    model: Annotated[
        str, typer.Option(help="Alias or version of the registered model.")
    ] = "champion",
) -> None:
    """Score new images with a registered model."""
    from clarity.score.batch import score_images

    score_images(path, output, model)


@app.command()
def eye(
    answers: Annotated[
        list[Path] | None, typer.Argument(help="Answers to read; without any, pairs are drawn.")
    ] = None,
    what: Annotated[
        str, typer.Option(help="reconstructions, samples, sharpness or interpolations.")
    ] = "reconstructions",
    pairs: Annotated[int, typer.Option(min=1, max=2000, help="Different pairs.")] = 60,
    seed: Annotated[int, typer.Option(min=0, help="Of the draw.")] = 0,
    within: Annotated[
        float | None,
        typer.Option(help="Share of pairs of one family (0.5; 0 where no original is shown)."),
    ] = None,
    repeats: Annotated[
        int | None, typer.Option(min=0, help="Pairs shown again, sides swapped (a tenth).")
    ] = None,
    split: Annotated[str, typer.Option(help="Whose images.")] = "test",
    models: Annotated[
        str, typer.Option(help="Models to show, with commas; all that are trained.")
    ] = "",
    out: Annotated[Path, typer.Option(help="The page.")] = Path("reports/eye.html"),
    sheets: Annotated[
        Path | None, typer.Option(help="A folder for sheets to print, in place of the page.")
    ] = None,
    table: Annotated[
        Path | None, typer.Option(help="Agreement as .csv or .json, of answers.")
    ] = None,
    resolved: Annotated[
        Path | None, typer.Option(help="Every look with models and measures as CSV, of answers.")
    ] = None,
    confidence: Annotated[float, typer.Option(help="Of the intervals.")] = 0.95,
) -> None:
    """Look at pairs of pictures without names; put measures beside what the eye said."""
    from clarity.eye import command

    if answers:
        command.read(answers, confidence, table, resolved)
        return
    if table or resolved:
        raise ClarityError("--table and --resolved are for answers; name the CSV that holds them")
    deck = command.deck(what, split, pairs, seed, within, repeats)
    command.make(deck, [name for name in models.split(",") if name], out, sheets)


@app.command()
def ui(port: Annotated[int, typer.Option()] = 5000) -> None:
    """Open the MLflow UI on mlruns/, on this machine only."""
    from clarity.tracking.server import serve

    serve(port)


@app.command()
def serve(
    port: Annotated[int, typer.Option()] = 5001,
    model: Annotated[
        str, typer.Option(help="Alias or version of the registered model.")
    ] = "champion",
) -> None:
    """Serve a registered model over HTTP, on this machine only."""
    from clarity.score.server import serve

    serve(port, model)


def main() -> None:
    """Entry point: a user's mistake is one line on stderr and exit code 2, never a traceback."""
    try:
        own_source()
        if COMPUTING & set(sys.argv[1:2]):
            from clarity.machine import check_limits

            check_limits()
        app()
    except ClarityError as error:
        print(f"clarity: {line(str(error), LONGEST)}", file=sys.stderr)
        sys.exit(2)
    except Exception as error:
        from clarity.machine import refusal

        said = refusal(error, _database())
        if said is None:
            raise
        print(f"clarity: {line(said, LONGEST)}", file=sys.stderr)
        sys.exit(2)


def _database() -> str:
    """How MLflow's database is named in a message."""
    from clarity.address import sqlite_file, tracking_uri

    try:
        uri = tracking_uri()
        return redact(str(sqlite_file(uri) or uri))
    except ClarityError:
        return ""


if __name__ == "__main__":
    main()
