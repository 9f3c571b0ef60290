"""Tables in any dialect are read as they were written: separators, quotes, compression, splits."""

import csv
import gzip
import sys
import tracemalloc
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.texts import to_csv_text

from stages.core.errors import UserError
from stages.datasets.tables.csv_files import SEPARATORS, Row
from stages.datasets.tables.reading import SPLIT_NAMES, Table, digest, find_tables, official_split

KEY = "tasks.mine.prepare"
# No lone surrogates, which UTF-8 cannot hold, and no NUL, which is refused.
CELLS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)
DIALECTS: dict[str, Any] = {
    "separator": st.sampled_from(sorted(SEPARATORS)),
    "lineterminator": st.sampled_from(["\n", "\r\n"]),
    "quoting": st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
    "mark": st.booleans(),
    "zipped": st.booleans(),
}


def write(path: Path, text: str, *, mark: bool = False, zipped: bool = False) -> Path:
    data = text.encode("utf-8-sig" if mark else "utf-8")
    path.write_bytes(gzip.compress(data) if zipped else data)
    return path


def only_table(path: Path, separator: str | None = None) -> Table:
    (table,) = find_tables(path, KEY, separator)
    return table


def read_all(path: Path, separator: str | None) -> None:
    for table in find_tables(path, KEY, separator):
        table.header()
        list(table.rows())


def refusal(path: Path, separator: str | None = None) -> str:
    """Return the line with which a path is refused."""
    with pytest.raises(UserError) as error:
        read_all(path, separator)
    line = str(error.value)
    assert "\n" not in line
    return line


@settings(max_examples=150, deadline=None, derandomize=True, database=None)
@given(
    rows=st.lists(st.tuples(CELLS, CELLS, CELLS), max_size=6),
    dialect=st.fixed_dictionaries(DIALECTS),
)
def test_a_table_in_any_dialect_reads_back_as_it_was_written(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, ...]], dialect: dict[str, Any]
) -> None:
    style = {key: dialect[key] for key in ("lineterminator", "quoting")}
    if any("\r" in cell for row in rows for cell in row):
        style["quoting"] = csv.QUOTE_ALL  # Python's writer leaves a lone carriage return unquoted
    cells = [["id", "text", "label"], *map(list, rows)]
    text = to_csv_text(cells, delimiter=SEPARATORS[dialect["separator"]], **style)
    path = tmp_path_factory.mktemp("tables") / "table.csv"
    write(path, text, mark=dialect["mark"], zipped=dialect["zipped"])
    table = only_table(path)
    assert table.separator == SEPARATORS[dialect["separator"]]
    assert table.header() == cells[0]
    assert [row.cells for row in table.rows()] == cells[1:]


@pytest.mark.parametrize(
    ("name", "text", "separator"),
    [
        ("a.csv", "text;label\nSo, so, so;good\nFine, yes;good\n", ";"),
        ("a.csv", "text,label\n", ","),
        ("a.csv", 't;u,label\n"x",good\n"y; z",good\nplain,good\n', ","),
        ("a.tsv", "t,u\tlabel\na,b\tc\n", "\t"),
        ("a.csv", "text\tlabel\na, b\tgood\n", "\t"),
        ("a.csv", "one column\nx\n", ","),
        ("a.csv", 'text;label\n"a\nb;c";good\n', ";"),
    ],
)
def test_the_separator_is_seen_in_the_header_and_the_first_rows(
    tmp_path: Path, name: str, text: str, separator: str
) -> None:
    assert only_table(write(tmp_path / name, text)).separator == separator


def test_a_separator_that_cannot_be_told_is_asked_for(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", "t;u,label\nx;y,good\n")
    assert refusal(path).endswith(
        "a.csv: cells could be separated by comma or semicolon: the header and the first rows have as "
        f"many of either; say which in {KEY}.separator"
    )
    assert only_table(path, "semicolon").header() == ["t", "u,label"]


def test_a_compressed_file_is_known_by_its_content(tmp_path: Path) -> None:
    text = "text,label\nx,good\n"
    for name, zipped in (("a.csv", True), ("b.csv.gz", True), ("c.csv.gz", False)):
        table = only_table(write(tmp_path / name, text, zipped=zipped))
        assert [row.cells for row in table.rows()] == [["x", "good"]]


PLAIN = ['"so" it goes', 'a " b', '"', '""" odd', "plain", 'it ends"', '"a" and "b"']


def test_quotes_are_text_in_a_file_with_tabs_that_quotes_nothing(tmp_path: Path) -> None:
    lines = ["text\tlabel", *(f"{text}\tgood" for text in PLAIN)]
    table = only_table(write(tmp_path / "a.tsv", "\n".join(lines)))
    assert not table.quoted
    assert [row.cells for row in table.rows()] == [[text, "good"] for text in PLAIN]


@pytest.mark.parametrize(
    "cells", [["a\tb", "x"], ["two\nlines", "x"], ['say "so"', '"x"'], ["plain", "x"], ["", ""]]
)
def test_quotes_enclose_cells_in_a_file_with_tabs_that_is_quoted(
    tmp_path: Path, cells: list[str]
) -> None:
    text = to_csv_text([["text", "label"], cells], delimiter="\t", quoting=csv.QUOTE_ALL)
    table = only_table(write(tmp_path / "a.tsv", text))
    assert table.quoted
    assert [row.cells for row in table.rows()] == [cells]


@pytest.mark.parametrize("cut", [20, 40, 60])
def test_a_compressed_file_that_is_cut_short_is_refused(tmp_path: Path, cut: int) -> None:
    rows = "".join(f"text {n * n},good\n" for n in range(200))
    path = write(tmp_path / "a.csv.gz", f"text,label\n{rows}", zipped=True)
    path.write_bytes(path.read_bytes()[:cut])
    assert "a.csv.gz: the compressed data are damaged or cut short" in refusal(path)


def test_files_that_are_no_tables_are_refused(tmp_path: Path) -> None:
    workbook = tmp_path / "a.csv"
    workbook.write_bytes(b"PK\x03\x04rest")
    assert "a ZIP archive or an Excel workbook" in refusal(workbook)
    assert "the file is empty" in refusal(write(tmp_path / "b.csv", ""))
    endless = write(tmp_path / "c.csv", "x" * 17_000_000)
    assert "line 1: longer than 16,000,000 bytes" in refusal(endless)


def test_a_row_of_another_length_has_a_fault_and_an_empty_line_is_skipped(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", "text,label\n\nx\n\r\nx,good\nx,y,z\n")
    rows = list(only_table(path).rows())
    assert [(row.number, row.line) for row in rows] == [(2, 3), (4, 5), (5, 6)]
    assert [str(row.fault) for row in rows if row.fault] == [
        "wrong number of cells: given 1 cells, the header has 2",
        "wrong number of cells: given 3 cells, the header has 2",
    ]


def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    peaks = []
    for count in (200, 2000):
        path = write(tmp_path / "a.csv", "text,label\n" + f"{'word ' * 1000},good\n" * count)
        table = only_table(path, "comma")
        tracemalloc.start()
        assert sum(1 for _ in table.rows()) == count
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.2 * peaks[0]


# One file a split


def test_a_folder_with_a_file_for_each_split_is_read_in_their_order(tmp_path: Path) -> None:
    for name in ("Test.csv", "dev.tsv", "train.csv.gz", "README.md", "extra.csv", "train.txt"):
        mark = "\t" if name.endswith("tsv") else ","
        write(tmp_path / name, f"text{mark}label\n{name}{mark}good\n", zipped=name.endswith("gz"))
    tables = find_tables(tmp_path, KEY)
    assert [(table.path.name, table.split) for table in tables] == [
        ("train.csv.gz", "train"),
        ("dev.tsv", "validation"),
        ("Test.csv", "test"),
    ]
    assert [next(table.rows()).cells[0] for table in tables] == [t.path.name for t in tables]


def test_a_folder_without_training_data_or_with_two_files_of_a_split_is_refused(
    tmp_path: Path,
) -> None:
    write(tmp_path / "test.csv", "text,label\n")
    assert f"no file of training data; {KEY}.path must name a table" in refusal(tmp_path)
    for name in ("train.csv", "training.tsv"):
        write(tmp_path / name, "text,label\n")
    assert "train.csv and training.tsv would both be the train data" in refusal(tmp_path)


@pytest.mark.parametrize("name", [name for names in SPLIT_NAMES.values() for name in names])
def test_a_split_is_known_by_its_usual_names_in_any_case(name: str) -> None:
    (split,) = (split for split, names in SPLIT_NAMES.items() if name in names)
    assert {official_split(text) for text in (name, name.upper(), f" {name.title()} ")} == {split}
    assert official_split(f"{name}s") == ""


def test_the_digest_of_several_files_depends_on_names_and_contents(tmp_path: Path) -> None:
    write(tmp_path / "train.csv", "text,label\n")
    write(tmp_path / "test.csv", "text,label\n")
    digests = [digest(find_tables(tmp_path, KEY))]
    write(tmp_path / "test.csv", "text,label\nx,y\n")
    digests.append(digest(find_tables(tmp_path, KEY)))
    (tmp_path / "test.csv").rename(tmp_path / "dev.csv")
    digests.append(digest(find_tables(tmp_path, KEY)))
    assert len({*digests}) == 3


# Parquet


def test_a_parquet_file_needs_a_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)  # as if it were not installed
    path = tmp_path / "a.parquet"
    path.write_bytes(b"PAR1 and more")
    assert "a Parquet file needs the package pyarrow, which is not installed" in refusal(path)


def test_a_parquet_file_reads_as_the_table_that_was_written(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pd.DataFrame({"text": ["a\nb", None], "label": [1, 0]}).to_parquet(path)
    table = only_table(path)
    assert table.header() == ["text", "label"]
    assert list(table.rows()) == [Row(1, 0, ["a\nb", "1"]), Row(2, 0, ["", "0"])]
    path.write_bytes(path.read_bytes()[:-8])
    assert "not a readable Parquet file" in refusal(path)


def test_a_text_in_a_parquet_file_that_is_no_utf_8_gets_a_line(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    table = pd.DataFrame({"text": ["a caf\xe9", "b"], "label": [1, 0]})
    table.to_parquet(path, compression=None, write_statistics=False)
    assert path.read_bytes().count("caf\xe9".encode()) == 1
    path.write_bytes(path.read_bytes().replace("caf\xe9".encode(), b"cafe\xe9"))
    assert "not a readable Parquet file" in refusal(path)
