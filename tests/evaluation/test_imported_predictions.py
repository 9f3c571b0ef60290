"""Tables of predictions from anywhere: their columns, probabilities, and all faults in one line."""

import math
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.predictions import make_rows, read_table, write_table

from stages.core.errors import UserError, printable
from stages.datasets.tables.formats import SUFFIXES

LABELS, PREDICTIONS = ["1", "0", "1"], ["1", "1", "0"]
ROWS = make_rows(LABELS, PREDICTIONS)


def refusal(path: Path, **names: str) -> str:
    """Return the line with which a table is refused."""
    with pytest.raises(UserError) as error:
        read_table(path, **names)
    line = str(error.value)
    assert line.startswith(f"{path}: ")
    assert "\n" not in line
    return line.removeprefix(f"{path}: ")


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_every_format_gives_the_same_predictions(tmp_path: Path, suffix: str) -> None:
    rows = [{**row, "group": "g 1", "text": 'a, "quoted"\ttext'} for row in ROWS]
    table = read_table(write_table(tmp_path / f"a{suffix}", rows))
    assert [*table.samples] == ["s0", "s1", "s2"]
    assert [sample[1:] for sample in table.samples.values()] == [
        (label, prediction, "g 1") for label, prediction in zip(LABELS, PREDICTIONS, strict=True)
    ]
    assert table.columns == {
        "id": "id",
        "label": "label",
        "prediction": "prediction",
        "group": "group",
    }
    assert table.losses is None


@pytest.mark.parametrize(
    ("header", "names", "columns"),
    [
        ("id,label,prediction", {}, ["id", "label", "prediction"]),
        (" Doc ID ,Target, Y Pred", {}, [" Doc ID ", "Target", " Y Pred"]),
        (",y_true,y_pred", {}, ["", "y_true", "y_pred"]),
        ("Unnamed: 0,y_true,y_pred", {}, ["Unnamed: 0", "y_true", "y_pred"]),
        ("id,label,target,prediction,pred", {}, ["id", "label", "prediction"]),
        ("a,b,c", {"id": "a", "label": "b", "prediction": "c"}, ["a", "b", "c"]),
        ("row,label,a,prediction", {"id": "row", "prediction": "a"}, ["row", "label", "a"]),
    ],
)
def test_headings_and_names_show_the_columns(
    tmp_path: Path, header: str, names: dict[str, str], columns: list[str]
) -> None:
    path = tmp_path / "a.csv"
    cells = ",".join(["7"] * len(header.split(",")))
    path.write_text(f"{header}\n{cells}\n")
    assert [*read_table(path, **names).columns.values()] == columns


@pytest.mark.parametrize(
    ("header", "names", "line"),
    [
        ("x,label,prediction", {}, "no column of ids; name it with --id, or --id none"),
        ("id,text", {}, "no column of labels; name it with --label; no column of predictions"),
        ("id,label,pred,y_pred", {}, "--prediction: could be 'pred' or 'y_pred'; name one"),
        ("id,label,prediction,Prediction", {}, "could be 'prediction' or 'Prediction'"),
        ("id,label,prediction", {"group": "writer"}, "--group: column 'writer' is missing"),
        ("id,label,prediction,x,x", {"group": "x"}, "--group: column 'x' occurs twice"),
        ("id,label,prediction", {"correct": "acc"}, "--correct: column 'acc' is missing"),
        ("id,label,prediction", {"loss": "nll"}, "--loss: column 'nll' is missing"),
        ("id,label,prediction", {"probability": "p"}, "--probability: given 'p'; must be a column"),
        ("id,label,prediction", {"probability": "p_{}"}, "--probability: given 'p_{}'; must be"),
        ("id,label,prediction", {"probability": "1=p"}, "--probability: given '1=p'; must be"),
    ],
)
def test_a_column_that_is_not_there_is_refused_with_the_header(
    tmp_path: Path, header: str, names: dict[str, str], line: str
) -> None:
    path = tmp_path / "a.csv"
    path.write_text(f"{header}\n")
    text = refusal(path, **names)
    assert line in text
    assert text.endswith(f"; the header has {', '.join(map(repr, header.split(',')))}")


def test_without_ids_rows_are_known_by_their_place(tmp_path: Path) -> None:
    path = write_table(tmp_path / "a.csv", ROWS)
    assert [*read_table(path, id="none").samples] == ["1", "2", "3"]
    assert read_table(path, id="none", group="none").columns.keys() == {"label", "prediction"}


def test_whole_numbers_are_the_same_class_however_they_are_written(tmp_path: Path) -> None:
    rows = make_rows(["1.0", " 0 ", "-1.00"], ["1", "0.0", "-1"])
    samples = read_table(write_table(tmp_path / "a.csv", rows)).samples.values()
    assert all(sample.label == sample.prediction for sample in samples)


def test_right_and_wrong_answers_take_the_place_of_classes(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [
        {"doc_id": 0, "acc": 1.0},
        {"doc_id": 1, "acc": 0},
        {"doc_id": 2, "acc": True},
        {"doc_id": 3, "acc": False},
    ]
    table = read_table(write_table(tmp_path / "a.jsonl", rows), correct="acc")
    right = [sample.label == sample.prediction for sample in table.samples.values()]
    assert right == [True, False, True, False]
    rows += [{"doc_id": 4, "acc": 0.5}, {"doc_id": 5, "acc": None}]
    line = refusal(write_table(tmp_path / "b.jsonl", rows), correct="acc")
    assert line == (
        "2 of 6 rows cannot be used: 2 neither right nor wrong (row 5 (line 5): '0.5'; "
        "row 6 (line 6): ''); correct or remove them; write 1 or 0"
    )


def test_all_faults_are_told_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text(
        "id,label,prediction,group\n"
        "a,1,1,g\n"
        "a,1,1,g\n"
        "a,1,0,g\n"
        ",1,1,g\n"
        "b,,1,g\n"
        "c,1, ,g\n"
        "d,1,1,\n"
        "e,1,1\n"
        "f,1,1,g\n"
    )
    line = refusal(path)
    assert line.startswith("7 of 9 rows cannot be used: ")
    for part in (
        "1 repeated id (row 2 (line 3): 'a' is also that of row 1 (line 2))",
        "1 contradictory id (row 3 (line 4): 'a' is also that of row 1 (line 2))",
        "1 empty id (row 4 (line 5))",
        "1 empty label (row 5 (line 6))",
        "1 empty prediction (row 6 (line 7))",
        "1 empty group (row 7 (line 8))",
        "1 wrong number of cells (row 8 (line 9): given 3 cells, the header has 4)",
        "; write a word for an answer that is none; give each row a group, or --group none",
    ):
        assert part in line


def test_empty_groups_are_no_fault_where_groups_are_not_used(tmp_path: Path) -> None:
    path = write_table(tmp_path / "a.csv", make_rows(["1", "1"], ["1", "0"], group=["g", ""]))
    assert "1 empty group" in refusal(path)
    assert len(read_table(path, group="none").samples) == 2


@pytest.mark.parametrize(
    ("data", "line"),
    [
        (b"", "the file is empty"),
        (b"id,label,prediction\n", "no rows below the header"),
        (b"\xff\xfei\x00d\x00", "UTF-16"),
        (b"id,label,prediction\na,1,\xff\n", "1 not UTF-8 text"),
        (b'id,label,prediction\na,1,"x\n', "1 open quote"),
        (b"PK\x03\x04", "a ZIP archive or an Excel workbook"),
        (b"PAR1", "not a readable Parquet file"),
        (b"\x1f\x8b\x08", "the compressed data are damaged"),
        (b"a;b,c\n1;2,3\n", "could be separated by comma or semicolon"),
    ],
)
def test_files_that_are_no_tables_are_refused(tmp_path: Path, data: bytes, line: str) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(data)
    assert line in refusal(path)
    if b";" in data:
        assert refusal(path).endswith("say which in --separator")


WORDS = (
    *(
        "id",
        "label",
        "prediction",
        "p_0",
        "p_1",
        "a",
        "0",
        "1",
        "0.5",
        "nan",
        "1e400",
        '"id"',
        "null",
    ),
    *(",", "\t", ";", "\n", "\r\n", "{", "}", "[", "]", ":", '"', "'", "\x00", "\ufeff", " "),
)
TEXT = st.lists(st.sampled_from(WORDS), max_size=30).map(lambda words: "".join(words).encode())
STARTS = (b"", b"id,label,prediction,p_0,p_1\n", b'{"id": ', b"[", b"PAR1", b"\x1f\x8b")
OUTCOME = re.compile(r"\d+ samples|.*/a\.[\w.]+: [^\n]+")


@settings(
    deadline=None,
    max_examples=300,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    content=st.one_of(st.binary(max_size=80), TEXT),
    start=st.sampled_from(STARTS),
    suffix=st.sampled_from(SUFFIXES),
)
def test_any_bytes_are_predictions_or_one_line(
    tmp_path: Path, content: bytes, start: bytes, suffix: str
) -> None:
    path = tmp_path / f"a{suffix}"
    path.write_bytes(start + content)
    try:
        outcome = f"{len(read_table(path).samples)} samples"
    except UserError as error:
        outcome = printable(str(error))
    assert OUTCOME.fullmatch(outcome)


def test_predictions_in_other_words_than_the_labels_are_refused(tmp_path: Path) -> None:
    path = write_table(tmp_path / "a.csv", make_rows(["0", "1"], ["LABEL_0", "LABEL_1"]))
    assert refusal(path) == (
        "no prediction ('LABEL_0', 'LABEL_1') is one of the labels ('0', '1'); write both in the same way"
    )


# Probabilities

PROBABILITIES = {"p_0": [0.25, 0.5, 0.0], "p_1": [0.75, 0.5, 1.0]}
LOSSES = [-math.log(0.75), -math.log(0.5), 0.0]


def with_columns(path: Path, columns: dict[str, list[Any]]) -> Path:
    """Write a table of two classes, predicted wrong where the probabilities are even."""
    return write_table(path, make_rows(["1", "0", "1"], ["1", "1", "1"], **columns))


@pytest.mark.parametrize(
    ("columns", "names"),
    [
        (PROBABILITIES, {}),
        (PROBABILITIES, {"probability": "p_{}"}),
        ({"0 (%)": PROBABILITIES["p_0"], "1 (%)": PROBABILITIES["p_1"]}, {"probability": "{} (%)"}),
        ({"p": PROBABILITIES["p_1"]}, {"probability": "1=p"}),
        ({"p": PROBABILITIES["p_0"]}, {"probability": "0=p"}),
        ({"confidence": [0.75, 0.5, 1.0]}, {"probability": "confidence"}),
        ({"nll": LOSSES}, {"loss": "nll"}),
    ],
)
def test_the_loss_follows_from_probabilities(
    tmp_path: Path, columns: dict[str, list[float]], names: dict[str, str]
) -> None:
    table = read_table(with_columns(tmp_path / "a.csv", columns), **names)
    assert table.losses
    assert [*table.losses] == ["s0", "s1", "s2"]
    assert [*table.losses.values()] == pytest.approx(LOSSES, abs=1e-6)


@pytest.mark.parametrize(
    ("columns", "names", "line"),
    [
        ({"p_0": [0.5] * 3, "p_1": [0.75] * 3}, {}, "3 unusable probability (row 1"),
        ({"p_0": [0.5] * 3, "p_1": [0.75] * 3}, {}, "they add up to 1.25"),
        ({"p_0": [-1.5] * 3, "p_1": [2.5] * 3}, {}, "'-1.5' is not from 0 to 1"),
        ({"p_0": ["nan"] * 3, "p_1": [1] * 3}, {}, "'nan' is not from 0 to 1"),
        ({"p_0": ["x"] * 3, "p_1": [1] * 3}, {}, "or --probability none"),
        (
            {"q_0": [0.5] * 3, "q_2": [0.5] * 3},
            {"probability": "q_{}"},
            "no column for the class '1'",
        ),
        (
            {"c": [0.5, 0.4, 1]},
            {"probability": "c"},
            "1 unusable probability (row 2 (line 3): 0.4 is less",
        ),
        ({"c": [0.5] * 3}, {"probability": "yes=c"}, "'yes' is not one of the classes ('0', '1')"),
        ({"nll": [0.5, -0.5, "inf"]}, {"loss": "nll"}, "2 unusable loss (row 2 (line 3): '-0.5'"),
    ],
)
def test_what_is_no_probability_is_refused(
    tmp_path: Path, columns: dict[str, list[Any]], names: dict[str, str], line: str
) -> None:
    path = with_columns(tmp_path / "a.csv", columns)
    assert line in refusal(path, **names)
    assert read_table(path, probability="none").losses is None


def test_one_probability_is_not_enough_for_three_classes(tmp_path: Path) -> None:
    path = write_table(tmp_path / "a.csv", make_rows(["a", "b"], ["a", "c"], score=[0.75, 0.5]))
    line = refusal(path, probability="score")
    assert "one column is enough for two classes, and there are 3 ('a', 'b', 'c')" in line


def test_columns_that_only_look_like_probabilities_are_not_used(tmp_path: Path) -> None:
    path = with_columns(tmp_path / "a.csv", {"p_value": ["x"] * 3, "p_rank": ["y"] * 3})
    assert read_table(path).losses is None
