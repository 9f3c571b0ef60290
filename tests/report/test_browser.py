"""The pages in a real browser: layout, errors, requests, filters, keyboard, accessibility."""

import contextlib
import json
import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest
from support.project import ROOT, commit
from support.revisions import copy_packs, edit_json, fix_cases

from stages.tools.cli import main

playwright = pytest.importorskip("playwright.sync_api", reason="needs `make extras`")
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
BROWSER = next(filter(None, map(shutil.which, BROWSERS)), None)
pytestmark = pytest.mark.skipif(BROWSER is None, reason=f"needs a browser ({', '.join(BROWSERS)})")
if TYPE_CHECKING:
    from playwright.sync_api import Browser

PAGES = [ROOT / "evidence/index.html", *sorted(ROOT.glob("evidence/*/index.html"))]
BROWSABLE = PAGES[1:]
WIDTHS = (390, 1400)
FOLDER = os.environ.get("EVIDENCE_SCREENSHOTS")  # where first screens are kept
# What of a page ends right of the window, and which letters of charts are smaller than 11 pixels.
CUT_OFF = """() => [...document.querySelectorAll("main *, header *")].filter(element =>
  !element.closest(".scroll, pre, [hidden]") &&
  element.getBoundingClientRect().right > innerWidth + 1).map(element => element.outerHTML.slice(0, 80))"""
SMALL_CHARTS = """() => [...document.querySelectorAll("img.chart")].filter(image =>
  image.getBoundingClientRect().width > 0 &&
  13 * image.getBoundingClientRect().width / image.naturalWidth < 11).map(image => image.alt)"""
BROKEN = """() => [...document.images].filter(image =>
  !(image.complete && image.naturalWidth)).map(image => image.alt)"""


Open = Callable[..., "Window"]


@pytest.fixture(scope="module")
def browser() -> Iterator["Browser"]:
    with playwright.sync_playwright() as engine:
        browser = engine.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        yield browser
        browser.close()


class Window:
    """A page in a window of its own.

    Attributes:
        page: of the browser.
        problems: what it has requested besides itself, and what it has logged.
    """

    def __init__(self, browser: "Browser", path: Path, width: int, **options: Any) -> None:
        self.problems: list[str] = []
        self._address = path.as_uri()
        context = browser.new_context(viewport={"width": width, "height": 900}, **options)
        self.page = context.new_page()
        self.page.on("console", lambda message: self.problems.append(message.text))
        self.page.on("pageerror", lambda error: self.problems.append(str(error)))
        self.page.on("request", lambda request: self._note(request.url))
        self.page.goto(self._address)

    def _note(self, address: str) -> None:
        if not address.startswith(("data:", self._address)):
            self.problems.append(address)

    def open_details(self) -> None:
        """Open every part that a reader can open."""
        script = "document.querySelectorAll('details').forEach(part => { part.open = true; })"
        self.page.evaluate(script)


@pytest.fixture
def open_page(browser: "Browser") -> Iterator[Callable[..., Window]]:
    windows: list[Window] = []

    def open_window(path: Path, width: int, **options: Any) -> Window:
        windows.append(Window(browser, path, width, **options))
        return windows[-1]

    yield open_window
    for window in windows:
        window.page.context.close()


def name(page: Path) -> str:
    return page.parent.name


@pytest.fixture(scope="module")
def comparison(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the page of two revisions that differ in params, data and predictions."""
    repository = copy_packs(tmp_path_factory.mktemp("revisions"))
    for task in ("image", "sentiment"):
        fix_cases(repository, task, 12)
    data = repository / "evidence/image/data"
    params = json.loads((data / "params.json").read_text())
    params["train"]["epochs"] += 1000
    edit_json(data / "params.json", train=params["train"])
    edit_json(data / "dataset_note.json", raw_sha256="0" * 64)
    commit(repository, "after")
    with contextlib.chdir(repository), pytest.raises(SystemExit):
        main(["compare", "before", "HEAD", "--html", "page.html"])
    return repository / "page.html"


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", WIDTHS)
def test_a_comparison_of_revisions_fits_its_window_and_requests_nothing(
    open_page: Open, comparison: Path, width: int, scheme: str
) -> None:
    check_layout(open_page(comparison, width, color_scheme=scheme), width)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious_in_a_comparison(
    open_page: Open, comparison: Path, scheme: str
) -> None:
    check_accessibility(open_page(comparison, 1400, color_scheme=scheme, bypass_csp=True))


def check_layout(window: Window, width: int) -> None:
    """Check that nothing is cut off, small or broken, and that the page neither logs nor requests."""
    window.open_details()
    page = window.page
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate(CUT_OFF) == []
    assert page.evaluate(BROKEN) == []
    assert page.evaluate(SMALL_CHARTS) == []
    assert window.problems == []


def check_accessibility(window: Window) -> None:
    """Check that axe finds no serious violation."""
    from axe_playwright_python.sync_playwright import Axe

    window.open_details()
    violations = Axe().run(window.page).response["violations"]
    serious = [
        (rule["id"], rule["nodes"][0]["html"][:120], rule["nodes"][0]["failureSummary"][:200])
        for rule in violations
        if rule["impact"] in {"serious", "critical"}
    ]
    assert serious == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("path", PAGES, ids=name)
def test_a_page_fits_its_window_and_requests_nothing(
    open_page: Open, path: Path, width: int, scheme: str
) -> None:
    window = open_page(path, width, color_scheme=scheme)
    check_layout(window, width)
    if FOLDER:
        window.page.evaluate(
            "document.querySelectorAll('details').forEach(part => { part.open = false; })"
        )
        window.page.screenshot(path=f"{FOLDER}/{name(path)}-{width}-{scheme}.png")


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("path", PAGES, ids=name)
def test_axe_finds_nothing_serious(open_page: Open, path: Path, scheme: str) -> None:
    check_accessibility(open_page(path, 1400, color_scheme=scheme, bypass_csp=True))


@pytest.mark.parametrize("path", BROWSABLE, ids=name)
def test_filters_give_the_rows_of_the_data_file(open_page: Open, path: Path) -> None:
    page = open_page(path, 1400).page
    table = pd.read_csv(path.parent / "data/failure_cases.csv", dtype=str, keep_default_na=False)
    columns = {"true class": "true", "likely cause": "cause", "kind of failure": "bucket"}
    for facet, column in columns.items():
        choice = page.locator(f'select[data-facet="{facet}"]')
        if not choice.count():
            continue
        for value, count in Counter(table[column]).items():
            choice.select_option(value=f"={value}")
            assert page.locator("output").inner_text() == f"{count} of {len(table)} cases"
            more = page.locator("[data-more]")
            if more.is_visible():
                more.click()
            assert page.locator(".case:visible").count() == count
        page.locator("button[type=reset]").click()


@pytest.mark.parametrize("path", BROWSABLE, ids=name)
def test_sorting_puts_the_largest_first(open_page: Open, path: Path) -> None:
    page = open_page(path, 1400).page
    sort = page.locator("select[data-sort]")
    for key in sort.locator("option").all_inner_texts()[1:]:
        sort.select_option(label=key)
        values = page.locator(".case").evaluate_all(
            "(cards, key) => cards.map(card => JSON.parse(card.dataset.keys)[key])", key
        )
        assert values == sorted(values, reverse=True)


@pytest.mark.parametrize("path", BROWSABLE, ids=name)
def test_a_link_to_a_case_shows_it(open_page: Open, path: Path) -> None:
    page = open_page(path, 390).page
    last = page.locator(".case").last
    link = str(last.locator(".id a").get_attribute("href"))
    assert not last.is_visible() or page.locator(".case").count() <= 12
    page.goto(path.as_uri() + link)
    page.wait_for_timeout(200)
    assert last.is_visible()
    assert page.evaluate("document.querySelector('.case:target') !== null")


@pytest.mark.parametrize("path", BROWSABLE, ids=name)
def test_the_keyboard_reaches_every_control(open_page: Open, path: Path) -> None:
    page = open_page(path, 1400).page
    selector = "a[href], button, select, summary, input, [tabindex='0']"
    expected = page.locator(f":is({selector}):visible").count()
    reached = set()
    for _ in range(expected + 20):
        page.keyboard.press("Tab")
        reached.add(
            page.evaluate(
                f"""[...document.querySelectorAll("{selector}")].indexOf(document.activeElement)"""
            )
        )
    assert len(reached - {-1}) >= expected


@pytest.mark.parametrize("path", BROWSABLE, ids=name)
def test_a_picture_is_enlarged_and_the_arrows_go_on(open_page: Open, path: Path) -> None:
    page = open_page(path, 1400).page
    if not page.locator(".case > button").count():
        pytest.skip("a page of texts has no pictures of cases")
    page.locator(".case > button").first.click()
    first = page.locator("dialog img").get_attribute("src")
    assert page.locator("dialog").is_visible()
    page.keyboard.press("ArrowRight")
    assert page.locator("dialog img").get_attribute("src") != first
    page.keyboard.press("Escape")
    assert not page.locator("dialog").is_visible()


@pytest.mark.parametrize("path", BROWSABLE, ids=name)
def test_without_scripts_every_case_is_shown(open_page: Open, path: Path) -> None:
    page = open_page(path, 1400, java_script_enabled=False).page
    assert page.locator(".case:visible").count() == page.locator(".case").count() > 0
    assert not page.locator("form.filters").is_visible()


def test_the_slider_shows_one_checkpoint_at_a_time(open_page: Open) -> None:
    page = open_page(ROOT / "evidence/generative/index.html", 1400).page
    frames = page.locator(".slider figure")
    page.locator(".slider input").fill("0")
    assert frames.first.is_visible()
    assert page.locator(".slider figure:visible").count() == 1
    page.locator(".slider input").fill("1")
    assert not frames.first.is_visible()
