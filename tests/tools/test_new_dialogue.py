"""What `evidence new` asks in a terminal, and that it asks nothing anywhere else."""

import os
import pty
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from support.images import draw_noise
from support.project import ROOT, commit, environment, new_project, read_params, run

from stages.core.errors import UserError
from stages.tools.cli import main
from stages.tools.schedule import minutes

GENERATION = ("--kind", "image_generation")  # its proposal times nothing
COMMAND = (sys.executable, "-m", "stages.tools", "new", "photos", "photos", *GENERATION)
PATTERN = r"([^/]+?)[ _.-]+[A-Za-z]{0,8}\d+(?:\.\w+)?$"


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a repository with images of two classes; their names tell which of six people they show."""
    folder = new_project(tmp_path / "project")
    photos = draw_noise(folder / "photos")
    for image in photos.rglob("*.png"):
        number = int(image.stem)
        image.rename(image.with_name(f"person{number % 6}_{number}.png"))
    commit(folder, "photos")
    monkeypatch.chdir(folder)
    return folder


def status(folder: Path) -> str:
    return run(folder, "git", "status", "--porcelain", "--untracked-files=all").stdout


def user_environment() -> dict[str, str]:
    return {**environment(), "PYTHONPATH": str(ROOT)}


def answer(
    project: Path, answers: str, *arguments: str, meanwhile: Callable[[], None] | None = None
) -> tuple[int, str]:
    """Run the command in a terminal, and type the answers; return the exit status and the output.

    Args:
        project: the folder in which it runs.
        answers: what is typed.
        arguments: further ones of the command.
        meanwhile: called while the command asks whether to add the task.
    """
    controller, terminal = pty.openpty()
    process = subprocess.Popen(
        (*COMMAND, *arguments),
        cwd=project,
        env=user_environment(),
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
    )
    os.close(terminal)
    output = b""
    if meanwhile:
        while b"Add this task?" not in output:
            output += os.read(controller, 4096)
        meanwhile()
    os.write(controller, answers.encode())
    try:
        while part := os.read(controller, 4096):
            output += part
    except OSError:  # the terminal is closed
        pass
    os.close(controller)
    return process.wait(timeout=60), output.decode().replace("\r\n", "\n")


def proposed_groups(project: Path) -> str | None:
    pattern: str | None = read_params(project)["tasks"]["photos"]["prepare"]["group_pattern"]
    return pattern


def test_nothing_is_written_until_the_user_agrees(project: Path) -> None:
    before = status(project)
    code, output = answer(project, "n\nwhat?\nn\n")
    assert code == 1, output
    assert output.count("Add this task? [Y/n]") == 2  # the first answer to it was none
    assert output.endswith("nothing was written\n")
    assert status(project) == before


@pytest.mark.parametrize(("reply", "pattern"), [("y", PATTERN), ("n", None), ("", None)])
def test_groups_that_names_suggest_are_asked_for(
    project: Path, reply: str, pattern: str | None
) -> None:
    code, output = answer(project, f"{reply}\n\n")
    assert code == 0, output
    assert "file names suggest 6 groups, such as person0, person1, person2" in output
    assert "Keep each group in one split? [y/N]" in output
    assert proposed_groups(project) == pattern
    assert bool(re.search(r"prepare\.group_pattern .*6 groups", output)) is (pattern is not None)


@pytest.mark.long
def test_groups_that_the_user_confirms_are_tested_once_each(project: Path) -> None:
    code, output = answer(project, "y\n\n", "--kind", "image_classification")
    assert code == 0, output
    assert re.search(r"prepare\.split\.folds +6 +6 groups: each is tested once", output)
    assert read_params(project)["tasks"]["photos"]["prepare"]["split"] == {"folds": 6, "seed": 0}


def test_what_changes_while_the_command_asks_is_kept(project: Path) -> None:
    def add_another_task() -> None:
        assert new("other", "photos", *GENERATION, "--yes") == 0
        with Path("params.yaml").open("a") as file:
            file.write("# a remark\n")

    code, output = answer(project, "y\n", "--groups", "none", meanwhile=add_another_task)
    assert code == 0, output
    assert [*read_params(project)["tasks"]][-2:] == ["other", "photos"]
    assert Path("params.yaml").read_text().endswith("# a remark\n")


def test_a_task_of_the_same_name_that_appears_meanwhile_is_kept(project: Path) -> None:
    def add_the_same_task() -> None:
        assert new("photos", "photos/", *GENERATION, "--yes", "--groups", r"(person\d)_") == 0

    code, output = answer(project, "y\n", "--groups", "none", meanwhile=add_the_same_task)
    assert code == 2, output
    assert "tasks.photos exists already" in output
    assert proposed_groups(project) == r"(person\d)_"
    assert Path("data/review/photos.md").exists()


@pytest.mark.parametrize("end", ["\x04\x04", "\x04"])
def test_the_end_of_the_input_is_no_agreement(project: Path, end: str) -> None:
    code, output = answer(project, end, "--groups", "none")
    assert code == 1, output
    assert "nothing was written" in output


def test_input_from_a_pipe_is_not_waited_for(project: Path) -> None:
    reader, writer = os.pipe()  # stays open, and nothing comes
    done = subprocess.run(
        COMMAND,
        cwd=project,
        env=user_environment(),
        stdin=reader,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    os.close(reader)
    os.close(writer)
    assert "not a terminal: nothing is asked, as with --yes" in done.stderr
    assert "note: file names suggest 6 groups, such as person0, person1, person2" in done.stdout
    assert "which are not used" in done.stdout
    assert proposed_groups(project) is None
    # A shell reads the option as it is printed.
    option = re.search(r"in one split: (--groups .+?); to leave", done.stdout)
    assert option
    assert shlex.split(option[1]) == ["--groups", PATTERN]


def test_names_from_the_data_reach_the_terminal_without_control_characters(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = draw_noise(project / "pho\x1b[31mtos")
    for image in folder.rglob("*.png"):
        image.rename(image.with_name(f"per\x1b]0;son{int(image.stem) % 6}_{image.stem}.png"))
    commit(project, "odd names")
    assert new("odd", folder.name, *GENERATION, "--yes") == 0
    assert "\x1b" not in capsys.readouterr().out


def test_the_groups_in_the_question_are_printed_without_control_characters(project: Path) -> None:
    for image in (project / "photos").rglob("*.png"):
        image.rename(image.with_name(image.name.replace("person", "per\x1b]0;son")))
    code, output = answer(project, "n\nn\n")
    assert code == 1, output
    assert "per ]0;son0" in output
    assert "\x1b" not in output


def test_yes_asks_nothing_in_a_terminal(project: Path) -> None:
    code, output = answer(project, "", "--yes")
    assert code == 0, output
    assert "[Y/n]" not in output
    assert "[y/N]" not in output
    assert proposed_groups(project) is None


def new(*arguments: str) -> int:
    """Run `evidence new` in this process; return its exit status."""
    with pytest.raises(SystemExit) as stop:
        main(["new", *arguments])
    assert isinstance(stop.value.code, int)
    return stop.value.code


@pytest.mark.parametrize("groups", [r"(person\d)_", "none"])
def test_groups_may_be_given(
    project: Path, groups: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert new("photos", "photos", *GENERATION, "--yes", "--groups", groups) == 0
    assert proposed_groups(project) == (None if groups == "none" else groups)
    assert "suggest" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--groups", "(person"], "--groups: given '(person'; no regular expression"),
        (["--groups", "person"], "--groups: given 'person'; must contain a group in parentheses"),
        (["--groups", "(person[0-4])"], "4 of 24 files have no group, such as dark/person5_"),
        (["--text", "body"], "--text: given 'body'; it is for a table of texts"),
        (["--layout", "tree"], "--layout: invalid choice: 'tree'"),
        (["--minutes", "soon"], "--minutes: given 'soon'; must be a number above 0"),
        (["--minutes", "5"], "--minutes: a task of image generation has a fixed training"),
    ],
)
def test_options_that_do_not_fit_are_refused_and_nothing_written(
    project: Path, arguments: list[str], text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before = status(project)
    assert new("photos", "photos", *GENERATION, *arguments) == 2
    line = capsys.readouterr().err
    assert text in line
    assert line.count("\n") == 1
    assert status(project) == before


@pytest.mark.parametrize("text", ["0", "-3", "nan", "inf", "", "ten"])
def test_minutes_are_a_positive_number(text: str) -> None:
    with pytest.raises(UserError, match="must be a number above 0"):
        minutes(text)


@pytest.mark.long
def test_columns_of_a_table_may_be_named(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [f"{n},good thing {n},a bad thing {n % 30},{n % 2},{n % 3}" for n in range(90)]
    (project / "notes.csv").write_text("n,title,text,label,floor\n" + "\n".join(rows) + "\n")
    options = ("--text", "title", "--label", "floor", "--groups", "none", "--minutes", "2")
    assert new("notes", "notes.csv", "--yes", *options) == 0
    section = read_params(project)["tasks"]["notes"]
    columns = section["prepare"]["columns"]
    assert (columns["text"], columns["label"], columns["group"]) == ("title", "floor", None)
    assert section["prepare"]["classes"] == ["0", "1", "2"]
    assert section["train"]["max_tokens"] == 16  # no text has more
    assert section["evaluate"]["metric"] == "accuracy"
    printed = capsys.readouterr().out
    assert re.search(r"train\.seeds +\d +about \d+ (s|min) for all stages", printed)
    assert new("more", "notes.csv", "--label", "nothing") == 2
    assert "nothing" in capsys.readouterr().err


@pytest.mark.long
def test_a_folder_with_a_table_for_each_split_becomes_a_task_of_texts(project: Path) -> None:
    words = ["door", "lamp", "chair", "table", "window"]
    (project / "notes").mkdir()
    for split, count in (("train", 80), ("test", 40)):
        rows = [
            f"the {words[n % 5]} near the {words[n % 3]} {split} {n},{n % 2}" for n in range(count)
        ]
        text = "text,label\n" + "\n".join(rows) + "\n"
        (project / "notes" / f"{split}.csv").write_text(text)
    assert new("notes", "notes", "--yes", "--minutes", "3") == 0
    section = read_params(project)["tasks"]["notes"]
    assert section["kind"] == "text_classification"
    assert (project / "notes.dvc").exists()
