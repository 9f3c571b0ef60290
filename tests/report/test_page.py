"""The evidence pages: their structure, and their layout in a browser at three widths."""

import html
import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
from support.project import ROOT

PAGES = sorted(ROOT.glob("evidence/*/index.html"))
WIDTHS = (360, 390, 1400)
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
BROWSER = next(filter(None, map(shutil.which, BROWSERS)), None)
# A frame for each page and width; the measurements come back in the title.
PROBE = """<!DOCTYPE html><body><script>
const results = [], cases = CASES;
for (const [page, width] of cases) {
  const frame = document.createElement("iframe");
  frame.style = `width:${width}px;height:800px;border:0`;
  frame.onload = () => {
    const content = frame.contentDocument, images = [...content.images];
    results.push({
      page, width,
      scroll_width: content.documentElement.scrollWidth,
      images: images.length,
      loaded_images: images.filter(image => image.complete && image.naturalWidth > 0).length,
      cut_off: [...content.querySelectorAll("section *")].filter(element =>
        !element.closest(".scroll, pre, [hidden], details:not([open])") &&
        element.getBoundingClientRect().right > width + 1).length
    });
    document.title = JSON.stringify(results);
  };
  frame.src = page;
  document.body.append(frame);
}
</script>"""


class Outline(HTMLParser):
    """The structure of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.headings: list[int] = []
        self.ids: set[str] = set()
        self.links: list[str] = []
        self.images: list[dict[str, str | None]] = []
        self.scroll_boxes: list[dict[str, str | None]] = []
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
            self.scroll_boxes.append(values)
        self.scripts += tag == "script"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.parent.name)
def test_a_page_is_accessible_by_structure_and_keyboard(page: Path) -> None:
    outline = Outline()
    outline.feed(page.read_text())
    assert outline.headings[0] == 1
    assert outline.headings.count(1) == 1
    steps = zip(outline.headings, outline.headings[1:], strict=False)
    assert all(after <= before + 1 for before, after in steps)
    anchors = {unquote(link[1:]) for link in outline.links if link.startswith("#")}
    assert anchors <= outline.ids
    files = [link for link in outline.links if not link.startswith("#")]
    assert all(
        (page.parent / unquote(link)).exists() for link in files
    )  # of the repository: offline
    assert outline.images
    assert all(image["alt"] for image in outline.images)
    assert all(str(image["src"]).startswith("data:") for image in outline.images)
    assert outline.scroll_boxes
    assert all(box["tabindex"] == "0" and box["aria-label"] for box in outline.scroll_boxes)
    assert outline.scripts == 1


@pytest.mark.skipif(BROWSER is None, reason=f"needs a browser ({', '.join(BROWSERS)})")
def test_no_page_is_cut_off_at_any_width(tmp_path: Path) -> None:
    cases = [(page.as_uri(), width) for page in PAGES for width in WIDTHS]
    results = measure(tmp_path, cases)
    assert len(results) == len(cases)
    for result in results:
        assert result["scroll_width"] <= result["width"], result
        assert result["cut_off"] == 0, result
        assert result["images"] == result["loaded_images"] > 0, result


def measure(folder: Path, cases: list[tuple[str, int]]) -> list[dict[str, Any]]:
    """Return the measurements of each (page, width) in a browser without a network."""
    (folder / "probe.html").write_text(PROBE.replace("CASES", json.dumps(cases)))
    offline = (
        *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
        *("--disable-quic", "--no-first-run", "--host-resolver-rules=MAP * ~NOTFOUND"),
    )
    dom = subprocess.run(
        [
            *(str(BROWSER), "--headless", "--no-sandbox", "--disable-gpu", *offline),
            *("--allow-file-access-from-files", "--virtual-time-budget=10000", "--dump-dom"),
            *(f"--user-data-dir={folder}/profile", (folder / "probe.html").as_uri()),
        ],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    title = re.search(r"<title>(.*?)</title>", dom)
    assert title, dom
    results: list[dict[str, Any]] = json.loads(html.unescape(title[1]))
    return results
