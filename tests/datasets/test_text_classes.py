"""Classes from the file, official splits, and rows that are left out, through the preparation of texts."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from support.texts import COLUMNS, text_task, to_csv_text

from stages.core.errors import UserError
from stages.core.files import write_all
from stages.datasets.dataset import Dataset, read_prepared
from stages.datasets.texts.preparing import prepare_texts
from stages.datasets.texts.sources import class_name, class_names, read_samples

NO_KEYWORDS = {"baseline": {"keywords": None}}


def random_text(number: int) -> str:
    return " ".join(f"w{word}" for word in np.random.default_rng(number).integers(0, 10_000, 12))


def rows_of(labels: list[str], per_label: int = 12) -> list[list[str]]:
    texts = (random_text(number) for number in range(len(labels) * per_label))
    return [[text, label] for text, label in zip(texts, labels * per_label, strict=True)]


def write_table(path: Path, rows: list[list[str]], header: list[str]) -> None:
    path.write_text(to_csv_text([header, *rows]), newline="", encoding="utf-8")


def prepare(folder: Path, path: Path, **prepare_params: Any) -> Dataset:
    changes = {"prepare": {"classes": None, **prepare_params}, **NO_KEYWORDS}
    write_all(folder, prepare_texts(text_task(path, changes), folder).files())
    return read_prepared(folder)


def classes_of(folder: Path, labels: list[str]) -> list[str]:
    """Return the classes of a file with 12 texts of each label."""
    write_table(folder / "texts.csv", rows_of(labels), ["text", "label"])
    return prepare(folder, folder / "texts.csv").classes


@pytest.mark.parametrize(
    ("labels", "classes"),
    [
        (["b", "a"], ["a", "b"]),
        (["10", "9", "-1"], ["-1", "9", "10"]),
        (["1.0", "0.0"], ["0", "1"]),
        (["1.0", "0", "1"], ["0", "1"]),
        (["2.5", "10.0"], ["2.5", "10"]),
        (["x", "10", "9"], ["9", "10", "x"]),
    ],
)
def test_classes_come_from_the_file_in_order(
    tmp_path: Path, labels: list[str], classes: list[str]
) -> None:
    assert classes_of(tmp_path, labels) == classes


def test_a_class_that_the_params_write_as_a_decimal_stays_so() -> None:
    assert class_name("1.0", ["1.0", "2.0"]) == "1.0"
    assert class_name("1.0", ["1", "2"]) == "1"
    assert class_name("1.50") == "1.50"


def test_control_characters_in_a_label_become_escapes() -> None:
    assert class_name("good\a\x1b[2J\u202e") == r"good\x07\x1b[2J\u202e"


@pytest.mark.parametrize(
    "pair", ["Good good", "good go\u200aod", "01 1", "caf\u00e9 cafe\u0301", "cat ca\u200bt"]
)
def test_labels_that_look_the_same_are_refused_by_name(pair: str) -> None:
    first, second = pair.split(" ")
    with pytest.raises(UserError) as error:
        class_names([first, second, "other"], "mood", "tasks.mine.prepare")
    line = str(error.value)
    assert repr(first) in line
    assert repr(second) in line
    assert "differ only in" in line or "are the same number" in line
    assert "tasks.mine.prepare.classes" in line


@pytest.mark.parametrize("count", [1, 1001])
def test_too_few_or_too_many_labels_are_refused(count: int) -> None:
    with pytest.raises(
        UserError, match=rf"column 'n' has {count:,} different labels; .* 2 to 1,000"
    ):
        class_names((f"label {n}" for n in range(count)), "n", "prepare")


# Official splits


def test_a_column_of_splits_is_kept_and_missing_validation_data_are_drawn_from_train(
    tmp_path: Path,
) -> None:
    rows = [
        [*row, "TEST" if n % 4 == 0 else "Train"] for n, row in enumerate(rows_of(["a", "b"], 30))
    ]
    write_table(tmp_path / "texts.csv", rows, ["text", "label", "part"])
    columns = {**COLUMNS, "split": "part"}
    dataset = prepare(tmp_path, tmp_path / "texts.csv", columns=columns)
    names = {split: {*dataset.part(split)["id"]} for split in ("train", "validation", "test")}
    assert names["test"] == {f"row-{n + 1}" for n in range(0, 60, 4)}
    assert 4 <= len(names["validation"]) <= 5  # a tenth of the 45
    assert dataset.note["official_splits"]["splits"] == ["train", "test"]


def test_one_file_a_split_is_read_with_the_file_in_each_id(tmp_path: Path) -> None:
    rows = rows_of(["a", "b"], 30)
    folder = tmp_path / "tables"
    folder.mkdir()
    parts = {"train": rows[:40], "dev": rows[40:50], "test": rows[50:]}
    for name, part in parts.items():
        write_table(folder / f"{name}.csv", part, ["text", "label"])
    dataset = prepare(tmp_path, folder)
    assert dataset.note["counts"] == {"train": 40, "validation": 10, "test": 10}
    assert {*dataset.part("validation")["id"]} == {f"dev-row-{n}" for n in range(1, 11)}
    assert (
        dataset.note["origin"]
        == "the files train.csv and dev.csv and test.csv of tables, column 'text'"
    )
    columns = {**COLUMNS, "split": "part"}
    with pytest.raises(
        UserError, match=r"columns\.split: given 'part', but .* has a file for each"
    ):
        prepare(tmp_path, folder, columns=columns)


# Rows that are left out


def test_rows_that_cannot_be_used_are_counted_and_listed(tmp_path: Path) -> None:
    rows = [*rows_of(["a", "b"], 30), ["", "a"], ["x", ""], ["only one cell"]]
    write_table(tmp_path / "texts.csv", rows, ["text", "label"])
    dataset = prepare(tmp_path, tmp_path / "texts.csv")
    assert len(dataset.samples) == 60
    assert dataset.note["unreadable"] == 3
    assert dataset.note["unreadable_kinds"] == {
        "empty label": 1,
        "empty text": 1,
        "wrong number of cells": 1,
    }
    excluded = pd.read_csv(tmp_path / "excluded_samples.csv")
    assert excluded.to_numpy().tolist() == [
        ["row-61", "unreadable", "empty text"],
        ["row-62", "unreadable", "empty label"],
        [
            "row-63",
            "unreadable",
            "wrong number of cells: given 1 cells, the header has 2",
        ],
    ]
    with pytest.raises(UserError, match="3 of 63 rows cannot be used"):
        prepare(tmp_path, tmp_path / "texts.csv", unreadable="refuse")
    with pytest.raises(UserError, match="unknown label"):
        prepare(tmp_path, tmp_path / "texts.csv", classes=["a", "c"])
    listed = prepare(tmp_path, tmp_path / "texts.csv", classes=["a", "b"], unreadable="list")
    assert listed.note["unreadable"] == 3


def test_a_file_that_changes_while_it_is_read_is_refused_and_earlier_data_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "texts.csv"
    write_table(path, rows_of(["a", "b"]), ["text", "label"])
    prepare(tmp_path, path)
    before = (tmp_path / "texts.bin").read_bytes()

    def read_and_write(*arguments: Any) -> Any:
        yield from read_samples(*arguments)
        with path.open("a") as file:
            file.write("one more text,a\n")

    monkeypatch.setattr("stages.datasets.texts.preparing.read_samples", read_and_write)
    with pytest.raises(UserError, match=r"texts\.csv changed while it was read; run the same"):
        prepare(tmp_path, path)
    assert (tmp_path / "texts.bin").read_bytes() == before


def test_all_small_classes_are_named_at_once(tmp_path: Path) -> None:
    rows = rows_of(["a", "b", "c", "d"])
    rows = [row for row in rows if row[1] in "ab"] + rows[2:8:4] + rows[3:20:4]
    write_table(tmp_path / "texts.csv", rows, ["text", "label"])
    with pytest.raises(
        UserError, match=r"class 'c' has 2 usable texts, and 1 more have too few \('d' 5\);"
    ):
        prepare(tmp_path, tmp_path / "texts.csv")
