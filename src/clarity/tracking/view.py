"""Views of the experiment in MLflow's UI, prepared: columns, charts and the image grid.

The UI keeps a saved view ("Views" above the runs) as a tag of the experiment: JSON with the whole
state of the page, deflated. Written here in the form that the pinned MLflow reads; another MLflow
that does not understand it shows its own default page.
"""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from clarity.score.registered import TAG_FAMILY, TAG_REGISTERED
from clarity.store import KIND, KIND_TAG, experiment_id
from clarity.tracking import keys, runs

if TYPE_CHECKING:
    from mlflow import MlflowClient

TAG = "mlflow.sharedViewState."
#: The view that `clarity ui` opens, and the one that shows superseded runs too; the registered
#: model's name stands behind, so that each project of a store has its own.
MODELS = "clarity-models"
HISTORY = "clarity-history"
#: The one of the candidates of `python -m pipelines.tune`.
SEARCHES = "clarity-searches"
_TRAINED = f"tags.`{keys.KIND}` = '{keys.TRAINING}'"
_CURRENT = f"{_TRAINED} AND tags.`{keys.CURRENT}` = 'true'"
_CANDIDATE = f"tags.`{keys.KIND}` = '{keys.TUNING}' AND tags.`mlflow.parentRunId` LIKE '%'"

COLUMNS = (
    f"tags.`{TAG_FAMILY}`",
    "metrics.`cost/parameters`",
    "metrics.`cost/latent`",
    "metrics.`test/haarpsi`",
    "metrics.`test/mse`",
    "metrics.`test/ssim`",
    "metrics.`train/haarpsi`",
    "metrics.`test/auroc_unseen_kind`",
    "metrics.`test/auroc`",
    "metrics.`test/ap`",
    "params.`train.learning_rate`",
    "attributes.`Models`",
)
SIZE = "cost/log10_parameters"
#: Sections of the charts page, in order: name, columns, height of a card in pixels. A card of the
#: image grid holds a row a run; all sizes have to be seen at once.
SECTIONS = (
    ("The same unseen images, by every model", 1, 1100),
    ("Clarity, error and detection against size", 3, 340),
    ("Learning curves", 2, 340),
)


def query(client: MlflowClient, registered: str) -> str:
    """The part of an address after the host that opens a project's view with its charts."""
    return (
        f"#/experiments/{experiment_id(client)}/runs?workflowType=machine_learning"
        f"&compareRunsMode=CHART&viewStateShareKey={MODELS}-{registered}"
    )


def present(client: MlflowClient, registered: str) -> bool:
    """Whether the experiment has a project's views."""
    return f"{TAG}{MODELS}-{registered}" in client.get_experiment(experiment_id(client)).tags


def publish(client: MlflowClient, registered: str, epoch: int) -> None:
    """Store a project's views in the experiment's tags, where they are not there already.

    Args:
        registered: the registered model; empty: the runs of every project in the store.
        epoch: of the reconstructions that the image grid shows first.
    """
    own = f" AND tags.`{TAG_REGISTERED}` = '{registered}'" if registered else ""
    name = f"Models of {registered}" if registered else "All models"
    older = f"{name}, older trainings too"
    _store(client, f"{MODELS}-{registered}", name, state(_CURRENT + own, epoch))
    _store(client, f"{HISTORY}-{registered}", older, state(_TRAINED + own, epoch))
    experiment = experiment_id(client)
    if client.get_experiment(experiment).tags.get(KIND_TAG) != KIND:
        client.set_experiment_tag(experiment, KIND_TAG, KIND)


def publish_searches(
    client: MlflowClient, registered: str, measure: str, knobs: Iterable[str]
) -> None:
    """Store the view of candidates: the best first, what makes them so, and their curves.

    Args:
        registered: the registered model, whose project's candidates they are.
        measure: what they are judged by (``compare.measure``).
        knobs: names of their parameters.
    """
    found = f"val/{measure}"
    charts = [
        _chart(
            "PARALLEL",
            0,
            f"{measure} on val",
            selectedParams=list(knobs),
            selectedMetrics=[found],
            showAllRuns=False,
        ),
        _line(1, keys.curve("val_mse"), "validation MSE", "log"),
    ]
    own = f"{_CANDIDATE} AND tags.`{TAG_REGISTERED}` = '{registered}'"
    content = state(own, 0) | {
        "orderByKey": f"metrics.`{found}_distance`",
        "orderByAsc": True,
        "selectedColumns": [f"metrics.`{found}`", *(f"params.`{knob}`" for knob in knobs)],
        "compareRunCharts": charts,
        "compareRunSections": [
            _section(0, "What the better ones have in common", 1, 420),
            _section(1, "Learning curves", 1, 420),
        ],
        "runListHidden": False,
    }
    _store(client, f"{SEARCHES}-{registered}", f"Searches of {registered}", content)


def _store(client: MlflowClient, key: str, name: str, content: dict[str, Any]) -> None:
    """Put a view into the experiment's tags, where it is not there as it is."""
    experiment = experiment_id(client)
    present = client.get_experiment(experiment).tags
    if _state_of(present.get(TAG + key)) == content:
        return
    stamp = runs.now()
    packed = base64.b64encode(zlib.compress(json.dumps(content).encode(), 9)).decode()
    value = {"name": name, "createdAt": stamp, "updatedAt": stamp, "state": f"deflate;{packed}"}
    client.set_experiment_tag(experiment, TAG + key, json.dumps(value))


def _state_of(tag: str | None) -> Any:
    """The state in a tag; None where it is no view of ours."""
    try:
        packed = json.loads(tag or "")["state"].removeprefix("deflate;")
        return json.loads(zlib.decompress(base64.b64decode(packed)))
    except (ValueError, KeyError, TypeError, AttributeError, zlib.error):
        return None


def state(search: str, epoch: int) -> dict[str, Any]:
    """The page's state: which runs, which columns, which charts."""
    return {
        "searchFilter": search,
        # The image grid shows the list from its end: the smallest of the first family comes first.
        "orderByKey": f"tags.`{keys.ORDER}`",
        "orderByAsc": False,
        "startTime": "ALL",
        "lifecycleFilter": "Active",
        "datasetsFilter": [],
        "modelVersionFilter": "All Runs",
        "selectedColumns": list(COLUMNS),
        "columnOrder": [],
        "columnWidths": {},
        "runsHiddenMode": "FIRST_20_RUNS",
        "runsHidden": [],
        "runsPinned": [],
        "compareRunCharts": list(_charts(epoch)),
        "compareRunSections": [
            _section(number, *section) for number, section in enumerate(SECTIONS)
        ],
        "viewMaximized": False,
        "runListHidden": True,
        "isAccordionReordered": True,
        "useGroupedValuesInCharts": True,
        "hideEmptyCharts": True,
        "groupBy": None,
        "groupsExpanded": {},
        "autoRefreshEnabled": False,
        "globalLineChartConfig": {
            "xAxisKey": "step",
            "lineSmoothness": 0,
            "selectedXAxisMetricKey": "",
        },
    }


def _section(number: int, name: str, columns: int, height: int) -> dict[str, Any]:
    return {
        "uuid": f"section-{number}",
        "name": name,
        "display": True,
        "isReordered": True,
        "deleted": False,
        "isGenerated": False,
        "columns": columns,
        "cardHeight": height,
    }


def _charts(epoch: int) -> Iterable[dict[str, Any]]:
    """The charts, section by section: those that answer the question."""
    grid = keys.PICTURES["grid"]
    yield _chart("IMAGE", 0, grid, imageKeys=[grid], step=0, showRunParams=False)
    progress = "as training improves them"
    yield _chart("IMAGE", 0, progress, imageKeys=[keys.PROGRESS], step=epoch, showRunParams=False)
    for metric, title in (
        ("test/haarpsi", "HaarPSI on unseen images (higher is clearer)"),
        ("test/mse", "MSE on unseen images"),
        ("test/auroc", "anomaly AUROC"),
    ):
        yield _chart(
            "SCATTER",
            1,
            f"{title} against log10 parameters",
            xaxis={"key": SIZE, "type": "METRIC", "dataAccessKey": SIZE},
            yaxis={"key": metric, "type": "METRIC", "dataAccessKey": metric},
        )
    for metric, title in (
        ("test/haarpsi", "HaarPSI, unseen"),
        ("train/haarpsi", "HaarPSI, training"),
        ("test/auroc", "AUROC"),
    ):
        yield _chart("BAR", 1, title, metricKey=metric, dataAccessKey=metric)
    for name, title in (("val_mse", "validation MSE"), ("train_mse", "training MSE")):
        yield _line(2, keys.curve(name), title, "log")


def _line(section: int, metric: str, title: str, scale: str) -> dict[str, Any]:
    return _chart(
        "LINE",
        section,
        title,
        metricKey=metric,
        selectedMetricKeys=[metric],
        lineSmoothness=0,
        xAxisScaleType="linear",
        scaleType=scale,
        range={},
        xAxisKey="step",
        selectedXAxisMetricKey="",
        yAxisKey="metric",
        yAxisExpressions=[],
        ignoreOutliers=False,
        useGlobalXaxisKey=True,
        useGlobalLineSmoothing=True,
    )


def _chart(kind: str, section: int, title: str, **settings: Any) -> dict[str, Any]:
    return {
        "uuid": f"chart-{kind.lower()}-{section}-{title}",
        "type": kind,
        "runsCountToCompare": 20,
        "metricSectionId": f"section-{section}",
        "deleted": False,
        "isGenerated": False,
        "displayName": title,
        **settings,
    }
