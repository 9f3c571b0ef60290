"""The pages in a real browser: layout, errors, requests, filters, keyboard, accessibility."""

import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest
from support.project import ROOT

playwright = pytest.importorskip("playwright.sync_api", reason="needs `make extras`")
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
BROWSER = next(filter(None, map(shutil.which, BROWSERS)), None)
pytestmark = pytest.mark.skipif(BROWSER is None, reason=f"needs a browser ({', '.join(BROWSERS)})")
if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

PAGES = [ROOT / "evidence/index.html", *sorted(ROOT.glob("evidence/*/index.html"))]
BROWSABLE = PAGES[1:]
WIDTHS = (390, 1400)
# What of a page ends right of the window, and which letters of charts are smaller than 11 pixels.
CUT_OFF = """() => [...document.querySelectorAll("main *, header *")].filter(element =>
  !element.closest(".scroll, pre, [hidden]") &&
  element.getBoundingClientRect().right > innerWidth + 1).map(element => element.outerHTML.slice(0, 80))"""
SMALL_CHARTS = """() => [...document.querySelectorAll("img.chart")].filter(image =>
  image.getBoundingClientRect().width > 0 &&
  13 * image.getBoundingClientRect().width / image.naturalWidth < 11).map(image => image.alt)"""
BROKEN = """() => [...document.images].filter(image =>
  !(image.complete && image.naturalWidth)).map(image => image.alt)"""


@pytest.fixture(scope="module")
def browser() -> Iterator["Browser"]:
    with playwright.sync_playwright() as engine:
        browser = engine.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        yield browser
        browser.close()


def open_page(browser: "Browser", path: Path, width: int, **options: Any) -> "Page":
    """Open a page; what it requests and the errors that it logs are kept as attributes."""
    context = browser.new_context(viewport={"width": width, "height": 900}, **options)
    page = context.new_page()
    page.problems = []  # type: ignore[attr-defined]
    page.on("console", lambda message: page.problems.append(message.text))  # type: ignore[attr-defined]
    page.on("pageerror", lambda error: page.problems.append(str(error)))  # type: ignore[attr-defined]
    page.on(
        "request",
        lambda request: (
            None
            if request.url.startswith(("data:", path.as_uri()))
            else page.problems.append(request.url)  # type: ignore[attr-defined]
        ),
    )
    page.goto(path.as_uri())
    return page


def name(page: Path) -> str:
    return page.parent.name


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("path", PAGES, ids=name)
def test_a_page_fits_its_window_and_requests_nothing(
    browser: "Browser", path: Path, width: int, scheme: str
) -> None:
    page = open_page(browser, path, width, color_scheme=scheme)
    page.evaluate("document.querySelectorAll('details').forEach(part => { part.open = true; })")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate(CUT_OFF) == []
    assert page.evaluate(BROKEN) == []
    assert page.evaluate(SMALL_CHARTS) == []
    assert page.problems == []  # type: ignore[attr-defined]
    page.context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("path", PAGES, ids=name)
def test_axe_finds_nothing_serious(browser: "Browser", path: Path, scheme: str) -> None:
    from axe_playwright_python.sync_playwright import Axe

    page = open_page(browser, path, 1400, color_scheme=scheme, bypass_csp=True)
    page.evaluate("document.querySelectorAll('details').forEach(part => { part.open = true; })")
    found = Axe().run(page).response["violations"]
    serious = [
        (rule["id"], rule["nodes"][0]["html"][:120], rule["nodes"][0]["failureSummary"][:200])
        for rule in found
        if rule["impact"] in {"serious", "critical"}
    ]
    assert serious == []
    page.context.close()


@pytest.mark.parametrize("path", BROWSABLE, ids=name)
def test_filters_give_the_rows_of_the_data_file(browser: "Browser", path: Path) -> None:
    page = open_page(browser, path, 1400)
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
    page.context.close()


@pytest.mark.parametrize("path", BROWSABLE, ids=name)
def test_sorting_puts_the_largest_first(browser: "Browser", path: Path) -> None:
    page = open_page(browser, path, 1400)
    sort = page.locator("select[data-sort]")
    for key in sort.locator("option").all_inner_texts()[1:]:
        sort.select_option(label=key)
        values = page.locator(".case").evaluate_all(
            "(cards, key) => cards.map(card => JSON.parse(card.dataset.keys)[key])", key
        )
        assert values == sorted(values, reverse=True)
    page.context.close()


@pytest.mark.parametrize("path", BROWSABLE, ids=name)
def test_a_link_to_a_case_shows_it(browser: "Browser", path: Path) -> None:
    page = open_page(browser, path, 390)
    last = page.locator(".case").last
    link = str(last.locator(".id a").get_attribute("href"))
    assert not last.is_visible() or page.locator(".case").count() <= 12
    page.goto(path.as_uri() + link)
    page.wait_for_timeout(200)
    assert last.is_visible()
    assert page.evaluate("document.querySelector('.case:target') !== null")
    page.context.close()


@pytest.mark.parametrize("path", BROWSABLE, ids=name)
def test_the_keyboard_reaches_every_control(browser: "Browser", path: Path) -> None:
    page = open_page(browser, path, 1400)
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
    page.context.close()


@pytest.mark.parametrize("path", BROWSABLE, ids=name)
def test_a_picture_is_enlarged_and_the_arrows_go_on(browser: "Browser", path: Path) -> None:
    page = open_page(browser, path, 1400)
    if not page.locator(".case > button").count():
        pytest.skip("a page of texts has no pictures of cases")
    page.locator(".case > button").first.click()
    first = page.locator("dialog img").get_attribute("src")
    assert page.locator("dialog").is_visible()
    page.keyboard.press("ArrowRight")
    assert page.locator("dialog img").get_attribute("src") != first
    page.keyboard.press("Escape")
    assert not page.locator("dialog").is_visible()
    page.context.close()


@pytest.mark.parametrize("path", BROWSABLE, ids=name)
def test_without_scripts_every_case_is_shown(browser: "Browser", path: Path) -> None:
    page = open_page(browser, path, 1400, java_script_enabled=False)
    assert page.locator(".case:visible").count() == page.locator(".case").count() > 0
    assert not page.locator("form.filters").is_visible()
    page.context.close()


def test_the_slider_shows_one_checkpoint_at_a_time(browser: "Browser") -> None:
    page = open_page(browser, ROOT / "evidence/generative/index.html", 1400)
    frames = page.locator(".slider figure")
    page.locator(".slider input").fill("0")
    assert frames.first.is_visible()
    assert page.locator(".slider figure:visible").count() == 1
    page.locator(".slider input").fill("1")
    assert not frames.first.is_visible()
    page.context.close()
