"""The evidence page in a browser: narrow and wide, without a network, by keyboard."""

import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import pytest
from conftest import ROOT

PAGES = sorted(ROOT.glob("evidence/*/index.html"))
each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.parent.name)
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
BROWSER = next(filter(None, map(shutil.which, BROWSERS)), None)
# The page is laid out in a frame of a given width; what it measures comes back in the DOM.
PROBE = """<!DOCTYPE html><iframe id="f" src="{page}" style="width:{width}px;height:800px;border:0">
</iframe><script>f.onload = () => {{
  const d = f.contentDocument, seen = [...d.images].filter(i => i.complete && i.naturalWidth > 0);
  document.title = JSON.stringify({{
    wide: d.documentElement.scrollWidth, images: d.images.length, seen: seen.length,
    outside: [...d.querySelectorAll("section *")].filter(e => !e.closest(".scroll, pre") &&
      e.getBoundingClientRect().right > {width} + 1).length
  }});
}}</script>"""


class _Outline(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.headings: list[int] = []
        self.ids: set[str] = set()
        self.links: list[str] = []
        self.images: list[dict[str, str | None]] = []
        self.scrollers: list[dict[str, str | None]] = []
        self.scripts = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        if re.fullmatch("h[1-6]", tag):
            self.headings.append(int(tag[1]))
        if values.get("id"):
            self.ids.add(str(values["id"]))
        if tag == "a":
            self.links.append(str(values["href"]))
        if tag == "img":
            self.images.append(values)
        if values.get("class") == "scroll":
            self.scrollers.append(values)
        self.scripts += tag == "script"


@each_page
def test_the_page_can_be_read_by_structure_and_by_keyboard(page: Path) -> None:
    outline = _Outline()
    outline.feed(page.read_text())
    assert outline.headings[0] == 1
    assert outline.headings.count(1) == 1
    steps = zip(outline.headings, outline.headings[1:], strict=False)
    assert all(after <= before + 1 for before, after in steps)
    assert {link.removeprefix("#") for link in outline.links} <= outline.ids
    assert outline.images
    assert all(image["alt"] for image in outline.images)
    assert all(str(image["src"]).startswith("data:") for image in outline.images)
    assert outline.scrollers
    assert all(box["tabindex"] == "0" and box["aria-label"] for box in outline.scrollers)
    assert outline.scripts == 0


@pytest.mark.skipif(BROWSER is None, reason=f"no browser here ({', '.join(BROWSERS)})")
@pytest.mark.parametrize("width", [360, 390, 1400])
@each_page
def test_nothing_is_cut_off_at_any_width(tmp_path: Path, page: Path, width: int) -> None:
    (tmp_path / "probe.html").write_text(PROBE.format(page=page.as_uri(), width=width))
    told = subprocess.run(
        [
            str(BROWSER),
            *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
            *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
            *("--allow-file-access-from-files", "--virtual-time-budget=5000", "--dump-dom"),
            *(f"--user-data-dir={tmp_path}/profile", f"--window-size={width + 40},900"),
            (tmp_path / "probe.html").as_uri(),
        ],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    title = re.search(r"<title>(.*?)</title>", told)
    assert title, told
    values = dict(re.findall(r'"(\w+)":(\d+)', title[1].replace("&quot;", '"')))
    assert int(values["wide"]) <= width
    assert values["outside"] == "0"
    assert values["images"] == values["seen"] != "0"
