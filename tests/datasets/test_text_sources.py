"""Reading texts from a CSV file: a row is used as it is written, or refused by file and row."""

import csv
import re
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from support.project import ROOT
from support.texts import COLUMNS, text_task, to_csv_text

from stages.core.errors import UserError
from stages.core.task import Task
from stages.datasets.texts.sources import (
    MAX_CHARACTERS,
    TextSample,
    read_samples,
    source_note,
)

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
    slices = {"columns": columns}
    return list(read_samples(task_on(write(folder, data), **slices)))


def error_message(folder: Path, data: str | bytes, columns: dict[str, Any] = COLUMNS) -> str:
    """Return the one line with which the file is refused, after the file's name."""
    with pytest.raises(UserError) as error:
        read(folder, data, columns)
    line = str(error.value)
    assert "\n" not in line
    assert line.startswith(f"{folder / 'texts.csv'}: ")
    return line.removeprefix(f"{folder / 'texts.csv'}: ")


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
    rows = read_samples(task_on(path))
    assert next(rows).text == "So, so."
    with pytest.raises(UserError, match=r"given 3 cells, the header has 2; put a text .* a tab or"):
        next(rows)


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


def test_rows_before_a_wrong_one_are_read_first(tmp_path: Path) -> None:
    rows = read_samples(task_on(write(tmp_path, HEADER + "one,positive\ntwo,neutral\n")))
    assert next(rows).text == "one"
    with pytest.raises(UserError, match=r"row 2 \(line 3\)"):
        next(rows)


@pytest.mark.parametrize("character", ["x", "\u00e9", "\U0001f600"])
def test_a_text_of_the_longest_length_is_read_and_a_longer_one_is_refused(
    tmp_path: Path, character: str
) -> None:
    longest = character * MAX_CHARACTERS
    assert read(tmp_path, f"{HEADER}{longest},positive\n")[0].text == longest
    line = error_message(tmp_path, f"{HEADER}one,positive\n{longest}{character},positive\n")
    assert line.startswith("row 2 ")
    assert "no text longer than 1,000,000 characters" in line


# Files that are not UTF-8 text

BYTES = {
    "UTF-16": ((HEADER + "x,positive\n").encode("utf-16"), "line 1: ", "looks like UTF-16"),
    "UTF-16, big end first": (
        b"\xfe\xff" + (HEADER + "x,positive\n").encode("utf-16-be"),
        "line 1: ",
        "looks like UTF-16",
    ),
    "UTF-16, no mark": ((HEADER + "x,positive\n").encode("utf-16-le"), "line 1: ", "NUL"),
    "Latin-1": (
        (HEADER + "caf,positive\ncaf\u00e9,positive\n").encode("latin-1"),
        "line 3: byte 4 is not UTF-8; ",
        "save the file as UTF-8",
    ),
    "Latin-1 header": ("t\u00e9xt,label\n".encode("latin-1"), "line 1: byte 2 ", "UTF-8"),
    "half a character": (HEADER.encode() + b"x,positive\n\xe6\x97", "line 3: byte 1 ", "UTF-8"),
    "a surrogate": (HEADER.encode() + b"\xed\xa0\xbd,positive\n", "line 2: byte 1 ", "UTF-8"),
    "NUL": (HEADER.encode() + b"a\0b,positive\n", "line 2: contains a NUL", "must be plain text"),
    "quoted NUL": (
        HEADER.encode() + b'"a\n\0b",positive\n',
        "line 3: contains a NUL",
        "plain text",
    ),
}


@pytest.mark.parametrize("name", BYTES)
def test_a_file_that_is_not_utf_8_text_is_refused_by_line(tmp_path: Path, name: str) -> None:
    data, start, advice = BYTES[name]
    line = error_message(tmp_path, data)
    assert line.startswith(start)
    assert advice in line
    assert ("looks like" in line) == ("looks like" in advice)


# Headers

HEADERS: dict[str, tuple[str | bytes, dict[str, Any], str, str]] = {
    "missing": ("words,label\n", COLUMNS, "'text' is missing", "'words', 'label'"),
    "other case": ("Text,label\n", COLUMNS, "'text' is missing", "'Text', 'label'"),
    "space": ("text, label\n", COLUMNS, "'label' is missing", "'text', ' label'"),
    "no header": ("A fine film.,positive\n", COLUMNS, "'text' is missing", "'A fine film.'"),
    "semicolons": ("text;label\nx;positive\n", COLUMNS, "'text' is missing", "'text;label'"),
    "doubled": ("text,label,text\n", COLUMNS, "'text' occurs more than once", "'label'"),
    "only a mark": (b"\xef\xbb\xbf", COLUMNS, "'text' is missing", "header has"),
    "an empty line": ("\n", COLUMNS, "'text' is missing", "header has"),
    "id": ("text,label,who,shop,year\n", FULL, "'id' is missing", "'who', 'shop'"),
    "group": ("text,label,id,shop,year\n", FULL, "'who' is missing", "'id', 'shop'"),
    "slice": ("text,label,id,who,shop\n", FULL, "'year' is missing", "'who', 'shop'"),
    "doubled slice": (
        "text,label,id,who,shop,year,shop\n",
        FULL,
        "'shop' occurs more than once",
        "'year', 'shop'",
    ),
}


@pytest.mark.parametrize("name", HEADERS)
def test_a_missing_or_doubled_column_is_refused_with_the_header(tmp_path: Path, name: str) -> None:
    data, columns, problem, header = HEADERS[name]
    line = error_message(tmp_path, data, columns)
    assert line.startswith(f"column {problem}; the header has ")
    assert header in line
    assert f"tasks.{NAME}.prepare.columns" in line


def test_the_message_on_a_very_long_header_stays_short(tmp_path: Path) -> None:
    assert len(error_message(tmp_path, ",".join(["wide"] * 5000) + "\n")) < 800


def test_an_empty_file_is_refused(tmp_path: Path) -> None:
    assert error_message(tmp_path, "") == "the file is empty; it must have a header and rows"


def test_a_header_that_is_not_csv_is_called_the_header(tmp_path: Path) -> None:
    line = error_message(tmp_path, 'text,"label\nx,positive\n')
    assert line.startswith("the header: unexpected end")


# Rows that are refused

ROWS = {
    "empty text": (",positive", "the text is empty; write one, or remove the row"),
    "blank text": ('" \t\u00a0",positive', "the text is empty"),
    "unknown label": ("x,neutral", "given label 'neutral'; must be one of negative, positive"),
    "other case": ("x,Positive", "given label 'Positive'; must be one of negative, positive"),
    "empty label": ("x,", "given label ''; must be one of negative, positive"),
    "label of two lines": ('x,"posi\ntive"', r"given label 'posi\ntive'; must be one of"),
    "too few cells": ("x", "given 1 cells, the header has 2; put a text that contains a comma"),
    "too many cells": ("so, so,positive", "given 3 cells, the header has 2; put a text"),
    "unclosed quote": ('"x,positive', "unexpected end of data; it must be CSV with every double"),
    "quote too early": ('"x" y,positive', "',' expected after '\"'; it must be CSV"),
    "carriage return": ("x\ry,positive", "it must be CSV with every double quote closed"),
}


@pytest.mark.parametrize("name", ROWS)
def test_a_wrong_row_is_refused_by_number_with_the_problem(tmp_path: Path, name: str) -> None:
    row, problem = ROWS[name]
    line = error_message(tmp_path, f'{HEADER}"one\ntwo",positive\n{row}\n')
    assert re.match(r"row 2 \((from )?line \d+\): ", line)
    assert problem in line


def test_a_message_names_the_line_on_which_the_row_begins(tmp_path: Path) -> None:
    line = error_message(tmp_path, HEADER + '"a\nb\nc",positive\n\nx,neutral\n')
    assert line.startswith("row 3 (line 6): given label 'neutral'")
    rows = "one,positive\n" + '"two,positive\n' + "three,negative\n" * 50
    assert error_message(tmp_path, HEADER + rows).startswith("row 2 (from line 3): unexpected end")


@pytest.mark.parametrize("row", ['"x,positive', '"x" y,positive', "x" * (MAX_CHARACTERS + 1)])
def test_a_first_row_that_is_not_csv_is_called_row_1(tmp_path: Path, row: str) -> None:
    assert error_message(tmp_path, f"{HEADER}{row}\n").startswith("row 1 ")


def test_a_long_label_is_quoted_in_part(tmp_path: Path) -> None:
    line = error_message(tmp_path, HEADER + f"x,{'y' * 5000}\n")
    assert len(line) < 300
    assert f"given label '{'y' * 60}...'" in line


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ("r1, ,positive,x,north,2024", "the group is empty; every row needs one, or set"),
        (" ,ann,positive,x,north,2024", "the id is empty; every row needs one, or set"),
        ("r0,ann,positive,x,north,2024", "the id 'r0' is also that of row 1; give each row its"),
    ],
)
def test_a_row_without_a_group_or_an_id_of_its_own_is_refused(
    tmp_path: Path, row: str, problem: str
) -> None:
    data = f"id,who,label,text,shop,year\nr0,ann,positive,fine,north,2024\n{row}\n"
    line = error_message(tmp_path, data, FULL)
    assert line.startswith(f"row 2 (line 3): {problem}")
    assert re.search(rf"set tasks\.{NAME}\.prepare\.columns\.(group|id): null$", line)


# The dataset note


def test_the_note_has_the_digest_of_the_file_and_its_columns(tmp_path: Path) -> None:
    path = write(tmp_path, HEADER + "x,positive\n")
    note = source_note(task_on(path))
    assert note.raw_sha256 == sha256(path.read_bytes()).hexdigest()
    assert note.origin == "the file texts.csv, column 'text'"
    assert "column 'label'" in note.label_rules


@pytest.mark.parametrize("name", ["reviews.csv", "hard.csv"])
def test_the_note_on_the_embedded_reviews_is_for_their_bytes_only(
    tmp_path: Path, name: str
) -> None:
    path = ROOT / "data/raw/sentiment" / name
    note = source_note(task_on(path, source="reviews"))
    assert "written for this repository by a large language model" in note.origin
    assert note.licence == "CC0 1.0 (public domain)"
    assert note.raw_sha256 == sha256(path.read_bytes()).hexdigest()
    changed = tmp_path / name
    changed.write_bytes(path.read_bytes() + b"one-more,good,positive,films,plain,alone\n")
    with pytest.raises(UserError, match=r"not one of the embedded files.*source: csv") as error:
        source_note(task_on(changed, source="reviews"))
    assert str(error.value).startswith(f"tasks.{NAME}.prepare.source: given 'reviews', but ")


@pytest.mark.parametrize("name", ["nowhere.csv", "."])
def test_a_file_that_cannot_be_read_is_refused_by_its_param(tmp_path: Path, name: str) -> None:
    with pytest.raises(UserError) as error:
        source_note(task_on(tmp_path / name))
    assert str(error.value).startswith(f"tasks.{NAME}.prepare.path: {tmp_path / name}: ")
