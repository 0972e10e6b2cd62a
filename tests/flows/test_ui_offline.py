"""Prefect's UI in a real browser, both of its versions: whom its pages ask for anything, and
whether those of a score run show what arrived.

Screenshots are left in ``CLARITY_SCREENSHOTS``, or in pytest's temporary folder.
"""

from __future__ import annotations

import base64
import json
import os
import re
import subprocess
import urllib.request
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pytest
import toy
from browsing import CHROMIUM, chromium, strangers
from PIL import Image
from playwright.sync_api import Page, expect
from test_score_flow import SCORE, project, world
from tools import environment, serving

__all__ = ["project"]

pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed"),
    pytest.mark.slow,
]
PAGES = (
    *("dashboard", "runs", "flows", "deployments", "work-pools", "blocks", "variables", "events"),
    *("automations", "artifacts", "concurrency-limits", "settings"),
    *("artifacts/key/scores", "artifacts/key/drift", "artifacts/key/most-anomalous"),
)


def arrive(root: Path) -> None:
    """Thirty pictures: more than enough to judge drift, coloured where the faces are nearly not."""
    folder = root / "data" / "incoming" / "gate"
    folder.mkdir(parents=True)
    for number, image in enumerate(world.faces("test", 1)[0][:30]):
        Image.fromarray(np.kron(image, np.ones((4, 4, 1), np.uint8))).save(folder / f"{number}.png")
    (folder / "torn.jpg").write_bytes(b"\xff\xd8 no more")


def test_no_page_asks_another_host_and_a_score_run_shows_what_arrived(
    project: Path, tmp_path: Path
) -> None:
    toy.with_flows(project)
    arrive(project)
    shots = Path(os.environ.get("CLARITY_SCREENSHOTS", tmp_path))
    with serving(project, tmp_path / "serve.log", environment()) as api:
        key = (project / ".prefect/server.key").read_text()
        env = environment(PREFECT_API_URL=api, PREFECT_API_AUTH_STRING=key)
        subprocess.run(SCORE, cwd=project, env=env, check=True, capture_output=True)
        with chromium() as browser:
            context = browser.new_context(viewport={"width": 1280, "height": 1000})
            context.add_init_script(f"localStorage.setItem('prefect-password', btoa('{key}'));")
            asked = strangers(context)
            page = context.new_page()
            for version in ("", "/v2"):
                for name in PAGES:
                    page.goto(f"{api.removesuffix('/api')}{version}/{name}")
                    page.wait_for_timeout(2500)
                    page.screenshot(path=shots / f"prefect{version[1:]}-{Path(name).name}.png")
                shown(page, f"{api.removesuffix('/api')}{version}", artifacts(api, key), shots)
    # Of the second UI alone, and told in docs/operations.md: nothing of it is let out here.
    assert {urlsplit(url).hostname for url in asked} <= {"sr-client-cfg.amplitude.com"}


def artifacts(api: str, key: str) -> dict[str, str]:
    """Ids of the artifacts, by their keys."""
    basic = base64.b64encode(key.encode()).decode()
    request = urllib.request.Request(
        f"{api}/artifacts/filter",
        b"{}",
        {"Content-Type": "application/json", "Authorization": f"Basic {basic}"},
    )
    with urllib.request.urlopen(request) as answer:
        return {one["key"]: one["id"] for one in json.load(answer)}


def shown(page: Page, base: str, ids: dict[str, str], shots: Path) -> None:
    """What a run of `score` leaves: names and scores, tests of drift, pictures."""

    def open_page(name: str) -> None:
        page.goto(f"{base}/artifacts/artifact/{ids[name]}")
        page.wait_for_timeout(2500)
        page.screenshot(path=shots / f"prefect{'2' if '/v2' in base else ''}-shown-{name}.png")

    open_page("scores")
    expect(page.get_by_text(re.compile("gate/[0-9]+.png")).first).to_be_visible(timeout=60_000)
    expect(page.get_by_text("torn.jpg").first).to_be_visible()
    open_page("drift")
    expect(page.get_by_text("sharpness").first).to_be_visible(timeout=60_000)
    assert "000000" not in page.inner_text("body")
    open_page("most-anomalous")
    page.wait_for_function(
        "() => [...document.images].some(i => i.naturalWidth > 500)", timeout=60_000
    )
    assert "base64" not in page.inner_text("body")
