"""A user's own texts through the whole row: what is odd in them stays text wherever it is shown."""

import csv
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from conftest import change_params, refused, run
from markdown_it import MarkdownIt

from stages.shared.files import read_csv

pytestmark = pytest.mark.xdist_group("chain")

ODD = [
    "<script>alert(1)</script> <img src=x onerror=alert(2)>",
    "**bold** [link](javascript:alert(3)) | cell | `code` # head",
    "\x1b[31mred\x1b[0m and a bell\x07",
    '=HYPERLINK("http://evil.example","click")',
    "@SUM(1+1)*cmd|' /C calc'!A0",
    "-2+3 {{ document.title }} {% raw %}",
]


@pytest.fixture(scope="module")
def own(chain: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a copy of the project in which the row has run over odd texts of an own CSV file."""
    where = tmp_path_factory.mktemp("own") / "project"
    run(chain.parent, "cp", "-r", str(chain), str(where))
    rows = []
    for number in range(40):
        odd = ODD[number % len(ODD)]
        for label, word in (("<b>up</b>", "fine"), ("=down", "grim")):
            rows.append({"what": f"{odd} was {word} for the {number} of us", "side": label})
    with (where / "own.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, ["what", "side"])
        writer.writeheader()
        writer.writerows(rows)

    def change(params: dict[str, Any]) -> None:
        task = params["sentiment"]
        task["prepare"] |= {
            "source": "csv",
            "path": "own.csv",
            "columns": {"text": "what", "label": "side", "id": None, "group": None, "slices": []},
            "classes": ["=down", "<b>up</b>"],
            "near_duplicate": 1.0,
        }
        task["baseline"]["keywords"] = None
        task["evaluate"]["bucket_by"] = None
        task["train"] |= {"epochs": 1, "learning_rate": 0.001}  # so that some texts fail

    change_params(where, change)
    for stage in ("params", "prepare sentiment", "check sentiment", "baseline sentiment"):
        run(where, "python", "-m", *f"stages.{stage}".split())
    for stage in ("train", "evaluate", "failures", "pack"):
        run(where, "python", "-m", f"stages.{stage}", "sentiment")
    return where


class _Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.handlers: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.handlers += [name for name, _ in attrs if name.startswith("on")]

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_page_shows_markup_as_text(own: Path) -> None:
    seen = _Tags()
    seen.feed((own / "evidence/sentiment/index.html").read_text())
    assert not seen.tags & {"script", "b"}
    assert not seen.handlers
    shown = " ".join(seen.text.split())
    assert "<script>alert(1)</script>" in shown
    assert sum(odd in shown for odd in ODD if "\x1b" not in odd) >= 3


def test_the_readme_shows_markup_as_text(own: Path) -> None:
    text = (own / "evidence/sentiment/README.md").read_text()
    assert "\x1b" not in text
    html = MarkdownIt("commonmark", {"html": True}).enable("table").render(text)
    assert "<script" not in html
    assert "<img src=x" not in html
    assert "<b>" not in html
    assert "javascript:" not in re.findall(r'href="([^"]*)"', html)
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in html.replace("</strong>", "").replace(
        "<strong>", ""
    )


def test_no_cell_of_a_csv_is_a_formula_and_reading_gives_the_text_back(own: Path) -> None:
    texts = [row["what"].strip() for row in csv.DictReader((own / "own.csv").open(newline=""))]
    for path in sorted((own / "evidence/sentiment/data").glob("*.csv")):
        with path.open(newline="", encoding="utf-8") as file:
            for row in csv.reader(file):
                for cell in row:
                    number = re.fullmatch(r"[-+]?\d*\.?\d+", cell)
                    assert number or not re.match(r"[=+\-@\t\r]", cell), (path.name, cell)
    cases = read_csv(own / "evidence/sentiment/data/failure_cases.csv", dtype=str)
    assert len(cases) >= 3
    assert set(cases["text"]) <= set(texts)
    assert set(cases["true"]) <= {"=down", "<b>up</b>"}
    words = json.loads((own / "evidence/sentiment/data/driving_words.json").read_text())
    assert set(cases["id"]) <= words.keys()


def test_without_keywords_and_columns_the_row_says_so(own: Path) -> None:
    record = json.loads((own / "evidence/sentiment/record.json").read_text())
    assert record["fix_attempt"] == {"change": "none: the params name no keywords"}
    metrics = json.loads((own / "evidence/sentiment/data/metrics.json").read_text())
    assert set(metrics["baselines"]) == {"NB-SVM", "TF-IDF and logistic regression"}
    buckets = pd.read_csv(own / "evidence/sentiment/data/error_buckets.csv")
    signs = {"contrast", "negation", "comparison", "conditional", "intensity", "other"}
    assert set(buckets["bucket"]) <= signs


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("what,side\n,=down\n", "own.csv: row 1 (line 2): the text is empty"),
        ("what,side\ngood,sideways\n", "row 1 (line 2): given label 'sideways'; must be one of"),
        ("text,side\ngood,=down\n", "column 'what' is missing; the header has 'text', 'side'"),
        ("what,side\n" + "good,=down\n" * 40, "has 1 usable texts"),
        ("what,side\na,=down\nb,c,=down\n", "row 2 (line 3): given 3 cells, the header has 2"),
    ],
)
def test_a_file_that_cannot_be_used_gets_one_line_and_nothing_is_lost(
    own: Path, content: str, said: str
) -> None:
    kept = (own / "data/prepare/sentiment/texts.bin").read_bytes()
    good = (own / "own.csv").read_text()
    try:
        (own / "own.csv").write_text(content)
        line = refused(own, "python", "-m", "stages.prepare", "sentiment")
    finally:
        (own / "own.csv").write_text(good)
    assert line.startswith("prepare@sentiment: ")
    assert said in line or "has 0 usable texts" in line
    assert (own / "data/prepare/sentiment/texts.bin").read_bytes() == kept
