"""Reading texts from a CSV file: a row is used as it is written, or refused by file and row."""

import csv
import re
from contextlib import nullcontext
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal

import pytest
from support.project import ROOT
from support.texts import COLUMNS, read_table, text_task, to_csv_text

from stages.core.errors import UserError
from stages.core.task import Task
from stages.datasets.ledger import SourceNote
from stages.datasets.tables.csv_files import MAX_CHARACTERS
from stages.datasets.tables.faults import NO_TEXT, Fault, FaultCount, FaultyRow
from stages.datasets.texts.sources import TextSample, source_note, source_tables

NAME = "reviews_of_mine"  # the task's, in messages
HEADER = "text,label\n"
FULL = {"text": "text", "label": "label", "id": "id", "group": "who", "slices": ["shop", "year"]}
AWKWARD = [
    "plain",
    "a, b",
    'she said "no"',
    "two\nlines",
    "two\r\nlines",
    "=1+1",
    "NA",
    "null",
    "\u65e5\u672c\u8a9e",
    "\U0001f600 \U0001d518 \U00020000",
    "e\u0301 and \u00e9",
    "inside \u2028 \u0085 \x0b \x0c it",
    "'",
    "zero\u200bwidth",
]


def write(folder: Path, data: str | bytes) -> Path:
    path = folder / "texts.csv"
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return path


def task_on(path: Path, **prepare: Any) -> Task:
    return text_task(path, {"prepare": prepare}, NAME)


def read(folder: Path, data: str | bytes, columns: dict[str, Any] = COLUMNS) -> list[TextSample]:
    """Return the samples of a file of which every row can be used."""
    rows = read_table(task_on(write(folder, data), columns=columns))
    samples = [row for row in rows if isinstance(row, TextSample)]
    assert len(samples) == len(rows)
    return samples


def check_rows(task: Task) -> None:
    faults = FaultCount()
    list(faults.watch(read_table(task)))
    params = task.params.prepare
    faults.check(params.path, task.key("prepare"), "refuse", params.classes)


def error_message(folder: Path, data: str | bytes, columns: dict[str, Any] = COLUMNS) -> str:
    """Return the one line with which the file is refused, after the file's name."""
    path = write(folder, data)
    with pytest.raises(UserError) as error:
        check_rows(task_on(path, columns=columns))
    line = str(error.value)
    assert "\n" not in line
    assert line.startswith(f"{path}: ")
    return line.removeprefix(f"{path}: ")


# Rows that are used


@pytest.mark.parametrize("style", [{}, {"lineterminator": "\n"}, {"quoting": csv.QUOTE_ALL}])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_texts_are_read_as_they_are_written(
    tmp_path: Path, encoding: str, style: dict[str, Any]
) -> None:
    labels = ["positive", "negative"] * len(AWKWARD)
    rows = [list(pair) for pair in zip(AWKWARD, labels, strict=False)]
    data = to_csv_text([["text", "label"], *rows], **style).encode(encoding)
    samples = read(tmp_path, data)
    assert [[sample.text, sample.label] for sample in samples] == rows
    assert [sample.name for sample in samples] == [f"row-{n}" for n in range(1, len(rows) + 1)]
    assert {(sample.group, sample.slices) for sample in samples} == {("", ())}


def test_the_cells_of_a_tsv_file_are_separated_by_tabs(tmp_path: Path) -> None:
    path = tmp_path / "texts.TSV"
    path.write_text("text\tlabel\nSo, so.\tpositive\nTwo\ttabs\tpositive\n")
    sound, faulty = read_table(task_on(path))
    assert isinstance(sound, TextSample)
    assert isinstance(faulty, FaultyRow)
    assert sound.text == "So, so."
    assert str(faulty.fault) == "wrong number of cells: given 3 cells, the header has 2"


def test_columns_are_looked_up_by_name_and_unnamed_ones_are_ignored(tmp_path: Path) -> None:
    data = (
        "year,junk,who,label,id,text,shop\n"
        "2024,x,ann,positive,r1,Lovely.,north\n"
        "2025,, bob , negative , r2 ,  Awful.  ,\n"
    )
    assert read(tmp_path, data, FULL) == [
        TextSample("r1", "Lovely.", "positive", "ann", ("north", "2024")),
        TextSample("r2", "Awful.", "negative", "bob", ("", "2025")),
    ]


def test_empty_lines_are_skipped_and_the_last_line_needs_no_end(tmp_path: Path) -> None:
    samples = read(tmp_path, HEADER + "\none,positive\n\n\r\ntwo,negative")
    assert [(sample.text, sample.label) for sample in samples] == [
        ("one", "positive"),
        ("two", "negative"),
    ]


def test_rows_around_a_wrong_one_are_read(tmp_path: Path) -> None:
    rows = read_table(
        task_on(write(tmp_path, HEADER + "one,positive\ntwo,neutral\nend,negative\n"))
    )
    assert [row.name for row in rows] == ["row-1", "row-2", "row-3"]
    assert [isinstance(row, FaultyRow) for row in rows] == [False, True, False]


@pytest.mark.parametrize("character", ["x", "\u00e9", "\U0001f600"])
def test_a_text_of_the_longest_length_is_read_and_a_longer_one_is_refused(
    tmp_path: Path, character: str
) -> None:
    longest = character * MAX_CHARACTERS
    assert read(tmp_path, f"{HEADER}{longest},positive\n")[0].text == longest
    line = error_message(tmp_path, f"{HEADER}one,positive\n{longest}{character},positive\n")
    assert "1 too long (row 2 (line 3): more than 1,000,000 characters in a cell)" in line


# Files that are not UTF-8 text

BYTES = {
    "UTF-16": (
        (HEADER + "x,positive\n").encode("utf-16"),
        "line 1: not UTF-8 (the file looks like UTF-16",
    ),
    "UTF-16, big end first": (
        b"\xfe\xff" + (HEADER + "x,positive\n").encode("utf-16-be"),
        "line 1: not UTF-8 (the file looks like UTF-16",
    ),
    "UTF-16, no mark": (
        (HEADER + "x,positive\n").encode("utf-16-le"),
        "the header: a NUL character: 't\\x00e\\x00x\\x00t",
    ),
    "Latin-1": (
        (HEADER + "caf,positive\ncaf\u00e9,positive\n").encode("latin-1"),
        "1 of 2 rows cannot be used: 1 not UTF-8 text (row 2 (line 3): not UTF-8: 'caf\\xe9'",
    ),
    "Latin-1 header": (
        "t\u00e9xt,label\n".encode("latin-1"),
        "the header: not UTF-8: 't\\xe9xt'; save the file as UTF-8",
    ),
    "half a character": (
        HEADER.encode() + b"x,positive\n\xe6\x97",
        "1 of 2 rows cannot be used: 1 not UTF-8 text (row 2 (line 3): not UTF-8: '\\xe6\\x97'",
    ),
    "a surrogate": (
        HEADER.encode() + b"\xed\xa0\xbd,positive\n",
        "1 of 1 rows cannot be used: 1 not UTF-8",
    ),
    "NUL": (HEADER.encode() + b"a\0b,positive\n", "1 of 1 rows cannot be used: 1 not UTF-8 text"),
    "quoted NUL": (
        HEADER.encode() + b'"a\n\0b",positive\n',
        "1 of 1 rows cannot be used: 1 not UTF-8 text (row 1 (line 2): a NUL character",
    ),
}


@pytest.mark.parametrize("name", BYTES)
def test_bytes_that_are_not_utf_8_text_are_refused_by_row(tmp_path: Path, name: str) -> None:
    data, start = BYTES[name]
    line = error_message(tmp_path, data)
    assert line.startswith(start)
    assert "save the file as UTF-8" in line


# Headers

HEADERS: dict[str, tuple[str | bytes, dict[str, Any], str, str]] = {
    "missing": ("words,label\n", COLUMNS, "'text' is missing", "'words', 'label'"),
    "other case": ("Text,label\n", COLUMNS, "'text' is missing", "'Text', 'label'"),
    "space": ("text, label\n", COLUMNS, "'label' is missing", "'text', ' label'"),
    "no header": ("A fine film.,positive\n", COLUMNS, "'text' is missing", "'A fine film.'"),
    "pipes": ("text|label\nx|positive\n", COLUMNS, "'text' is missing", "'text|label'"),
    "doubled": ("text,label,text\n", COLUMNS, "'text' occurs twice", "'label'"),
    "only a mark": (b"\xef\xbb\xbf", COLUMNS, "'text' is missing", "header has"),
    "an empty line": ("\n", COLUMNS, "'text' is missing", "header has"),
    "id": ("text,label,who,shop,year\n", FULL, "'id' is missing", "'who', 'shop'"),
    "group": ("text,label,id,shop,year\n", FULL, "'who' is missing", "'id', 'shop'"),
    "slice": ("text,label,id,who,shop\n", FULL, "'year' is missing", "'who', 'shop'"),
    "doubled slice": (
        "text,label,id,who,shop,year,shop\n",
        FULL,
        "'shop' occurs twice",
        "'year', 'shop'",
    ),
}


@pytest.mark.parametrize("name", HEADERS)
def test_a_missing_or_doubled_column_is_refused_with_the_header(tmp_path: Path, name: str) -> None:
    data, columns, problem, header = HEADERS[name]
    line = error_message(tmp_path, data, columns)
    assert f": column {problem}" in line
    assert "; the header has " in line
    assert header in line
    assert f"tasks.{NAME}.prepare.columns" in line


def test_the_message_on_a_very_long_header_stays_short(tmp_path: Path) -> None:
    assert len(error_message(tmp_path, ",".join(["wide"] * 5000) + "\n")) < 800


def test_an_empty_file_is_refused(tmp_path: Path) -> None:
    assert error_message(tmp_path, "") == "the file is empty; it must have a header and rows"


def test_all_missing_columns_are_named_at_once(tmp_path: Path) -> None:
    line = error_message(tmp_path, "words,mood\nx,positive\n")
    assert line.startswith(
        f"tasks.{NAME}.prepare.columns.text: column 'text' is missing; "
        f"tasks.{NAME}.prepare.columns.label: column 'label' is missing; the header has"
    )


def test_a_header_that_is_not_csv_is_called_the_header(tmp_path: Path) -> None:
    line = error_message(tmp_path, 'text,"label\nx,positive\n')
    assert line.startswith("the header: a double quote that is not closed")


# Rows that are refused

ROWS = {
    "empty text": (",positive", "1 empty text (row 2 (line 4))"),
    "blank text": ('" \t\u00a0",positive', "1 empty text (row 2 (line 4))"),
    "unknown label": ("x,neutral", "1 unknown label (row 2 (line 4): 'neutral')"),
    "other case": ("x,Positive", "1 unknown label (row 2 (line 4): 'Positive')"),
    "empty label": ("x,", "1 empty label (row 2 (line 4))"),
    "label of two lines": ('x,"posi\ntive"', r"1 unknown label (row 2 (line 4): 'posi\ntive')"),
    "too few cells": ("x", "(row 2 (line 4): given 1 cells, the header has 2)"),
    "too many cells": ("so, so,positive", "(row 2 (line 4): given 3 cells, the header has 2)"),
    "unclosed quote": (
        '"x,positive',
        "1 open quote (row 2 (line 4): a double quote that is not closed",
    ),
    "quote too early": ('"x" y,positive', "(row 2 (line 4): text after a closing double quote)"),
    "carriage return": (
        "x\ry,positive",
        "(row 2 (line 4): a carriage return outside double quotes)",
    ),
}


@pytest.mark.parametrize("name", ROWS)
def test_a_wrong_row_is_refused_by_number_with_the_problem(tmp_path: Path, name: str) -> None:
    row, problem = ROWS[name]
    line = error_message(tmp_path, f'{HEADER}"one\ntwo",positive\n{row}\n')
    assert line.startswith("1 of 2 rows cannot be used: ")
    assert problem in line


def test_all_faults_are_told_at_once_with_the_first_rows_of_each_kind(tmp_path: Path) -> None:
    rows = [",positive"] * 4 + ["x,neutral", "x,so", "x", "good,negative", 'x,"y" z'] + ["y,"] * 2
    assert error_message(tmp_path, HEADER + "\n".join(rows)) == (
        "10 of 11 rows cannot be used: 4 empty text (row 1 (line 2); row 2 (line 3); row 3 (line 4); ...), "
        "2 unknown label (row 5 (line 6): 'neutral'; row 6 (line 7): 'so'), 2 empty label (row 10 "
        "(line 11); row 11 (line 12)), 1 wrong number of cells (row 7 (line 8): given 1 cells, the header "
        "has 2), "
        "1 text after a quote (row 9 (line 10): text after a closing double quote); correct or remove them"
        f"; list every label in tasks.{NAME}.prepare.classes (they are negative, positive), or null "
        "for those of the file; put a text "
        "that contains the separator or a line break in double quotes; double each double quote inside a "
        f"quoted text; or set tasks.{NAME}.prepare.unreadable: list to leave them out"
    )


def test_a_message_names_the_line_on_which_the_row_begins(tmp_path: Path) -> None:
    line = error_message(tmp_path, HEADER + '"a\nb\nc",positive\n\nx,neutral\n')
    assert "(row 3 (line 6): 'neutral')" in line
    rows = "one,positive\n" + '"two,positive\n' + "three,negative\n" * 50
    assert "1 open quote (row 2 (line 3): " in error_message(tmp_path, HEADER + rows)


@pytest.mark.parametrize("row", ['"x,positive', '"x" y,positive', "x" * (MAX_CHARACTERS + 1)])
def test_a_first_row_that_is_not_csv_is_called_row_1(tmp_path: Path, row: str) -> None:
    assert "(row 1 (line 2): " in error_message(tmp_path, f"{HEADER}{row}\n")


def test_a_long_label_is_quoted_in_part(tmp_path: Path) -> None:
    line = error_message(tmp_path, HEADER + f"x,{'y' * 5000}\n")
    assert len(line) < 450
    assert f"'{'y' * 60}...'" in line


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ("r1, ,positive,x,north,2024", "1 empty group (row 2 (line 3))"),
        (" ,ann,positive,x,north,2024", "1 empty id (row 2 (line 3))"),
        (
            "r0,ann,positive,x,north,2024",
            "1 repeated id (row 2 (line 3): 'r0' is also that of row 1 (line 2))",
        ),
    ],
)
def test_a_row_without_a_group_or_an_id_of_its_own_is_refused(
    tmp_path: Path, row: str, problem: str
) -> None:
    data = f"id,who,label,text,shop,year\nr0,ann,positive,fine,north,2024\n{row}\n"
    line = error_message(tmp_path, data, FULL)
    assert line.startswith(f"1 of 2 rows cannot be used: {problem}")
    assert re.search(rf"set tasks\.{NAME}\.prepare\.columns\.(group|id): null", line)


@pytest.mark.parametrize(("faulty", "refused"), [(1, False), (2, True)])
def test_up_to_a_tenth_of_the_rows_is_left_out_unasked(faulty: int, *, refused: bool) -> None:
    faults = FaultCount(rows=10)
    for number in range(faulty):
        faults.add(FaultyRow(f"row-{number}", f"row {number}", "", Fault(NO_TEXT)))
    faults.check("x.csv", "prepare", "list")
    with pytest.raises(UserError, match="unreadable: list to leave them out"):
        faults.check("x.csv", "prepare", "refuse")
    with pytest.raises(UserError) if refused else nullcontext():
        faults.check("x.csv", "prepare", None)


def write_splits(folder: Path, **rows: list[str]) -> Path:
    """Write a file for each split, with the columns id, text and label."""
    for split, lines in rows.items():
        (folder / f"{split}.csv").write_text("\n".join(["id,text,label", *lines]) + "\n")
    return folder


def numbered(split: str, count: int, start: int = 0) -> list[str]:
    return [f"{start + n},{split} text {n},{['positive', 'negative'][n % 2]}" for n in range(count)]


@pytest.mark.parametrize(("start", "prefixes"), [(0, ("train-", "test-")), (40, ("", ""))])
def test_ids_that_each_split_file_numbers_anew_are_told_apart(
    tmp_path: Path, start: int, prefixes: tuple[str, str]
) -> None:
    train, test = numbered("train", 40), numbered("test", 4, start)
    task = task_on(write_splits(tmp_path, train=train, test=test), columns=COLUMNS | {"id": "id"})
    samples = [row for row in read_table(task) if isinstance(row, TextSample)]
    assert [sample.name for sample in samples] == [
        *(f"{prefixes[0]}{n}" for n in range(40)),
        *(f"{prefixes[1]}{start + n}" for n in range(4)),
    ]
    assert [sample.split for sample in samples[-5:]] == ["train", *["test"] * 4]


def test_an_id_that_one_split_file_has_twice_is_a_fault_all_the_same(tmp_path: Path) -> None:
    train = [*numbered("train", 4), "0,another,positive"]
    task = task_on(
        write_splits(tmp_path, train=train, test=numbered("test", 4)),
        columns=COLUMNS | {"id": "id"},
    )
    (faulty,) = [row for row in read_table(task) if isinstance(row, FaultyRow)]
    assert str(faulty.fault) == "repeated id: 'train-0' is also that of train.csv row 1 (line 2)"


@pytest.mark.parametrize("unreadable", ["list", None])
def test_no_official_split_is_left_out_as_a_whole(
    tmp_path: Path, unreadable: Literal["list"] | None
) -> None:
    task = task_on(
        write_splits(
            tmp_path, train=numbered("train", 96), test=[f"{n},text {n}," for n in range(4)]
        )
    )
    faults = FaultCount()
    list(faults.watch(read_table(task)))
    with pytest.raises(UserError, match="these are all official test data") as error:
        faults.check(str(tmp_path), "tasks.mine.prepare", unreadable)
    assert "4 of 100 rows cannot be used: 4 empty label" in str(error.value)


def test_an_empty_cell_of_splits_is_undivided(tmp_path: Path) -> None:
    data = "text,label,part\na,positive,train\nb,negative, \nc,positive,Test\nd,negative,later\n"
    rows = read_table(task_on(write(tmp_path, data), columns=COLUMNS | {"split": "part"}))
    assert [row.split for row in rows] == ["train", "", "test", ""]
    assert [str(row.fault) for row in rows if isinstance(row, FaultyRow)] == [
        "unknown split: 'later'"
    ]


def test_rows_after_a_quote_that_is_not_closed_are_never_left_out(tmp_path: Path) -> None:
    path, faults = write(tmp_path, HEADER + "x,positive\n" * 99 + '"y,positive\n'), FaultCount()
    list(faults.watch(read_table(task_on(path))))
    with pytest.raises(UserError, match="1 open quote") as error:
        faults.check(str(path), "prepare", "list")
    assert "unreadable" not in str(error.value)


# The dataset note


def note_on(task: Task) -> SourceNote:
    return source_note(task, source_tables(task))


def test_the_note_has_the_digest_of_the_file_and_its_columns(tmp_path: Path) -> None:
    path = write(tmp_path, HEADER + "x,positive\n")
    note = note_on(task_on(path))
    assert note.raw_sha256 == sha256(path.read_bytes()).hexdigest()
    assert note.origin == "the file texts.csv, column 'text'"
    assert "column 'label'" in note.label_rules


@pytest.mark.parametrize("name", ["reviews.csv", "hard.csv"])
def test_the_note_on_the_embedded_reviews_is_for_their_bytes_only(
    tmp_path: Path, name: str
) -> None:
    path = ROOT / "data/raw/sentiment" / name
    note = note_on(task_on(path, source="reviews"))
    assert "written for this repository by a large language model" in note.origin
    assert note.licence == "CC0 1.0 (public domain)"
    assert "emoji, ratings" in note.limits["Not real reviews"]
    assert note.raw_sha256 == sha256(path.read_bytes()).hexdigest()
    changed = tmp_path / name
    changed.write_bytes(path.read_bytes() + b"one-more,good,positive,films,plain,plain,alone\n")
    with pytest.raises(UserError, match=r"not one of the embedded files.*source: csv") as error:
        note_on(task_on(changed, source="reviews"))
    assert str(error.value).startswith(f"tasks.{NAME}.prepare.source: given 'reviews', but ")


@pytest.mark.parametrize("name", ["nowhere.csv", "a/b.csv"])
def test_a_file_that_cannot_be_read_is_refused_by_its_param(tmp_path: Path, name: str) -> None:
    with pytest.raises(UserError) as error:
        source_tables(task_on(tmp_path / name))
    assert str(error.value).startswith(f"tasks.{NAME}.prepare.path: {tmp_path / name}: ")


def test_control_characters_in_names_are_read_as_escapes(tmp_path: Path) -> None:
    row = ["a\x1b[31mb", "positive", "id\x1b", "g\x9b", "s\x07", "y\u202ex"]
    text = to_csv_text([["text", "label", "id", "who", "shop", "year"], row])
    (sample,) = read(tmp_path, text, FULL)
    assert sample == TextSample(
        r"id\x1b", "a\x1b[31mb", "positive", r"g\x9b", (r"s\x07", r"y\u202ex")
    )
