"""What shapes a result is a dependency of it: of a stage of DVC, of a registered model."""

from __future__ import annotations

import sys
from importlib.metadata import packages_distributions

import grimp
import pytest
from project import ROOT
from ruamel.yaml import YAML

from clarity.score.signature import REQUIREMENTS

ENTRIES = {
    "ingest": "clarity.ingest.stage",
    "preprocess": "clarity.preprocess.stage",
    "train": "clarity.train.stage",
    "evaluate": "clarity.evaluate.stage",
    "ensemble": "clarity.ensembles.stage",
    "compare": "clarity.compare.stage",
    "publish": "clarity.registry.backfill",
}
#: Code that no stage has to declare, and why.
FREE = {
    "errors": "says what is wrong; shapes no output",
    "problems": "the same",
    "names": "the same, printable",
    "redact": "the same, without secrets",
    "machine": "the same, of disk and memory",
    "files": "how bytes are written safely, not which",
    "processes": "who runs, and for whom; shapes no output",
    "inputs": "refuses to run; shapes no output",
    "layout": "where files lie: DVC's outputs say the same; the images' shape is a parameter",
    "params": "reads params.yaml, whose values DVC tracks",
    "yaml_text": "the same",
    "address": "where MLflow's store lies: no result depends on it",
}
#: Code that one stage uses and need not declare, and why.
FREE_FOR = {
    "ingest": {"measures": "names that params.yaml may use"},
    "preprocess": {"measures": "the same"},
    "train": {"measures": "the same"},
    "evaluate": {"networks": "the code that a model was trained with lies in the model"},
    "ensemble": {"networks": "the same"},
    "compare": {"networks": "the same"},
    "publish": dict.fromkeys(
        (
            "choice",
            "ensembles",
            "evaluate",
            "ingest",
            "measures",
            "models",
            "networks",
            "preprocess",
            "scale",
        ),
        "what it changes in a model or an evaluation runs those stages, whose outputs are declared",
    ),
}
#: Imported inside functions that scoring does not call, and why a registered model lacks them.
NOT_FOR_SCORING = {
    "piq": "measures of clarity that only `evaluate` takes",
}


@pytest.fixture(scope="module")
def graph() -> grimp.ImportGraph:
    found = grimp.build_graph("clarity", include_external_packages=True)
    # The package's own door for Python users; imports nothing until it is called.
    for module in found.find_modules_directly_imported_by("clarity"):
        found.remove_import(importer="clarity", imported=module)
    return found


@pytest.mark.parametrize("stage", ENTRIES)
def test_every_stage_declares_the_code_that_shapes_its_outputs(
    stage: str, graph: grimp.ImportGraph
) -> None:
    content = YAML(typ="safe").load((ROOT / "dvc.yaml").read_text())["stages"][stage]
    declared = {
        dep.removeprefix("src/clarity/").removesuffix(".py")
        for dep in content["deps"]
        if dep.startswith("src/clarity/")
    }
    entry = ENTRIES[stage]
    used = {
        module.split(".")[1]
        for module in {entry, *graph.find_upstream_modules(entry)}
        if module.startswith("clarity.")
    }
    assert used - declared - set(FREE) - set(FREE_FOR.get(stage, {})) == set()


def test_a_registered_model_requires_what_its_code_imports(graph: grimp.ImportGraph) -> None:
    modules = graph.find_upstream_modules("clarity.score.pyfunc_model")
    imported = {name.split(".")[0] for name in modules} - {"clarity", *sys.stdlib_module_names}
    owners = packages_distributions()
    needed = {owners[name][-1] for name in imported - set(NOT_FOR_SCORING)}
    # One import name, several distributions.
    needed = {{"mlflow-skinny": "mlflow", "mlflow-tracing": "mlflow"}.get(n, n) for n in needed}
    needed = {{"ruamel.yaml.clib": "ruamel.yaml"}.get(n, n) for n in needed}
    assert needed <= set(REQUIREMENTS), "missing in score/signature.py"
    # pyarrow: MLflow reads data frames by it; scikit-learn and scipy come with MLflow besides.
    assert set(REQUIREMENTS) - needed <= {"pyarrow"}, "required for nothing"
