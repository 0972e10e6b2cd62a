"""MLflow's UI in a real browser: two models' pictures and charts side by side.

Screenshots are left in ``CLARITY_SCREENSHOTS``, or in pytest's temporary folder.
"""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from browsing import CHROMIUM, strangers
from mlflow import MlflowClient
from playwright.sync_api import Browser, BrowserContext, Page, expect
from tracking_world import ROOT, write_world

from clarity.store import experiment_id, open_store
from clarity.tracking import keys, publish, view

#: The browser may have a busy machine to itself with others, in milliseconds.
WAIT = 120_000
NAMES = ("conv-small-0", "pca-3-0")
#: The pictures of the image grid, as an expression of the browser's.
TILES = "[...document.images].filter(i => i.naturalWidth > 32 && /artifact|blob:/.test(i.src))"
#: The title above such a picture.
TITLE = """image => {
    let part = image;
    while (!/-0/.test(part.innerText)) part = part.parentElement;
    return part.innerText.split("\\n").find(line => /-0$/.test(line));
}"""

pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed"),
    pytest.mark.slow,
]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A published project, entered."""
    root = tmp_path_factory.mktemp("ui")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        patch.delenv("DVC_ROOT", raising=False)
        patch.chdir(root)
        write_world(root)
        publish.publish()
        yield root


@pytest.fixture(scope="module")
def client(project: Path) -> MlflowClient:
    return open_store(project)


@pytest.fixture(scope="module")
def address(project: Path) -> Iterator[str]:
    """What `clarity ui` prints: the address of the prepared view."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = subprocess.Popen(
        [sys.executable, "-m", "clarity", "ui", "--port", str(port)],
        cwd=project,
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert server.stdout is not None
        found = re.search(r"http://\S+", server.stdout.readline())
        assert found, "the server did not start"
        yield found.group()
    finally:
        server.send_signal(signal.SIGINT)
        server.wait(60)


@pytest.fixture(scope="module")
def page(address: str, browser: Browser) -> Page:
    """Of a browser that has never been at MLflow."""
    page = browser.new_page(viewport={"width": 1600, "height": 1200})
    page.set_default_timeout(WAIT)
    return page


@contextmanager
def stranger(page: Page) -> Iterator[BrowserContext]:
    """The same browser, without a memory."""
    assert page.context.browser is not None
    with page.context.browser.new_context() as context:
        yield context


@pytest.fixture
def shoot(page: Page, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[None]:
    """Leave a screenshot of how the test ended."""
    yield
    folder = Path(os.environ.get("CLARITY_SCREENSHOTS", tmp_path))
    folder.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=folder / f"{request.node.name}.png")


def loaded_pictures(page: Page) -> int:
    """Pictures from runs' artifacts that the browser has really drawn."""
    return int(page.evaluate(TILES + ".length"))


def test_the_prepared_view_has_pictures_and_charts_of_both_models(
    page: Page, address: str, shoot: None
) -> None:
    page.goto(address)
    for name in NAMES:
        expect(page.get_by_text(name).first).to_be_visible(timeout=WAIT)
    for section, *_ in view.SECTIONS:
        expect(page.get_by_text(re.compile(re.escape(section[:20]))).first).to_be_attached()
    # Original and reconstruction of both models, drawn.
    page.wait_for_function(TILES + ".length >= 2", timeout=WAIT)
    assert loaded_pictures(page) >= len(NAMES)
    page.mouse.move(800, 800)
    page.mouse.wheel(0, 1000)
    expect(page.get_by_text(keys.PROGRESS, exact=True).first).to_be_visible()
    page.get_by_text("Learning curves").scroll_into_view_if_needed()
    curves = page.locator(".js-plotly-plot .scatterlayer .trace")
    expect(curves.nth(1)).to_be_attached(timeout=WAIT)


def test_three_sizes_stand_in_a_row_in_a_browser_that_was_never_there(
    page: Page, address: str
) -> None:
    """At 1280 pixels, and by the bare address too; the smaller model first."""
    with stranger(page) as context:
        page = context.new_page()
        page.set_default_timeout(WAIT)
        page.set_viewport_size({"width": 1280, "height": 900})
        page.goto(address.partition("#")[0])
        page.wait_for_function(TILES + ".length >= 2", timeout=WAIT)
        folder = Path(os.environ.get("CLARITY_SCREENSHOTS", "/dev/null"))
        if folder.is_dir():
            page.screenshot(path=folder / "mlflow-1280.png")
        expect(page.get_by_text("Ask questions about your")).not_to_be_visible()
        first, second = page.evaluate(TILES + ".slice(0, 2).map(i => i.getBoundingClientRect())")
        assert first["y"] == second["y"]
        room = 1280 - first["x"]
        assert 3 * (second["x"] - first["x"]) <= room
        assert page.evaluate(TILES + f".slice(0, 2).map({TITLE})") == list(NAMES)


def test_the_table_has_the_columns_that_matter(page: Page, address: str, shoot: None) -> None:
    page.goto("about:blank")
    page.set_viewport_size({"width": 2600, "height": 900})
    page.goto(address.replace("compareRunsMode=CHART", "compareRunsMode=TABLE"))
    for column in ("test/haarpsi", "test/auroc", "cost/parameters", "cost/latent"):
        expect(page.get_by_role("columnheader", name=column).first).to_be_visible(timeout=WAIT)
    expect(page.get_by_role("link", name="comparison")).to_have_count(0)
    page.set_viewport_size({"width": 1600, "height": 1200})


def test_the_compare_page_sets_metrics_against_parameters(
    page: Page, address: str, client: MlflowClient, shoot: None
) -> None:
    """As one comes to it: both runs ticked in the table, then "Compare"."""
    experiment = experiment_id(client)
    ids = {run.info.run_name: run.info.run_id for run in client.search_runs([experiment])}
    chosen = json.dumps([ids[name] for name in NAMES]).replace(" ", "")
    page.goto("about:blank")
    base = address.partition("#")[0]
    page.goto(f'{base}#/compare-runs?runs={chosen}&experiments=["{experiment}"]')
    expect(page.get_by_text("Comparing 2 Runs")).to_be_visible(timeout=WAIT)
    for name in NAMES:
        expect(page.get_by_text(name).first).to_be_visible()
    expect(page.locator(".js-plotly-plot .parcoords").first).to_be_attached(timeout=WAIT)
    page.get_by_role("tab", name="Scatter Plot").click()
    # The points themselves are drawn on a canvas; the axes' titles are text.
    expect(page.locator(".js-plotly-plot .ytitle").first).to_be_attached(timeout=WAIT)
    page.get_by_role("tab", name="Parallel Coordinates Plot").click()


def test_a_run_shows_its_note_with_the_picture(
    page: Page, address: str, client: MlflowClient, shoot: None
) -> None:
    experiment = experiment_id(client)
    ids = {run.info.run_name: run.info.run_id for run in client.search_runs([experiment])}
    page.goto("about:blank")
    page.goto(f"{address.partition('#')[0]}#/experiments/{experiment}/runs/{ids[NAMES[0]]}")
    page.wait_for_function(
        "() => [...document.images].some(i => /get-artifact/.test(i.src) && i.naturalWidth > 32)",
        timeout=WAIT,
    )
    page.get_by_text("Show more").first.click()


def test_a_version_shows_its_card(page: Page, address: str, shoot: None) -> None:
    page.goto("about:blank")
    page.goto(f"{address.partition('#')[0]}#/models/clarity/versions/1")
    expect(page.get_by_role("heading", name=NAMES[0])).to_be_visible(timeout=WAIT)
    expect(page.get_by_role("heading", name="Limits")).to_be_visible()


def test_no_page_asks_another_host(page: Page, address: str, client: MlflowClient) -> None:
    """As a browser sees MLflow that was never there."""
    experiment = experiment_id(client)
    run = client.search_runs([experiment])[0].info.run_id
    base = address.partition("#")[0]
    with stranger(page) as context:
        asked = strangers(context)
        page = context.new_page()
        for place in (
            *("", "#/", "#/experiments", f"#/experiments/{experiment}", "#/models", "#/prompts"),
            *(f"#/experiments/{experiment}/runs/{run}", "#/models/clarity", "#/settings"),
            *("#/models/clarity/versions/1", address.removeprefix(base)),
        ):
            page.goto("about:blank")
            page.goto(base + place)
            page.wait_for_timeout(2000)
            folder = Path(os.environ.get("CLARITY_SCREENSHOTS", "/dev/null"))
            if folder.is_dir():
                name = re.sub(r"\W+", "-", place)[:40]
                page.screenshot(path=folder / f"mlflow-{name}.png")
            said = page.inner_text("body").lower()
            assert "usage data" not in said, place
            assert "telemetry" not in said or place == "#/settings", place
    assert asked == []
