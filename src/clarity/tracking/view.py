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

from clarity.score.registered import TAG_FAMILY
from clarity.store import experiment_id
from clarity.tracking import keys, runs

if TYPE_CHECKING:
    from mlflow import MlflowClient

TAG = "mlflow.sharedViewState."
#: The view that `clarity ui` opens, and the one that shows superseded runs too.
MODELS = "clarity-models"
HISTORY = "clarity-history"
_CURRENT = f"tags.`{keys.KIND}` = '{keys.TRAINING}' AND tags.`{keys.CURRENT}` = 'true'"
_TRAINED = f"tags.`{keys.KIND}` = '{keys.TRAINING}'"

COLUMNS = (
    f"tags.`{TAG_FAMILY}`",
    "metrics.`cost/parameters`",
    "metrics.`cost/latent`",
    "metrics.`test/lsd`",
    "metrics.`test/mse`",
    "metrics.`test/ssim`",
    "metrics.`train/lsd`",
    "metrics.`test/auroc`",
    "metrics.`test/ap`",
    "params.`train.learning_rate`",
    "attributes.`Models`",
)
SIZE = "cost/log10_parameters"
#: Sections of the charts page, in order: name, columns, height of a card in pixels.
SECTIONS = (
    ("The same faces, as training improves them", 1, 640),
    ("Learning curves", 3, 340),
    ("Clarity, error and detection against size", 3, 340),
    ("Figures on unseen test images", 3, 340),
)


def query(client: MlflowClient, view: str = MODELS) -> str:
    """The part of an address after the host that opens a view with its charts."""
    return (
        f"#/experiments/{experiment_id(client)}/runs?compareRunsMode=CHART&viewStateShareKey={view}"
    )


def publish(client: MlflowClient, epoch: int) -> None:
    """Store the views in the experiment's tags, where they are not there already.

    Args:
        epoch: of the reconstructions that the image grid shows first.
    """
    experiment = experiment_id(client)
    present = client.get_experiment(experiment).tags
    views = {
        MODELS: ("All models", _CURRENT),
        HISTORY: ("All models, older trainings too", _TRAINED),
    }
    for key, (name, search) in views.items():
        content = state(search, epoch)
        if _state_of(present.get(TAG + key)) == content:
            continue
        stamp = runs.now()
        packed = base64.b64encode(zlib.compress(json.dumps(content).encode(), 9)).decode()
        value = {"name": name, "createdAt": stamp, "updatedAt": stamp, "state": f"deflate;{packed}"}
        client.set_experiment_tag(experiment, TAG + key, json.dumps(value))
    # Model training, not agents: the UI then opens on runs and hides what is for prompts.
    if present.get("mlflow.experimentKind") != "custom_model_development":
        client.set_experiment_tag(experiment, "mlflow.experimentKind", "custom_model_development")


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
        "orderByKey": "attributes.start_time",
        "orderByAsc": True,
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
            {
                "uuid": f"section-{number}",
                "name": name,
                "display": True,
                "isReordered": True,
                "deleted": False,
                "isGenerated": False,
                "columns": columns,
                "cardHeight": height,
            }
            for number, (name, columns, height) in enumerate(SECTIONS)
        ],
        "viewMaximized": False,
        "runListHidden": False,
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


def _charts(epoch: int) -> Iterable[dict[str, Any]]:
    """The charts, section by section."""
    for key, step in ((keys.PROGRESS, epoch), *((key, 0) for key in keys.PICTURES.values())):
        yield _chart("IMAGE", 0, key, imageKeys=[key], step=step, showRunParams=False)
    for name, title, scale in (
        ("val_mse", "validation MSE", "log"),
        ("train_mse", "training MSE", "log"),
        ("learning_rate", "learning rate", "linear"),
        ("images_per_second", "images a second", "linear"),
    ):
        yield _line(1, keys.curve(name), title, scale)
    scatters = (
        ("test/lsd", "clarity on unseen people (dB, lower is clearer)"),
        ("train/lsd", "clarity on training faces (dB, lower is clearer)"),
        ("test/mse", "MSE on unseen people"),
        ("test/auroc", "anomaly AUROC"),
    )
    for metric, title in scatters:
        yield _chart(
            "SCATTER",
            2,
            f"{title} against log10 parameters",
            xaxis={"key": SIZE, "type": "METRIC", "dataAccessKey": SIZE},
            yaxis={"key": metric, "type": "METRIC", "dataAccessKey": metric},
        )
    yield _chart(
        "PARALLEL",
        2,
        "size, bottleneck, clarity, error, detection",
        selectedParams=["family"],
        selectedMetrics=[SIZE, "cost/latent", "test/lsd", "test/mse", "test/auroc"],
        showAllRuns=False,
    )
    for metric, title in (
        ("test/lsd", "log-spectral distance (dB)"),
        ("test/psnr", "PSNR (dB)"),
        ("test/ssim", "SSIM"),
        ("test/auroc", "AUROC"),
        ("test/ap", "average precision"),
        ("test/fpr95", "FPR at 95 % TPR"),
    ):
        yield _chart("BAR", 3, title, metricKey=metric, dataAccessKey=metric)


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
