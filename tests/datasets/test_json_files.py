"""Tables of JSON: columns of nested values, rows in lines or in a list, and what is no row."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from stages.core.errors import UserError
from stages.datasets.tables.json_files import JsonTable

SAMPLE = {  # as lm-evaluation-harness writes it
    "doc_id": 0,
    "doc": {"question": "2 + 2?", "choices": ["4", "5"]},
    "target": "4",
    "filtered_resps": ["4"],
    "resps": [[["-0.1", "True"]]],
    "acc": 1.0,
    "note": None,
}


def table(path: Path, *rows: Any) -> JsonTable:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return JsonTable(path)


def cells(content: JsonTable, *columns: str) -> list[list[str]]:
    return [row.cells for row in content.select(columns)]


def test_columns_are_the_paths_of_values(tmp_path: Path) -> None:
    content = table(tmp_path / "a.jsonl", SAMPLE, {"doc_id": 1, "later": 2})
    assert content.header() == [
        *("doc_id", "doc.question", "doc.choices.0", "doc.choices.1", "target", "filtered_resps"),
        *("filtered_resps.0", "resps.0.0.0", "resps.0.0.1", "acc", "note", "later"),
    ]


def test_a_list_of_one_value_is_that_value_and_what_is_missing_is_empty(tmp_path: Path) -> None:
    content = table(tmp_path / "a.jsonl", SAMPLE, {"doc_id": 1})
    columns = ("doc_id", "filtered_resps", "resps.0.0.1", "doc.choices.9", "doc_id.x", "note")
    assert cells(content, *columns) == [["0", "4", "True", "", "", ""], ["1", "", "", "", "", ""]]


def test_a_key_with_a_dot_comes_before_a_path(tmp_path: Path) -> None:
    content = table(tmp_path / "a.jsonl", {"a.b": "key", "a": {"b": "path"}})
    assert cells(content, "a.b") == [["key"]]


def test_numbers_and_booleans_are_text_and_nan_is_empty(tmp_path: Path) -> None:
    content = table(tmp_path / "a.jsonl", {"a": 1, "b": 1.5, "c": True, "d": float("nan")})
    assert cells(content, "a", "b", "c", "d") == [["1", "1.5", "True", ""]]


@pytest.mark.parametrize("name", ["a.json", "a.jsonl", "a.json.gz"])
@pytest.mark.parametrize("indent", [None, 2])
def test_one_list_holds_all_rows(tmp_path: Path, name: str, indent: int | None) -> None:
    data = ("\n \n" + json.dumps([{"a": 1}, {"a": 2}], indent=indent)).encode()
    (tmp_path / name).write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    content = JsonTable(tmp_path / name)
    assert content.header() == ["a"]
    assert [(row.number, row.location) for row in content.select(["a"])] == [
        (1, "row 1"),
        (2, "row 2"),
    ]


def test_lines_that_are_no_objects_are_faults_in_their_place(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    deep = "[" * 100_000
    path.write_text('{"a": 1}\n\n3\n{"a": \n{"a": [1, 2]}\n{"a": "\\udc80"}\n{"a": ' + deep + "\n")
    rows = list(JsonTable(path).select(["a"]))
    assert [row.location for row in rows] == [
        *("row 1 (line 1)", "row 2 (line 3)", "row 3 (line 4)", "row 4 (line 5)"),
        *("row 5 (line 6)", "row 6 (line 7)"),
    ]
    kinds = [row.fault.kind if row.fault else None for row in rows]
    no_object = "not a JSON object"
    assert kinds == [
        None,
        no_object,
        no_object,
        "wrong number of cells",
        "not UTF-8 text",
        no_object,
    ]
    assert rows[3].fault
    assert rows[3].fault.detail == "'a' holds several values; name one of them, as a.0"


@pytest.mark.parametrize("text", ["", "\n\n", "1\n2\n", "[]", "[1, 2]", "[{]", "not JSON"])
def test_a_file_without_objects_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(text)
    with pytest.raises(UserError, match=r"a\.jsonl: no JSON objects"):
        JsonTable(path).header()


def test_deeply_nested_values_are_no_columns(tmp_path: Path) -> None:
    value: Any = 1
    for _ in range(500):
        value = [value, {"x": value}] if value == 1 else {"x": value}
    header = table(tmp_path / "a.jsonl", {"a": value}).header()
    assert all(column.count(".") <= 8 for column in header)
