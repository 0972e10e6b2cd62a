"""The report in a real browser: alone, narrow, printed, accessible; and the same bytes twice."""

from __future__ import annotations

import hashlib
import itertools
import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from synthetic_evaluations import DEFAULT, write_params


def digests(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.fixture(scope="module")
def world(templates: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A project whose report is written, three seeds."""
    from clarity.compare.stage import compare

    root = tmp_path_factory.mktemp("report")
    shutil.copytree(templates["three"], root, dirs_exist_ok=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        compare()
        yield root


def visit(browser, root: Path, width: int = 1280, scheme: str = "light"):
    context = browser.new_context(
        viewport={"width": width, "height": 900}, color_scheme=scheme, offline=True
    )
    page = context.new_page()
    page.requests, page.problems = [], []
    page.on("request", lambda request: page.requests.append(request.url))
    page.on("console", lambda message: page.problems.append(message.text))
    page.on("pageerror", lambda error: page.problems.append(str(error)))
    page.goto((root / "reports/index.html").as_uri())
    return page


def plain(locator) -> str:
    """What is to be read, without the ties that keep a number and its percent sign together."""
    return locator.inner_text().replace("\u00a0", " ")


def test_it_stands_alone_with_the_network_cut(world: Path, browser) -> None:
    page = visit(browser, world)
    asked = [url for url in page.requests if not url.startswith(("file:", "data:"))]
    assert asked == []
    assert page.problems == []
    broken = "images => images.filter(i => !i.complete || i.naturalWidth === 0).length"
    assert page.locator("img").evaluate_all(broken) == 0
    assert page.locator("img").count() >= 60
    text = (world / "reports/index.html").read_text()
    assert "<script" not in text
    assert re.findall(r'(?:src|href)="(?!data:|#)[^"]*"', text) == []
    assert len(text) < 6_000_000


@pytest.mark.parametrize("width", [390, 768, 1280])
def test_nothing_scrolls_sideways_but_tables_in_their_containers(
    world: Path, browser, width: int
) -> None:
    page = visit(browser, world, width)
    assert page.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark")])
def test_axe_finds_no_violation(world: Path, browser, width: int, scheme: str) -> None:
    from axe_playwright_python.sync_playwright import Axe

    found = Axe().run(visit(browser, world, width, scheme))
    assert found.violations_count == 0, found.generate_report()


def test_keyboard_users_can_skip_to_the_verdicts(world: Path, browser) -> None:
    page = visit(browser, world)
    page.keyboard.press("Tab")
    skip = page.locator("a.skip")
    assert skip.evaluate("e => e === document.activeElement")
    assert skip.bounding_box()["x"] >= 0


def test_pictures_say_what_is_to_be_seen(world: Path, browser) -> None:
    page = visit(browser, world)
    texts = page.locator("img").evaluate_all("images => images.map(i => i.alt)")
    assert min(len(text) for text in texts) > 20
    row = next(
        row
        for row in json.loads((world / "reports/table.json").read_text())["models"]
        if row["model"] == "fcn-large"
    )
    assert any(f"fcn-large; mean HaarPSI {row['test_haarpsi']:.3f}" in text for text in texts)
    levels = page.locator("h1, h2, h3, h4").evaluate_all("all => all.map(h => +h.tagName[1])")
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(b - a <= 1 for a, b in itertools.pairwise(levels))


def test_verdicts_come_first_and_are_those_of_the_data(world: Path, browser) -> None:
    page = visit(browser, world)
    assert page.locator("main h2").first.inner_text() == "Verdicts"
    data = json.loads((world / "reports/verdicts.json").read_text())
    shown = plain(page.locator("#verdicts"))
    answer = page.locator(".answer")
    for line, table in zip(data["answer"], answer.locator("table").all(), strict=True):
        heads = [plain(head) for head in table.locator("thead th").all()[1:]]
        rows = [
            [plain(c) for c in r.locator("th, td").all()] for r in table.locator("tbody tr").all()
        ]
        for k, head in enumerate(heads, 1):
            told = "; ".join(f"{row[0]} {row[min(k, len(row) - 1)]}" for row in rows)
            assert f"{head}: {told}." in line["sentence"]
        assert line["sentence"].partition("?")[0] in plain(answer)
    for note in answer.locator(".note").all():
        assert any(plain(note) in line["sentence"] for line in data["answer"])
    for claim in data["claims"]:
        assert claim["statement"] in shown
        for headline in claim["headlines"].values():
            assert headline in shown
    for finding in data["findings"]:
        assert finding["sentence"] in shown


def test_every_abbreviation_links_to_its_explanation_where_it_first_stands(
    world: Path, browser
) -> None:
    page = visit(browser, world)
    anchors = page.locator("a[href^='#g-']").evaluate_all("all => all.map(a => a.hash)")
    there = page.locator("#glossary div[id]").evaluate_all("all => all.map(e => '#' + e.id)")
    assert set(anchors) <= set(there)
    assert len(there) == len(set(there))
    text = plain(page.locator("body"))
    names = {
        "HaarPSI": "Haar wavelet perceptual similarity index", "MSE": "mean squared error",
        "AUROC": "area under the receiver operating characteristic", "LSD": "log-spectral distance",
        "fcn": "fully connected networks", "PSNR": "peak signal-to-noise ratio",
        "Holm": "step-down correction",
    }  # fmt: skip
    for label, name in names.items():
        first = re.search(rf"(?<![\w-]){label}(?![\w-])", text)
        assert first is not None, label
        assert name in text[first.end() : first.end() + 60], label


def test_faces_stand_beside_each_familys_answer(world: Path, browser) -> None:
    page = visit(browser, world)
    data = json.loads((world / "reports/verdicts.json").read_text())
    sizes = [c for claim in data["claims"] if claim["question"] for c in claim["comparisons"]]
    families = page.locator(".family")
    assert families.count() == len(sizes) == 4 * 2 * 2
    for place in range(families.count()):
        captions = families.nth(place).locator("figcaption").all_inner_texts()
        assert [c.split(":")[0] for c in captions][1] == "Median"
        gains = [float(b) - float(a) for a, b in (re.findall(r"0\.\d+", c)[:2] for c in captions)]
        assert gains == sorted(gains, reverse=True)


def test_what_passes_as_normal_is_said_aloud(world: Path) -> None:
    text = (world / "reports/index.html").read_text()
    said = re.findall(r"<strong>([^<]+)</strong> lets through: ([^<]+)\.</li>", text)
    assert said == [("fcn-small", "black, gradient")]


def test_every_model_stands_in_the_wall_below_the_originals(world: Path, browser) -> None:
    page = visit(browser, world)
    names = page.locator("#wall .wall strong").all_inner_texts()
    models = [r["model"] for r in json.loads((world / "reports/table.json").read_text())["models"]]
    assert names == ["Originals", *models]


def test_it_prints(world: Path, browser) -> None:
    data = visit(browser, world).pdf(prefer_css_page_size=True, print_background=True)
    pages = len(re.findall(rb"/Type\s*/Page\b", data))
    assert 5 <= pages <= 40


def test_the_same_bytes_twice_and_no_path_time_or_version(
    reported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from clarity.compare.stage import compare

    shutil.copytree(reported, tmp_path, dirs_exist_ok=True)
    shutil.rmtree(tmp_path / "reports")
    monkeypatch.chdir(tmp_path)
    compare()
    assert digests(tmp_path / "reports") == digests(reported / "reports")
    for path in (tmp_path / "reports").rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            assert str(tmp_path).encode() not in content
            assert b"matplotlib" not in content
            assert b"tIME" not in content
    wanted = {"index.html", "table.csv", "table.json", "table.md", "verdicts.json", "curves.csv"}
    assert wanted <= {path.name for path in (tmp_path / "reports").iterdir()}


@pytest.mark.slow
def test_a_chart_in_another_resolution_changes_no_number(
    reported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from clarity.compare.stage import compare

    shutil.copytree(reported, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    write_params(tmp_path, DEFAULT, (0,), dpi=50)
    compare()
    before, after = digests(reported / "reports"), digests(tmp_path / "reports")
    changed = {name for name in before if before[name] != after[name]}
    assert "figures/pareto.png" in changed
    assert not any(name.startswith(("table", "verdicts", "curves")) for name in changed)
