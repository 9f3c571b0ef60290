"""Adding a task for data of one's own, and removing it again."""

import csv
import itertools
import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from support.images import draw_noise
from support.project import ROOT, new_project, read_params, run

from stages.core.params import parse_yaml
from stages.kinds.kind import Kind
from stages.kinds.params import load_params
from stages.kinds.proposal import fill_template, yaml_scalar
from stages.kinds.registry import KINDS
from stages.tools.cli import main
from stages.tools.yaml_sections import add_section, remove_section

PARAMS = (ROOT / "params.yaml").read_text()


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a repository with the project's params and review notes, as current folder."""
    folder = new_project(tmp_path / "project")
    monkeypatch.chdir(folder)
    return folder


def write_table(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> Path:
    with path.open("w", newline="") as file:
        writer = csv.writer(file, delimiter="\t" if path.suffix == ".tsv" else ",")
        writer.writerow(header)
        writer.writerows(rows)
    return path


def reviews(count: int) -> list[list[object]]:
    """Return rows: number, text, label and author."""
    words = itertools.cycle(["door", "lamp", "chair", "table", "window", "garden", "kettle"])
    return [
        [n, f"the {next(words)} and the {next(words)} number {n}", n % 2, f"author {n % 10}"]
        for n in range(count)
    ]


def new(*arguments: str) -> None:
    """Run `evidence new` in this process; it must succeed."""
    with pytest.raises(SystemExit) as stop:
        main(["new", *arguments])
    assert stop.value.code == 0


def remove(*arguments: str) -> None:
    """Run `evidence remove` in this process; it must succeed."""
    with pytest.raises(SystemExit) as stop:
        main(["remove", *arguments])
    assert stop.value.code == 0


def task_params(name: str) -> Any:
    """Return the checked params of a task in the current folder."""
    return load_params().tasks[name]


def status(folder: Path) -> str:
    return run(folder, "git", "status", "--porcelain", "--untracked-files=all").stdout


def test_images_become_a_task_beside_the_others(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    draw_noise(project / "photos")
    new("photos", "photos/")
    text = Path("params.yaml").read_text()
    assert text.startswith(PARAMS)
    params = task_params("photos")
    assert params.kind == "image_classification"
    assert (params.prepare.source, params.prepare.path) == ("folder", "photos")
    assert (params.prepare.size, params.prepare.channels) == (28, 3)
    assert Path("data/review/photos.md").read_text().startswith("# Review: photos\n")
    printed = capsys.readouterr().out
    assert "files: 24 files in 2 classes: dark 12, light 12" in printed
    assert "24 sampled: 30 x 30 pixels; Pillow modes: RGB 24" in printed
    assert re.search(r"prepare.size +28 +the median side is 30 pixels", printed)
    assert printed.endswith("next: dvc repro pack@photos\n")


def test_grey_images_stored_in_colour_get_one_channel(project: Path) -> None:
    for name in ("one", "two"):
        (project / "scans" / name).mkdir(parents=True)
        for number in range(3):
            level = (40 * number + 20,) * 3
            Image.new("RGB", (500, 300), level).save(project / "scans" / name / f"{number}.jpg")
    new("scans", "scans")
    prepare = task_params("scans").prepare
    assert (prepare.size, prepare.channels, prepare.min_per_class) == (128, 1, 3)


def test_images_can_become_a_task_of_generation(project: Path) -> None:
    draw_noise(project / "photos", size=50)
    new("photos", "photos", "--kind", "image_generation")
    params = task_params("photos")
    assert params.kind == "image_generation"
    assert params.prepare.size == 32
    assert "## Diversity" in Path("data/review/photos.md").read_text()


@pytest.mark.slow
def test_a_table_becomes_a_task_of_text_classification(project: Path) -> None:
    write_table(project / "notes.csv", ("id", "review", "stars", "author"), reviews(60))
    new("notes", "notes.csv")
    params = task_params("notes")
    assert params.kind == "text_classification"
    columns = params.prepare.columns
    assert (columns.text, columns.label) == ("review", "stars")
    assert (columns.id, columns.group) == ("id", "author")
    assert params.prepare.classes == ["0", "1"]


@pytest.mark.long
def test_a_table_with_semicolons_and_a_column_of_splits_becomes_a_task_as_it_is(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    topics = ["art", "food", "law", "music", "sport", "war"]
    rows = [
        f"ask {n} about {n * n};{topics[n % 6]};{'test' if n % 5 == 0 else 'train'}"
        for n in range(300)
    ]
    (project / "questions.csv").write_text("\n".join(["\ufeffquestion;topic;part", *rows]))
    new("questions", "questions.csv")
    prepare = task_params("questions").prepare
    columns = prepare.columns
    assert (columns.text, columns.label, columns.split) == ("question", "topic", "part")
    assert (prepare.separator, prepare.classes) == ("semicolon", topics)
    assert "60 rows are official test data" in capsys.readouterr().out


@pytest.mark.long
def test_a_folder_with_a_table_for_each_split_becomes_a_task_of_texts(project: Path) -> None:
    (project / "tables").mkdir()
    for name, count in (("train", 60), ("dev", 20), ("test", 20)):
        write_table(
            project / f"tables/{name}.tsv", ("id", "review", "stars", "author"), reviews(count)
        )
    (project / "tables/LICENSE").write_text("free")
    new("notes", "tables")
    params = task_params("notes")
    assert params.kind == "text_classification"
    assert (params.prepare.path, params.prepare.columns.split) == ("tables", None)


@pytest.mark.long
def test_columns_with_unusual_names_are_told_apart_by_their_values(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [
        (f"{n} a long remark on the {n % 7}th thing", ["no", "yes"][n % 2], f"place {n}", n % 3)
        for n in range(60)
    ]
    write_table(project / "notes.tsv", ("remark", "urgent", "place", "floor"), rows)
    new("notes", "notes.tsv")
    prepare = task_params("notes").prepare
    assert (prepare.columns.text, prepare.columns.label) == ("remark", "urgent")
    assert (prepare.columns.id, prepare.columns.group) == (None, None)
    assert prepare.classes == ["no", "yes"]
    printed = capsys.readouterr().out
    assert "check tasks.notes.prepare.columns.label" in printed
    assert "further columns with few values: floor" in printed


def test_a_path_outside_the_repository_is_written_in_full(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photos = draw_noise(project.parent / "my photos")
    (project / "link").symlink_to(photos)
    for name, path in (("near", "../my photos"), ("far", str(photos)), ("linked", "link")):
        new(name, path, "--kind", "image_generation")
        assert task_params(name).prepare.path == str(photos)
        assert f"{photos} lies outside this repository" in capsys.readouterr().out
    assert "?? link\n" in status(project)
    assert ".dvc" not in status(project)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["image", "photos"], "params.yaml: tasks.image exists already"),
        (["Photos", "photos"], "given name 'Photos'; must begin with a lower-case letter"),
        (["reproductions", "photos"], "evidence/reproductions is no task's: give another name"),
        (["notes", "pipe.csv"], "given path 'pipe.csv'; must be a regular file or a folder"),
        (["photos", "nowhere"], "given path 'nowhere'; no such file or folder"),
        (["photos", "photos", "--kind", "video"], "--kind: given 'video'; must be one of image_c"),
        (["photos", "notes.csv", "--kind", "image_generation"], "image_generation needs a folder"),
        (["photos", "photos/dark"], "photos/dark has 0 sub-folders"),
        (["photos", "empty"], "empty: none of 2 sampled files is a readable image"),
        (
            ["photos", "splits"],
            "splits can be read in 2 ways, choose with --layout: classes: test and train are",
        ),
        (["photos", "few"], "class 'dark' has 2 images; at least 3 are needed"),
        (["photos", "data"], "the project itself writes to data/params"),
        (["photos", "data/train/image"], "the project itself writes to data/train"),
        (["photos", "photos/dark/0.png"], "must be a table whose name ends in .csv, .tsv"),
        (["notes", "notes.csv"], "notes.csv: no column of labels"),
        (
            ["notes", "open.csv"],
            "open.csv: 1 of 21 rows cannot be used: 1 open quote (row 21 (line 22)",
        ),
        (
            ["notes", "ragged.csv"],
            "(row 1: wrong number of cells: given 1 cells, the header has 2)",
        ),
        (["notes", "header.csv"], "header.csv: a header and no row to use"),
        (["notes", "single.csv"], "single.csv: the header names 1 column"),
    ],
)
def test_what_cannot_become_a_task_is_refused_and_nothing_written(
    project: Path, arguments: list[str], text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    draw_noise(project / "photos")
    draw_noise(project / "few", count=2)
    draw_noise(project / "splits", classes=("train", "test"))
    for name in ("a", "b"):
        (project / "empty" / name).mkdir(parents=True)
        (project / "empty" / name / "readme.txt").write_text("no image")
    (project / "data/train/image").mkdir(parents=True)
    write_table(project / "notes.csv", ("id", "text"), [(n, f"text {n}") for n in range(20)])
    write_table(project / "open.csv", ("text", "label"), [(f"text {n}", n % 2) for n in range(20)])
    with (project / "open.csv").open("a") as file:
        file.write('"text,1\n')
    write_table(project / "ragged.csv", ("text", "label"), [("text only",)])
    write_table(project / "header.csv", ("text", "label"), [])
    write_table(project / "single.csv", ("text",), [("a text",)])
    os.mkfifo(project / "pipe.csv")
    before = status(project)
    with pytest.raises(SystemExit) as stop:
        main(["new", *arguments])
    assert stop.value.code == 2
    line = capsys.readouterr().err
    assert text in line
    assert line.count("\n") == 1
    assert status(project) == before


def test_new_and_remove_leave_no_trace(project: Path) -> None:
    draw_noise(project.parent / "photos")
    new("photos", "../photos")
    remove("photos")
    assert status(project) == ""


@pytest.mark.slow
def test_notes_of_people_are_kept_unless_their_deletion_is_asked_for(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    draw_noise(project.parent / "photos")
    note, log = Path("data/review/photos.md"), Path("evidence/photos/experiments.csv")
    for flags, exist in ((["photos"], True), (["photos", "--delete-notes"], False)):
        new("photos", "../photos")
        note.write_text(note.read_text() + "\nA remark.\n")
        log.parent.mkdir(parents=True, exist_ok=True)
        log.write_text("date,change\n2026-01-01,x\n")
        (log.parent / "README.md").write_text("the pack\n")
        remove(*flags)
        assert (note.exists(), log.exists()) == (exist, exist)
        assert not (log.parent / "README.md").exists()
    assert f"kept, as people may have written them: {note}, {log}" in capsys.readouterr().out
    assert status(project) == ""


def test_the_last_task_cannot_be_removed(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("image", "sentiment", "generative"):
        remove(name)
    with pytest.raises(SystemExit) as stop:
        main(["remove", "workshop"])
    assert stop.value.code == 2
    assert "workshop is the last task" in capsys.readouterr().err
    assert [*read_params(project)["tasks"]] == ["workshop"]


@pytest.mark.parametrize("name", read_params()["tasks"])
def test_removing_a_task_leaves_the_others_as_they_are(name: str) -> None:
    text = remove_section(PARAMS, "tasks", name)
    params = parse_yaml(PARAMS)
    del params["tasks"][name]
    assert parse_yaml(text) == params
    assert {*text.splitlines()} <= {*PARAMS.splitlines()}
    assert "\n\n\n" not in text


@pytest.mark.parametrize("text", ["tasks:\n  a: 1", "tasks:\n  a: 1\n\n\nruntime: 2\n", PARAMS])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_an_added_section_can_be_removed_again(text: str, newline: str) -> None:
    before = text.replace("\n", newline)
    added = add_section(before, "tasks", "  b:\n    c: 3\n")
    assert parse_yaml(added)["tasks"]["b"] == {"c": 3}
    assert remove_section(added, "tasks", "b").rstrip() == before.rstrip()


@given(st.text())
def test_any_text_can_be_a_value_of_params(text: str) -> None:
    assert parse_yaml(f"key: {yaml_scalar(text)}\n") == {"key": text}


@pytest.mark.parametrize(
    "text", ["no", "1", "1e3", "null", "~", ".inf", "a: b", "a #b", "../x y", "é"]
)
def test_texts_that_yaml_reads_as_something_else_are_quoted(text: str) -> None:
    assert parse_yaml(f"key: {yaml_scalar(text)} # a comment\n") == {"key": text}


@pytest.mark.parametrize("kind", [kind for kind in KINDS.values() if kind.can_propose])
def test_templates_have_the_keys_and_comments_of_the_tasks_that_ship(kind: Kind) -> None:
    name = kind.name
    task = next(task for task, part in read_params()["tasks"].items() if part["kind"] == name)
    (section,) = re.findall(rf"^  {task}:\n(?:    .*\n|\n)*", PARAMS, re.MULTILINE)
    template = (ROOT / "stages/kinds" / name / "template.yaml").read_text()
    values = dict.fromkeys(re.findall(r"\{(\w+)\}", template), "1")
    comments = [
        (key.strip(), comment)
        for key, comment in re.findall(
            r"^( +[\w-]+:).*?# (.*)$", fill_template(template, values), re.MULTILINE
        )
    ]
    shipped = re.findall(r"^( +[\w-]+:).*?# (.*)$", section, re.MULTILINE)
    assert comments
    assert {*comments} <= {(key.strip(), comment) for key, comment in shipped}
