"""The page in a real browser: by keyboard alone, narrow, dark, read aloud, and read back."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def page_file(world: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page of 10 pairs and 2 repeats."""
    from clarity.eye.command import deck, make

    path = tmp_path_factory.mktemp("page") / "eye.html"
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(world)
        make(deck("reconstructions", "test", 10, 0, None, 2), [], path, None)
    return path


def visit(browser, path: Path, width: int = 1280, density: float = 1, scheme: str = "light"):
    context = browser.new_context(
        viewport={"width": width, "height": 900}, device_scale_factor=density,
        color_scheme=scheme, offline=True, accept_downloads=True,
    )  # fmt: skip
    page = context.new_page()
    page.requests, page.problems = [], []
    page.on("request", lambda request: page.requests.append(request.url))
    page.on("console", lambda message: page.problems.append(message.text))
    page.on("pageerror", lambda error: page.problems.append(str(error)))
    page.goto(path.as_uri())
    return page


def place(page) -> str:
    return page.locator("#place").inner_text()


def test_by_keyboard_from_the_first_pair_to_a_csv_that_is_read_back(
    eye, page_file: Path, browser, tmp_path: Path
) -> None:
    page = visit(browser, page_file)
    assert place(page) == "Pair 1 of 12"
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowLeft")
    assert page.locator("#said").inner_text() == "Pair 2: left. Now pair 3 of 12."
    page.keyboard.press("ArrowUp")  # a mistake: back, and the other way
    assert place(page) == "Pair 2 of 12"
    assert page.locator("[aria-pressed=true]").inner_text() == "Left"
    page.keyboard.press("ArrowRight")
    assert place(page) == "Pair 3 of 12"
    page.keyboard.down("ArrowDown")
    for _ in range(4):
        page.keyboard.down("ArrowDown")  # held: the browser repeats it
    page.keyboard.up("ArrowDown")
    assert place(page) == "Pair 4 of 12"
    page.keyboard.press("Space")
    page.reload()
    assert place(page) == "Pair 5 of 12"
    for number in range(5, 13):
        page.keyboard.press("ArrowRight" if number % 2 else "ArrowLeft")
    assert page.locator("#end-title").evaluate("e => e === document.activeElement")
    assert "5 left, 5 right, 2 cannot tell" in page.locator("#counts").inner_text()

    for _ in range(12):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.id") == "looker":
            break
    page.keyboard.type('Ada "A", Lovelace')
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "save"
    with page.expect_download() as saved:
        page.keyboard.press("Enter")
    answers = tmp_path / saved.value.suggested_filename
    saved.value.save_as(answers)
    rows = list(csv.DictReader(answers.open()))
    assert {row["looker"] for row in rows} == {'Ada "A", Lovelace'}
    assert [row["choice"] for row in rows[:5]] == [
        "left", "right", "cannot tell", "cannot tell", "right"
    ]  # fmt: skip

    code, said = eye(answers, "--resolved", tmp_path / "looks.csv")
    assert code == 0, said
    assert "Shown again with sides swapped: 2 pairs" in said
    assert "MSE" in said
    assert len(list(csv.DictReader((tmp_path / "looks.csv").open()))) == 12
    assert page.problems == []
    assert [url for url in page.requests if not url.startswith(("file:", "data:", "blob:"))] == []


def test_nothing_in_the_page_names_a_model_or_a_side(page_file: Path) -> None:
    text = page_file.read_text()
    found = re.search(r'<script type="application/json" id="deck">(.*?)</script>', text)
    assert found is not None
    deck = json.loads(found[1])
    assert set(deck["pairs"][0]) == {"pair", "left", "middle", "right"}
    bare = re.sub(r'"[A-Za-z0-9+/=]{200,}"', '""', text)
    assert len(bare) < 30_000
    for word in ("conv", "fcn", "pca", "vae", "autoencoder", "small", "large", "within", "repeat"):
        # The style sheet and script have their own uses of some words.
        visible = re.sub(r"<(style|script)>.*?</\1>", "", bare, flags=re.S)
        assert not re.search(rf"\b{word}\b", visible, re.I), word
    assert b"tEXt" not in text.encode()


@pytest.mark.parametrize(
    ("width", "density", "scheme"),
    [(1280, 1, "light"), (390, 1, "dark"), (390, 3, "light"), (1280, 1.25, "dark")],
)
def test_accessible_and_pixel_for_pixel_at_any_width_and_density(
    page_file: Path, browser, width: int, density: float, scheme: str
) -> None:
    from axe_playwright_python.sync_playwright import Axe

    page = visit(browser, page_file, width, density, scheme)
    found = Axe().run(page)
    assert found.violations_count == 0, found.generate_report()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    sizes = page.locator(".stage img").evaluate_all("all => all.map(i => i.clientWidth ? "
        "[i.getBoundingClientRect().width, i.getBoundingClientRect().height] : null)")  # fmt: skip
    assert len(sizes) == 3
    for size in sizes:
        assert size[0] == pytest.approx(size[1])
        times = size[0] * density / 64
        assert times == pytest.approx(round(times), abs=0.02)
        assert times >= 2
    rendering = page.locator(".stage img").evaluate_all(
        "all => all.map(i => getComputedStyle(i).imageRendering)"
    )
    assert set(rendering) == {"pixelated"}
    page.locator(".left").click()
    assert place(page) == "Pair 2 of 12"


def test_a_browser_that_keeps_nothing_says_so(page_file: Path, browser) -> None:
    context = browser.new_context(offline=True)
    page = context.new_page()
    page.add_init_script(
        "Object.defineProperty(window, 'localStorage', {get() { throw new Error('blocked'); }})"
    )
    page.goto(page_file.as_uri())
    assert "save them before you close" in page.locator("#warning").inner_text()
    page.keyboard.press("ArrowLeft")
    assert place(page) == "Pair 2 of 12"


@pytest.mark.parametrize("what", ["samples", "interpolations"])
def test_other_looks_fit_a_phone_and_are_accessible(
    eye, browser, tmp_path: Path, what: str
) -> None:
    from axe_playwright_python.sync_playwright import Axe

    path = tmp_path / "eye.html"
    assert (
        eye("--what", what, "--pairs", "4", "--models", "ae-small,vae-small", "--out", path)[0] == 0
    )
    page = visit(browser, path, 390)
    assert Axe().run(page).violations_count == 0
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    for _ in range(4):
        page.keyboard.press("ArrowRight")
    assert "4 right" in page.locator("#counts").inner_text()
