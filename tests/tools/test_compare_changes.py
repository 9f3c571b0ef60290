"""`evidence compare REV1 REV2 --html --markdown`: what changes, in a page and for a pull request."""

import base64
import json
import re
from html import escape
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from support.predictions import make_rows, write_table
from support.project import commit, run
from support.revisions import TASKS, copy_packs, edit_json, fix_cases

from stages.core.files import read_csv
from stages.tools.cli import main
from stages.tools.compare.sample_pictures import find_pictures

PNG = b"\x89PNG\r\n\x1a\n"


class Page(HTMLParser):
    """A page as a test reads it: its tags with attributes, and its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text.append(data.strip())

    def pictures(self) -> dict[str, bytes]:
        """Return the pictures of samples by alternative text."""
        sources = {str(a["alt"]): str(a["src"]) for tag, a in self.tags if tag == "img"}
        prefix = "data:image/png;base64,"
        return {
            alt: base64.b64decode(source.removeprefix(prefix))
            for alt, source in sources.items()
            if source.startswith(prefix)
        }


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a repository with committed packs, tagged `before`."""
    copy_packs(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def compare(capsys: pytest.CaptureFixture[str], *arguments: str, status: int) -> str:
    """Run `evidence compare`, which must end with `status`; return what it prints, its errors last."""
    with pytest.raises(SystemExit) as stop:
        main(["compare", *arguments])
    printed = capsys.readouterr()
    assert stop.value.code == status, printed
    return printed.out + printed.err


def test_the_page_shows_what_changed_with_the_pictures_of_the_pack(
    repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = repository / "evidence/image/data"
    edit_json(data / "dataset_note.json", raw_sha256="0" * 64)
    params = json.loads((data / "params.json").read_text())
    epochs = params["train"]["epochs"]
    params["train"]["epochs"] = epochs + 1000
    edit_json(data / "params.json", train=params["train"])
    cases = fix_cases(repository, "image", 5)
    compare(capsys, "before", "HEAD", "--html", "out.html", status=1)
    page = Page((repository / "out.html").read_text())
    assert {"train.epochs", str(epochs), str(epochs + 1000), "raw_sha256"} <= {*page.text}
    assert any(text.startswith("5 fixed: only HEAD gets them right") for text in page.text)
    assert not any("broken: only" in text for text in page.text)
    pictures = page.pictures()
    assert set(pictures) == set(cases["id"])
    assert pictures == find_pictures(
        (repository / "evidence/image/index.html").read_text(), pictures
    )
    for cause in set(cases["cause"]):
        assert any(f"likely cause: {cause}" in text for text in page.text)
    # One file, that asks for nothing and runs nothing.
    for tag, attributes in page.tags:
        assert tag not in {"script", "link", "iframe", "object"}
        for name in ("src", "href"):
            assert (attributes.get(name) or "#").startswith(("#", "data:image/"))
    assert "url(" not in (repository / "out.html").read_text()
    # Seen from the other side, they are broken, and what made them wrong is the same.
    compare(capsys, "HEAD", "before", "--html", "back.html", status=1)
    back = Page((repository / "back.html").read_text())
    assert any(text.startswith("5 broken: only HEAD gets them right") for text in back.text)
    assert back.pictures() == pictures


def test_texts_are_quoted_with_the_words_that_weigh_most(
    repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cases = fix_cases(repository, "sentiment", 3)
    compare(capsys, "before", "HEAD", "--html", "out.html", "--markdown", "out.md", status=1)
    page = Page((repository / "out.html").read_text())
    words = " ".join(" ".join(page.text).split())
    for text in cases["text"]:
        assert " ".join(text.split()[:30]) in words
    assert any(tag == "mark" for tag, _ in page.tags)
    markdown = (repository / "out.md").read_text()
    html = MarkdownIt("commonmark", {"html": True}).enable("table").render(markdown)
    content = Page(html)
    shown = " ".join(" ".join(content.text).split())
    for case in cases.to_dict("records"):
        assert case["id"] in content.text
        assert " ".join(str(case["text"]).split()[:5]) in shown
    assert html.count("<details>") == html.count("</details>") == len(TASKS)


def test_the_markdown_fits_a_comment_whatever_changes(
    repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = repository / "evidence/sentiment/data/predictions.csv"
    table = read_csv(path)
    table["seed_0"] = 1 - table["label"]
    table.to_csv(path, index=False)
    log = repository / "evidence/image/experiments.csv"
    long = "because " * 40
    rows = "".join(
        f'2026-01-01,image.train.epochs={n},"{long}",0.9,0.8,worse,no\n' for n in range(99)
    )
    log.write_text(f"date,change,why,before,after,verdict,kept\n{rows}")
    for name in range(200):
        (repository / f"stages_{name}.py").touch()
    commit(repository, "all broken")
    compare(capsys, "before", "HEAD", "--markdown", "out.md", "--html", "out.html", status=1)
    markdown = (repository / "out.md").read_text()
    assert len(markdown) <= 30_000
    assert "| sentiment | ▼ **worse** |" in markdown
    count = int((read_csv(path)["label"] >= 0).sum())
    wrong = re.search(r"^\| sentiment .*\| (\d+) \| (\d+) \|$", markdown, re.MULTILINE)
    assert wrong
    assert wrong[1] == "0"
    assert 0 < int(wrong[2]) <= count
    assert "Broken: " in markdown
    assert "and 84 more" in markdown  # experiments
    assert "200 files of code differ" in markdown
    page = Page((repository / "out.html").read_text())
    heading = next(text for text in page.text if "broken: only" in text)
    assert heading.startswith(f"{wrong[2]} broken")
    lists = [a for tag, a in page.tags if tag == "ul" and a.get("class") == "samples broken"]
    assert len(lists) == 2  # the first ones, and those that are folded
    assert f"{60 - 12} more broken" in page.text


HOSTILE = "<img src=x onerror=alert(1)> | `\x1b[31m [a](http://b) \u202ex"


def test_what_a_revision_says_stays_text(
    repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = repository / "evidence/image/data"
    case_table = read_csv(data / "failure_cases.csv")
    case_table["cause"] = case_table["text"] = HOSTILE
    case_table.to_csv(data / "failure_cases.csv", index=False)
    edit_json(data / "dataset_note.json", classes=[f"{HOSTILE}{number}" for number in range(10)])
    page = repository / "evidence/image/index.html"
    first, second = case_table["id"][:2]
    svg = base64.b64encode(b"<svg onload='alert(1)'/>").decode()
    page.write_text(
        f"<li><img src='data:image/svg+xml;base64,{svg}'><p>{first}</p></li>"
        f"<li><img src='https://elsewhere.invalid/x.png'><p>{second}</p></li>"
    )
    commit(repository, "hostile")
    edit_json(data / "dataset_note.json", origin=HOSTILE)
    edit_json(data / "params.json", **{HOSTILE: HOSTILE})
    fix_cases(repository, "image", 2)
    compare(capsys, "HEAD~1", "HEAD", "--html", "out.html", "--markdown", "out.md", status=1)
    text, markdown = ((repository / name).read_text() for name in ("out.html", "out.md"))
    for written in (text, markdown):
        assert "\x1b" not in written
        assert "\u202e" not in written
    html = MarkdownIt("commonmark", {"html": True}).enable("table").render(markdown)
    for shown in (Page(text), Page(html)):
        images = [str(a["src"]) for tag, a in shown.tags if tag == "img"]
        assert all(source.startswith("data:image/") for source in images)
        assert not any("svg" in source and svg in source for source in images)
        assert not any("elsewhere" in str(a) for _, a in shown.tags)
        assert not any(name.startswith("on") for _, a in shown.tags for name in a)
        assert not any(str(a.get("href")).startswith("http") for _, a in shown.tags)
    assert "onerror=alert(1)" in "".join(Page(text).text)


IDS = st.text(min_size=1).filter(lambda t: t == t.strip() and "\r" not in t and "\0" not in t)


@given(st.lists(IDS, unique=True, max_size=5), st.booleans())
def test_any_sample_is_found_beside_its_picture(ids: list[str], nested: bool) -> None:
    pictures = {name: PNG + bytes([place]) for place, name in enumerate(ids)}
    items = [
        f'<li class="case"><img alt="" src="data:image/png;base64,{base64.b64encode(data).decode()}">'
        f"<h3>a → b</h3><p>{escape(name)}</p>"
        + ('<ul><li><img src="data:image/png;base64,QUJD"></li></ul>' if nested else "")
        + "</li>"
        for name, data in pictures.items()
    ]
    assert find_pictures(f"<ul>{''.join(items)}</ul>", ids) == pictures


@pytest.mark.parametrize(
    "source",
    [
        "data:image/svg+xml;base64,QUJD",
        "data:image/png;base64,QUJD",  # no PNG
        "data:image/png;base64,%%%",
        f"data:image/png;base64,{base64.b64encode(PNG + bytes(200_000)).decode()}",
        "pictures/case-01.png",
    ],
)
def test_nothing_but_a_small_png_is_taken(source: str) -> None:
    assert find_pictures(f"<ul><li><img src='{source}'><p>a</p></li></ul>", ["a"]) == {}
    assert find_pictures("</li><p>a</p>", ["a"]) == {}


def test_new_experiments_are_those_that_the_first_revision_lacks(
    repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = repository / "evidence/sentiment/experiments.csv"
    old = log.read_text() if log.is_file() else "date,change,why,before,after,verdict,kept\n"
    cells = [f"cell {name}" for name in old.split("\n")[0].split(",")]
    cells[:7] = ["2026-01-01", "sentiment.train.epochs=9", "longer", "0.8", "0.9", "better", "yes"]
    log.write_text(f"{old}{','.join(cells)}\n")
    commit(repository, "tried")
    compare(capsys, "before", "HEAD", "--html", "out.html", status=0)
    page = Page((repository / "out.html").read_text())
    assert page.text.count("sentiment.train.epochs=9") == 1
    assert not any(row.split(",")[1] in page.text for row in old.split("\n")[1:] if row)


def test_generated_samples_are_compared_by_their_noise_where_all_cases_are_known(
    repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = repository / "evidence/generative/data"
    cases = read_csv(data / "failure_cases.csv")
    cases = cases[cases["kind"] == "fails"].drop_duplicates("id")[:4]

    def write_cases(rows: pd.DataFrame, count: int) -> None:
        rows.to_csv(data / "failure_cases.csv", index=False)
        edit_json(data / "failure_summary.json", failure_case_count=count)
        commit(repository, "cases")

    write_cases(cases[:3], 3)
    write_cases(cases[1:], 3)
    compare(capsys, "HEAD~1", "HEAD", "--html", "out.html", "--markdown", "out.md", status=0)
    page = Page((repository / "out.html").read_text())
    headings = [text for text in page.text if "drawn from the same noise" in text]
    assert [heading.partition(":")[0] for heading in headings] == ["1 broken", "1 fixed"]
    first, last = cases.iloc[0], cases.iloc[-1]
    assert f"{first['true']}: {first['bucket']} → passes" in page.text
    assert f"{last['true']}: passes → {last['bucket']}" in page.text
    assert set(page.pictures()) == {first["id"], last["id"]}
    assert re.search(
        r"^\| generative .*\| 1 \| 1 \|$", (repository / "out.md").read_text(), re.MULTILINE
    )
    write_cases(cases[1:], 9)  # the table has fewer than there are
    compare(capsys, "HEAD~1", "HEAD", "--html", "out.html", status=0)
    assert "same noise" not in (repository / "out.html").read_text()


def test_a_damaged_pack_shows_what_is_left(
    repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cases = fix_cases(repository, "sentiment", 2)
    data = repository / "evidence/sentiment/data"
    run(repository, "git", "checkout", "--quiet", "before")
    (data / "driving_words.json").write_text("[1]")
    (data / "failure_cases.csv").write_text("id,confidence\n\0\n")
    (repository / "evidence/sentiment/index.html").unlink()
    (repository / "evidence/sentiment/experiments.csv").write_bytes(b"\xff\xfe")
    commit(repository, "damaged")
    compare(capsys, "HEAD", "main", "--html", "out.html", "--markdown", "out.md", status=1)
    page = Page((repository / "out.html").read_text())
    assert set(cases["id"]) <= {*page.text}
    assert page.pictures() == {}


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["a.csv", "b.csv", "--html", "out.html"], "--html is for two revisions; give these"),
        (["a.csv", "b.csv", "--markdown", "out.md"], "--markdown is for two revisions; give these"),
        (["before", "--html", "out.html"], "--html is for two tables or two revisions"),
        (["before", "HEAD", "--html", "out.txt"], "--html: given out.txt; must end in .html"),
        (["before", "HEAD", "--markdown", "no/out.md"], "--markdown: no is not a folder"),
    ],
)
def test_pages_are_of_two_revisions(
    repository: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], line: str
) -> None:
    for name in ("a.csv", "b.csv"):
        write_table(repository / name, make_rows(["1", "0"], ["1", "0"]))
    assert line in compare(capsys, *arguments, status=2)
    assert not list(repository.glob("out.*"))
