"""Review notes: how data/review/<task>.md is read."""

from collections.abc import Callable
from pathlib import Path

import pytest
from support.project import ROOT

from stages.core.errors import UserError
from stages.report.review import read_review

WriteNote = Callable[[bytes], Path]


@pytest.fixture
def write_note(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> WriteNote:
    """Return a function that writes the notes of a task, in an empty project."""
    monkeypatch.chdir(tmp_path)

    def write(content: bytes) -> Path:
        path = Path("data/review/generative.md")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return path

    return write


def test_a_note_is_the_text_below_its_heading(write_note: WriteNote) -> None:
    write_note(
        "# Review\n\nnot a note\n\n## Quality\nSharp,\n  and  whole.\n\nA café. ### no heading\n"
        "##  Failure modes \t\n## Choice\n#hash\n### deeper\nstep 400".encode()
    )
    assert read_review("generative") == {
        "Quality": "Sharp, and whole. A café. ### no heading",
        "Failure modes": "",
        "Choice": "#hash ### deeper step 400",
    }


def test_comments_are_no_notes_even_with_a_heading_inside(write_note: WriteNote) -> None:
    write_note(
        b"<!-- a\n## Hidden\n-->\n## Quality <!-- b -->\n<!-- c -->good<!--\n## D\n--> so far\n"
    )
    assert read_review("generative") == {"Quality": "good so far"}


def test_windows_line_ends_change_no_note(write_note: WriteNote) -> None:
    write_note(b"## Quality\r\ngood\r\n\r\n## Choice\r\n")
    assert read_review("generative") == {"Quality": "good", "Choice": ""}


def test_the_committed_notes_of_the_generator_have_the_four_headings(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(ROOT)
    assert set(read_review("generative")) == {"Quality", "Diversity", "Failures", "Choice"}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "no heading; write each note below one"),
        (b"# Review\nall is well\n", "no heading; write each note below one"),
        (b"<!-- ## Quality -->\n", "no heading; write each note below one"),
        (b"## Quality\ncaf\xe9\n", "not UTF-8 at byte 14; save it as UTF-8"),
        ("## Quality\n".encode("utf-16"), "not UTF-8 at byte 0; save it as UTF-8"),
    ],
)
def test_notes_that_cannot_be_read_are_an_error_on_one_line(
    write_note: WriteNote, content: bytes, message: str
) -> None:
    path = write_note(content)
    with pytest.raises(UserError) as error:
        read_review("generative")
    assert str(error.value).startswith(f"{path}: {message}")
    assert "\n" not in str(error.value)


def test_missing_notes_are_an_error_that_says_how_to_restore_them(write_note: WriteNote) -> None:
    path = write_note(b"")
    path.unlink()
    message = f"{path}: No such file or directory; `git checkout -- {path}` restores it"
    with pytest.raises(UserError, match=f"^{message}$"):
        read_review("generative")
    path.mkdir()
    with pytest.raises(UserError, match="Is a directory"):
        read_review("generative")
