"""Tasks on a user's own texts run through all stages, side by side, and show markup as text."""

import contextlib
import csv
import json
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from markdown_it import MarkdownIt
from support.pages import page_text
from support.stages import run_stages
from support.text_networks import one_thread
from support.texts import COLUMNS, text_task, to_csv_text

from stages.core.errors import UserError
from stages.core.files import read_csv, read_json
from stages.core.task import Task

ODD = [
    "<script>alert(1)</script> <img src=x onerror=alert(2)>",
    "**bold** [link](javascript:alert(3)) | cell | `code` # head",
    "\x1b[31mred\x1b[0m and a bell\x07",
    '=HYPERLINK("http://evil.example","click")',
    "@SUM(1+1)*cmd|' /C calc'!A0",
    "-2+3 {{ document.title }} {% raw %}",
]
CLASSES = ["=down", "<b>up</b>"]
TONES = ["angry", "calm", "glad"]
TRAIN: dict[str, Any] = {
    "model": "scratch",
    "scratch": {"layers": 1, "width": 16, "heads": 2},
    "epochs": 1,
    "seeds": [0, 1],
    "learning_rate": 0.001,  # so that some texts fail
}
CHECK = {"overfit_loss": 2.0}  # above the first loss, so that no step is needed


def opinions_task(folder: Path) -> Task:
    """Return a task of two oddly named classes, on texts that look like markup and formulas."""
    rows = [
        [f"{ODD[number % len(ODD)]} was {word} for the {number} of us", label]
        for number in range(40)
        for label, word in (("<b>up</b>", "fine"), ("=down", "grim"))
    ]
    path = folder / "opinions.csv"
    path.write_text(to_csv_text([["opinion", "side"], *rows]), newline="", encoding="utf-8")
    prepare = {
        "columns": {**COLUMNS, "text": "opinion", "label": "side"},
        "classes": CLASSES,
        "near_duplicate": 1.0,
    }
    changes: dict[str, dict[str, Any]] = {
        "prepare": prepare,
        "baseline": {"keywords": None},
        "check": CHECK,
        "train": TRAIN,
    }
    return text_task(Path("opinions.csv"), changes, "opinions")


def tones_task(folder: Path) -> Task:
    """Return a task of three classes, with groups, slices, buckets and keywords."""
    random = np.random.default_rng(0)
    rows = []
    for number in range(150):
        words = " ".join(f"w{word}" for word in random.integers(0, 200, 8))
        tone = TONES[number % 3]
        origin = ("post", "mail")[number % 2]
        rows.append([f"{tone} {words}", tone, f"writer-{number // 2}", origin])
    header = ["text", "label", "writer", "origin"]
    path = folder / "tones.csv"
    path.write_text(to_csv_text([header, *rows]), newline="", encoding="utf-8")
    changes: dict[str, dict[str, Any]] = {
        "prepare": {
            "columns": {**COLUMNS, "group": "writer", "slices": ["origin"]},
            "classes": TONES,
        },
        "check": CHECK,
        "baseline": {"keywords": {tone: tone for tone in TONES}},
        "evaluate": {"bucket_by": "origin"},
        "train": TRAIN,
    }
    return text_task(Path("tones.csv"), changes, "tones")


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Return a folder in which both tasks have run. Not to be changed."""
    folder = tmp_path_factory.mktemp("project")
    with one_thread():
        for task in (opinions_task(folder), tones_task(folder)):
            run_stages(folder, task)
        yield folder


class _PageParser(HTMLParser):
    """Collects a page's tags, event handlers and text."""

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


@pytest.mark.slow
def test_the_page_shows_markup_as_text(project: Path) -> None:
    page = _PageParser()
    page.feed((project / "evidence/opinions/index.html").read_text(encoding="utf-8"))
    assert "b" not in page.tags
    assert not page.handlers
    text = " ".join(page.text.split())
    assert "<script>alert(1)</script>" in text
    assert sum(odd in text for odd in ODD if "\x1b" not in odd) >= 3
    assert "evidence predict opinions '" in text
    assert "sentiment" not in text


@pytest.mark.slow
def test_the_readme_shows_markup_as_text(project: Path) -> None:
    text = (project / "evidence/opinions/README.md").read_text(encoding="utf-8")
    assert "\x1b" not in text
    html = MarkdownIt("commonmark", {"html": True}).enable("table").render(text)
    for markup in ("<script", "<img src=x", "<b>"):
        assert markup not in html
    assert "javascript:" not in re.findall(r'href="([^"]*)"', html)
    highlighted = html.replace("</strong>", "").replace("<strong>", "")
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in highlighted


@pytest.mark.slow
def test_no_cell_of_a_csv_is_a_formula_and_reading_gives_the_text_back(project: Path) -> None:
    with (project / "opinions.csv").open(newline="", encoding="utf-8") as file:
        texts = {row["opinion"].strip() for row in csv.DictReader(file)}
    data = project / "evidence/opinions/data"
    for path in sorted(data.glob("*.csv")):
        with path.open(newline="", encoding="utf-8") as file:
            for cell in (cell for row in csv.reader(file) for cell in row):
                number = re.fullmatch(r"[-+]?\d*\.?\d+", cell)
                assert number or not re.match(r"[=+\-@\t\r]", cell), (path.name, cell)
    cases = read_csv(data / "failure_cases.csv", dtype=str)
    assert len(cases) >= 3
    assert set(cases["text"]) <= texts
    assert set(cases["true"]) <= set(CLASSES)
    assert set(cases["id"]) <= read_json(data / "driving_words.json").keys()


@pytest.mark.slow
def test_without_keywords_and_bucket_column_the_pack_says_so(project: Path) -> None:
    evidence = project / "evidence/opinions"
    record = json.loads((evidence / "record.json").read_text(encoding="utf-8"))
    assert record["fix_attempt"] == {"change": "none: tasks.opinions.baseline.keywords is null"}
    metrics = read_json(evidence / "data/metrics.json")
    assert set(metrics["baselines"]) == {
        "most frequent class",
        "NB-SVM",
        "TF-IDF and logistic regression",
        "frozen MiniLM and logistic regression",
    }
    buckets = pd.read_csv(evidence / "data/error_buckets.csv")
    cues = {"contrast", "negation", "comparison", "conditional", "intensity", "other"}
    assert set(buckets["bucket"]) <= cues


@pytest.mark.slow
def test_a_task_of_three_classes_has_its_own_buckets_baselines_and_words(project: Path) -> None:
    data = project / "evidence/tones/data"
    metrics = read_json(data / "metrics.json")
    assert metrics["baselines"]["keyword counts"]["accuracy"] == 1
    assert set(pd.read_csv(data / "error_buckets.csv")["bucket"]) == {"mail", "post"}
    assert list(pd.read_csv(data / "confusion_matrix.csv").columns[1:]) == TONES
    assert set(pd.read_csv(data / "slices.csv")["slice"]) == {"class", "origin", "length"}
    page = page_text(project / "evidence/tones")
    assert "(buckets by the column origin)" in page
    assert "a Transformer trained from scratch (layers: 1, width: 16" in page
    words = read_json(data / "driving_words.json")
    assert words.keys().isdisjoint(read_json(project / "data/failures/opinions/words.json"))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("opinion,side\n,=down\n", "opinions.csv: 1 of 1 rows cannot be used: 1 empty text"),
        ("opinion,side\ngood,sideways\n", "1 unknown label (row 1 (line 2): 'sideways'); correct"),
        ("text,side\ngood,=down\n", "column 'opinion' is missing; the header has 'text', 'side'"),
        ("opinion,side\n" + "good,=down\n" * 40, "class '<b>up</b>' has 0 usable texts"),
        ("opinion,side\na,=down\nb,c,=down\n", "row 2 (line 3): given 3 cells, the header has 2"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused_and_earlier_data_stay(
    project: Path, tmp_path: Path, content: str, problem: str
) -> None:
    task = opinions_task(tmp_path)
    packed = tmp_path / task.folder("prepare") / "texts.bin"
    packed.parent.mkdir(parents=True)
    packed.write_bytes(b"earlier data")
    (tmp_path / "opinions.csv").write_text(content, encoding="utf-8")
    with contextlib.chdir(tmp_path), pytest.raises(UserError) as error:
        run_stages(tmp_path, task, ("prepare",))
    assert problem in str(error.value)
    assert "\n" not in str(error.value)
    assert packed.read_bytes() == b"earlier data"
    assert list(packed.parent.iterdir()) == [packed]
