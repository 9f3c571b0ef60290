"""Preparing texts: what is packed and left out, which split a text is in, what is refused."""

import re
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from support.texts import COLUMNS, text_task, to_csv_text

from stages.core.errors import UserError
from stages.core.files import write_all
from stages.datasets.dataset import read_prepared
from stages.datasets.texts.packed import PackedTexts
from stages.datasets.texts.preparing import prepare_texts

Rows = list[list[str]]
HEADER = ["text", "label"]


def sound_rows(count: int = 40) -> Rows:
    """Return rows of text and label, the classes in turn, no two texts alike."""
    random = np.random.default_rng(0)
    texts = [" ".join(f"w{n}" for n in random.integers(0, 1000, 12)) for _ in range(count)]
    return [[text, ("negative", "positive")[n % 2]] for n, text in enumerate(texts)]


def prepare(folder: Path, rows: Rows, **changes: Any) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Prepare a file of `rows`; return samples and note as the next stage reads them.

    The samples get one more column, "text".
    """
    path = folder / "texts.csv"
    path.write_text(to_csv_text(rows), newline="")
    write_all(folder, prepare_texts(text_task(path, {"prepare": changes}), folder).files())
    dataset = read_prepared(folder)
    texts = PackedTexts(folder / "texts.bin").at(dataset.samples["row"])
    return dataset.samples.assign(text=texts), dataset.note


def test_a_sound_file_is_packed_row_by_row(tmp_path: Path) -> None:
    rows = sound_rows()
    samples, note = prepare(tmp_path, [HEADER, *rows])
    classes = ["negative", "positive"]
    assert note["classes"] == classes
    for sample in samples.to_dict("records"):
        number = int(sample["id"].removeprefix("row-"))
        assert [sample["text"], classes[sample["label"]]] == rows[number - 1]
    assert len(samples) == 40
    assert note["counts"] == {"train": 28, "validation": 4, "test": 8}
    for key, name in (("raw_sha256", "texts.csv"), ("texts_sha256", "texts.bin")):
        assert note[key] == sha256((tmp_path / name).read_bytes()).hexdigest()
    assert "tasks.sentiment.train.max_tokens" in note["size_rule"]


def test_exact_duplicates_are_left_out_and_named(tmp_path: Path) -> None:
    rows = sound_rows()
    repeated = [
        [rows[2][0].upper(), "negative"],
        [rows[5][0].replace(" ", "\n "), "negative"],  # the first one is positive
    ]
    samples, note = prepare(tmp_path, [HEADER, *rows, *repeated])
    assert len(samples) == 40
    assert note["exact_duplicates"] == 2
    assert note["exact_duplicates_with_another_label"] == 1
    excluded = pd.read_csv(tmp_path / "excluded_samples.csv")
    assert excluded.to_numpy().tolist() == [
        ["row-41", "exact duplicate", "same as row-3"],
        ["row-42", "exact duplicate", "same as row-6"],
    ]


def test_near_duplicates_stay_in_one_split(tmp_path: Path) -> None:
    rows = sound_rows(60)
    near = [[f"{text} again", label] for text, label in rows[:20]]
    samples, note = prepare(tmp_path, [HEADER, *rows, *near])
    assert (len(samples), note["grouped"]) == (80, False)
    assert note["near_duplicates"]["pairs"] == 20
    split = samples.set_index("id")["split"].astype(str)
    assert all(split[f"row-{n}"] == split[f"row-{60 + n}"] for n in range(1, 21))


def test_texts_of_a_group_stay_in_one_split(tmp_path: Path) -> None:
    rows = [[f"group-{n // 4}", *row] for n, row in enumerate(sound_rows(60))]
    columns = {**COLUMNS, "group": "who"}
    samples, note = prepare(tmp_path, [["who", *HEADER], *rows], columns=columns)
    assert note["grouped"]
    assert samples[["group", "split"]].drop_duplicates()["group"].is_unique
    assert set(samples["split"]) == {"train", "validation", "test"}


def _header_only(rows: Rows) -> Rows:
    return []


def _one_class_only(rows: Rows) -> Rows:
    return [[text, "positive"] for text, _ in rows]


def _nine_negative(rows: Rows) -> Rows:
    negative = [row for row in rows if row[1] == "negative"]
    return [row for row in rows if row not in negative[9:]]


def _one_text_repeated(rows: Rows) -> Rows:
    return [[text if label == "positive" else "Bad film", label] for text, label in rows]


@pytest.mark.parametrize(
    ("reduce", "problem"),
    [
        (_header_only, r"class '(negative|positive)' has 0 usable texts"),
        (_one_class_only, "class 'negative' has 0 usable texts"),
        (_nine_negative, "class 'negative' has 9 usable texts"),
        (_one_text_repeated, "class 'negative' has 1 usable texts"),
    ],
)
def test_too_few_texts_of_a_class_are_refused_and_earlier_data_stay(
    tmp_path: Path, reduce: Callable[[Rows], Rows], problem: str
) -> None:
    prepare(tmp_path, [HEADER, *sound_rows()])
    before = (tmp_path / "texts.bin").read_bytes()
    with pytest.raises(UserError) as error:
        prepare(tmp_path, [HEADER, *reduce(sound_rows())])
    line = str(error.value)
    assert re.match(problem, line)
    assert "tasks.sentiment.prepare.min_per_class" in line
    assert "\n" not in line
    assert (tmp_path / "texts.bin").read_bytes() == before
    assert not list(tmp_path.glob(".*"))


def test_listed_classes_that_look_alike_are_said(tmp_path: Path) -> None:
    names = ["Cat", "cat", "caf\u00e9", "cafe\u0301"]
    rows = [[text, names[n % 4]] for n, (text, _) in enumerate(sound_rows(count=80))]
    path = tmp_path / "texts.csv"
    path.write_text(to_csv_text([HEADER, *rows]), newline="")
    changes: dict[str, dict[str, Any]] = {
        "prepare": {"classes": names},
        "baseline": {"keywords": None},
    }
    note = prepare_texts(text_task(path, changes), tmp_path).note
    assert note["classes"] == names
    assert [remark for remark in note["remarks"] if "differ only" in remark] == [
        "the classes 'cafe\u0301' and 'caf\u00e9' differ only in Unicode form",
        "the classes 'Cat' and 'cat' differ only in case",
    ]
