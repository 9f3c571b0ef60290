"""`evidence grade`: rubrics, lists, hostile learners, the three tables, and what stops nothing."""

import csv
import json
import shutil
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from support.project import ROOT, commit, run
from support.toy import FILES, PIPELINE, make_project

from stages.core.errors import UserError
from stages.core.files import read_csv, to_csv
from stages.evaluation.experiment_log import COLUMNS, LogRow
from stages.tools.cli import make_parser
from stages.tools.experiment_series import with_row
from stages.tools.grade.command import _names
from stages.tools.grade.rows import Row
from stages.tools.grade.rubric import DEFAULT, read_rubric
from stages.tools.grade.table import Grade, data_table, make_grades, markdown, text
from stages.tools.verify.batch.entries import Entry
from stages.tools.verify.batch.results import Result
from stages.tools.verify.code import CODE

RUBRIC = """
title: Toy
task: score
tier: hashes
criteria:
  - {name: Fits, check: verified, tier: hashes, points: 2}
  - {name: Comment, check: note, heading: Failures, file: notes.md, min_words: 3, points: 0.5}
  - {name: Talk, check: person, judge: "Was it clear?", points: 1}
"""
OF_PROJECT = read_rubric(DEFAULT)
HOSTILE = '## Failures\n=1+1 | <b onclick="x">\x1b[31m [y](http://z) \u202eabc $x$\n'
METRICS = {"evidence/score/data/metrics.json": "{}"}


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    files = {**FILES, "dvc.yaml": PIPELINE, **METRICS}
    return make_project(tmp_path_factory.mktemp("toy") / "toy", files)


@pytest.fixture
def course(original: Path, tmp_path: Path) -> Path:
    """Return a folder, itself a git repository, with clones of learners and one folder that is none."""
    run(tmp_path, "git", "init", "--quiet")
    for name, note in (("ada", HOSTILE), ("bob", HOSTILE), ("cheat", "")):
        shutil.copytree(original, tmp_path / name)
        (tmp_path / name / "notes.md").write_text(note)
        commit(tmp_path / name, "mine")
    (tmp_path / "cheat" / "metrics.json").write_text('{"accuracy": 1.0}')
    commit(tmp_path / "cheat", "better")
    (tmp_path / "stray").mkdir()
    (tmp_path / "stray" / "file").touch()
    (tmp_path / "rubric.yaml").write_text(RUBRIC)
    commit(tmp_path, "the course")
    return tmp_path


def grade(folder: Path, *arguments: str, status: int) -> tuple[str, str]:
    """Grade in a folder; return what is printed, and the progress."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(CODE))
        command = ("python", "-m", "stages.tools", "grade", *arguments)
        done = run(folder, *command, status=status)
    assert "Traceback" not in done.stderr
    return done.stdout, done.stderr


@pytest.mark.slow
def test_every_submission_gets_rows_whatever_the_others_are(course: Path) -> None:
    outputs = ("--csv", "g.csv", "--markdown", "g.md", "--json", "g.json")
    names = ("ada", "bob", "cheat", "stray", "nobody")
    printed, _ = grade(course, *names, "--rubric", "rubric.yaml", *outputs, status=1)
    assert "\x1b" not in printed
    assert "\u202e" not in printed
    rows = {line.split()[0]: line.split()[1:] for line in printed.split("\n") if line.strip()}
    assert rows["ada"] == ["2", "1.5", "3.5", "2/2", "?/0.5", "?/1"]
    assert rows["bob"] == rows["ada"]
    assert rows["cheat"] == ["0", "1", "3.5", "0/2", "0/0.5", "?/1"]
    assert rows["stray"] == rows["nobody"] == ["0", "0", "3.5", "-", "-", "-"]
    assert "a folder within another git repository" in printed
    assert "judge: The same words as bob." in printed
    content = {
        item["name"]: item for item in json.loads((course / "g.json").read_text())["submissions"]
    }
    head = run(course / "ada", "git", "rev-parse", "HEAD").stdout.strip()
    assert content["ada"]["commit"] == head
    assert [row["points"] for row in content["ada"]["criteria"]] == [2, 0, 0]
    assert [content[name]["was_read"] for name in names] == [True, True, True, False, False]
    with (course / "g.csv").open(newline="", encoding="utf-8") as file:
        table = list(csv.DictReader(file))
    assert len(table) == len(names) * 4  # three criteria and the total
    assert "\x1b" not in (course / "g.csv").read_text()
    [cell] = [row for row in table if (row["submission"], row["criterion"]) == ("ada", "Comment")]
    assert (cell["points"], cell["to_judge"], cell["of"]) == ("0", "0.5", "0.5")
    [cell] = [row for row in table if (row["submission"], row["criterion"]) == ("cheat", "Fits")]
    assert "metrics.json" in cell["evidence"]
    html = (
        MarkdownIt("commonmark", {"html": True})
        .enable("table")
        .render((course / "g.md").read_text())
    )
    assert "<b" not in html
    assert "href" not in html


@pytest.mark.long
def test_a_list_names_paths_beside_it_and_kept_results_are_taken_until_something_changes(
    course: Path,
) -> None:
    lists = course / "lists"
    lists.mkdir()
    (lists / "all.csv").write_text("name,repository,revision\nfirst,../ada,main\nurl,URL,HEAD\n")
    url = (course / "bob").as_uri()
    (lists / "all.csv").write_text((lists / "all.csv").read_text().replace("URL", url))
    options = ("--list", "lists/all.csv", "--rubric", "rubric.yaml", "--results", "kept")
    printed, progress = grade(course, *options, "--jobs", "2", status=0)
    assert "first, commit" in printed
    assert "url, commit" in printed
    assert "unchanged" not in progress
    again, progress = grade(course, *options, status=0)
    assert again == printed
    assert progress.count("unchanged") == 2
    (course / "rubric.yaml").write_text(RUBRIC.replace("points: 2", "points: 3"))
    printed, progress = grade(course, *options, status=0)
    assert "unchanged" not in progress
    assert "3/3" in printed


@pytest.mark.long
def test_a_learner_of_this_project_is_graded_by_its_rubric(small: Path, tmp_path: Path) -> None:
    learner = tmp_path / "learner"
    shutil.copytree(small, learner, symlinks=True)
    cases = read_csv(learner / "evidence/workshop/data/failure_cases.csv")
    shapes = read_csv(learner / "evidence/workshop/data/model_summary.csv")["output_shape"]
    words = "They look alike to me, because the noise hides the stripes. " * 4
    (learner / "data/review/workshop.md").write_text(
        f"## Failures\n{' '.join(cases['id'][:2])}: {cases['cause'][0]}. {words}\n"
        f"## Shapes\n{' '.join(shapes)}\n## Next step\n{words}\n"
    )
    run(learner, "dvc", "repro", "--quiet", "pack@workshop", "compare")
    log = learner / "evidence/workshop/experiments.csv"
    row = LogRow("2026-11-25", "workshop.train.epochs=5", "longer", "0.7", "0.7", "underpowered")
    table = read_csv(log, dtype=str).reindex(columns=COLUMNS, fill_value="")
    log.write_bytes(to_csv(with_row(table, row)))
    commit(learner, "mine")
    printed, _ = grade(tmp_path, "learner", "--tier", "retrain", "--json", "g.json", status=0)
    content = json.loads((tmp_path / "g.json").read_text())
    states = [row["state"] for row in content["submissions"][0]["criteria"]]
    judged, shown = "to judge", "shown"
    verdict = json.loads((learner / "evidence/workshop/data/metrics.json").read_text())
    is_better = verdict["current"]["improvement"]["verdict"] == "better"
    beaten = shown if is_better else "not shown"
    expected = [shown, shown, beaten, judged, judged, judged, shown, judged]
    assert states == expected, printed


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        ("check: person", "check: persom", "criteria[2].check: given 'persom'; the nearest is 'person'"),
        ("heading:", "hedding:", "criteria[1]: hedding: unknown key; the nearest known key is 'heading'"),
        ("heading: Failures, ", "", "criteria[1].heading: this key is missing; the check note needs it"),
        (", points: 2", "", "criteria[0].points: this key is missing"),
        ("points: 2", "points: -1", "criteria[0]: points: given -1"),
        ("points: 2", "points: .inf", "criteria[0]: points: given inf"),
        ("tier: hashes, ", "tier: all, ", "criteria[0]: tier: given 'all'"),
        ("task: score\n", "", "criteria[0].task: this key is missing"),
        ("check: person", "pints: 1", "criteria[2].check: must be one of verified, claim"),
        ("title: Toy", "titel: Toy", "titel: unknown key; the nearest known key is 'title'"),
        ("title: Toy", "", "title is missing"),
        ("name: Talk", "name: Fits", "two criteria are called 'Fits'"),
        ("criteria:", "tasks:", "tasks: unknown key; the nearest known key is 'task'"),
        ("check: person", "check: claim, claim: accuracy", "criteria[2].claim: given 'score accuracy'"),
        (RUBRIC, "[", "not YAML"),
        (RUBRIC, "- a", "title is missing"),
        (RUBRIC, "{title: a, criteria: 3}", "criteria: given 3"),
        (RUBRIC, "{title: a, criteria: [3]}", "criteria.0: given 3"),
        (RUBRIC, "{title: a, criteria: []}", "criteria: given []"),
    ],
)  # fmt: skip
def test_a_wrong_rubric_is_one_line(tmp_path: Path, old: str, new: str, line: str) -> None:
    assert old in RUBRIC
    path = tmp_path / "rubric.yaml"
    path.write_text(RUBRIC.replace(old, new, 1))
    with pytest.raises(UserError) as error:
        read_rubric(path)
    assert str(error.value).startswith(str(path))
    assert line in str(error.value)


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ([], "name a submission"),
        (["x", "--csv", "no/x.csv"], "--csv: given no/x.csv; must be a file"),
        (["x", "--jobs", "0"], "--jobs: given 0"),
        (["x", "--seconds", "0"], "--seconds: given 0"),
        (["x", "--rubric", "no.yaml"], "no.yaml: No such file"),
        (["--list", "no.csv"], "no.csv: No such file"),
        (["--list", "claims.yaml"], "claims.yaml: x: claims are for `evidence verify --batch`"),
        (["a/x", "--list", "x.yaml"], "two entries are called 'x'"),
    ],
)
def test_wrong_options_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: list[str], line: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "claims.yaml").write_text("- {repository: x, claims: [a b > 1]}")
    (tmp_path / "x.yaml").write_text("- repository: x")
    arguments = make_parser("grade").parse_args(options)
    with pytest.raises(UserError) as error:
        arguments.run(arguments)
    assert line in str(error.value)


def test_names_are_as_short_as_tells_them_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("ada/work", "bob/work"):
        (tmp_path / name).mkdir(parents=True)
    assert _names(["ada", "bob/"]) == ["ada", "bob"]
    assert _names(["ada/work", "bob/work"]) == ["ada-work", "bob-work"]
    assert _names(["https://host/ada/x.git", "git@host:bob/x.git"]) == ["ada-x", "bob-x"]
    assert _names(["ada/work", "ada/work"]) == [None, None]
    monkeypatch.chdir(tmp_path / "ada")
    assert _names(["."]) == ["ada"]


def graded(*rows: Row, name: str = "ada", line: str = "fine") -> Grade:
    return Grade(name, "r", "c" * 40, "2026-11-20", line, [], rows, was_read=True)


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=60))
def test_any_text_of_a_learner_stays_text(note: str) -> None:
    rubric = OF_PROJECT
    rows = [Row(item.name, item.task, item.points, "shown", note) for item in rubric.criteria]
    grade = graded(*rows, line=note)
    html = (
        MarkdownIt("commonmark", {"html": True}).enable("table").render(markdown(rubric, [grade]))
    )
    tags = ("h1", "h2", "p", "table", "thead", "tbody", "tr", "th", "td", "ol", "ul", "li")
    rest = html
    for tag in tags:
        rest = rest.replace(f"<{tag}>", "").replace(f"</{tag}>", "")
    rest = rest.replace('<th style="text-align:right">', "").replace(
        '<td style="text-align:right">', ""
    )
    assert "<" not in rest, rest
    assert html.count("<td") == 12 + 4 * len(rows)
    assert all(c.isprintable() or c == "\n" for c in text(rubric, [grade]))
    assert len(to_csv(data_table([grade])).decode().split("\n")) >= len(rows) + 3


def test_equal_notes_are_left_to_a_person_and_different_ones_are_not() -> None:
    row = {"criterion": "x", "task": "t", "worth": 2, "state": "shown", "evidence": "", "judge": ""}
    notes = {"a": "The  same words", "b": "the same words", "c": "other words", "d": ""}
    results = [
        Result(name, Entry(repository=name), {}, 0, 0, "", {"rows": [{**row, "note": note}]})
        for name, note in notes.items()
    ]
    grades = {grade.name: grade.rows[0] for grade in make_grades(OF_PROJECT, results)}
    assert (grades["a"].judge, grades["a"].points) == ("The same words as b.", 0)
    assert (grades["b"].judge, grades["b"].open_points) == ("The same words as a.", 2)
    assert [grades[name].points for name in ("c", "d")] == [2, 2]


def test_the_page_on_grading_shows_the_rubric_of_the_project() -> None:
    page = (ROOT / "docs/grading.md").read_text()
    assert f"```yaml\n{DEFAULT.read_text()}```" in page
