"""Texts come in as they are found: a row is used as it is written, or refused by file and row."""

import csv
import io
import re
from collections.abc import Callable
from fractions import Fraction
from hashlib import sha256
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from conftest import ROOT
from hypothesis import example, given, settings
from hypothesis import strategies as st

from stages.params import load
from stages.shared.dataset import read_dataset
from stages.shared.files import write_all
from stages.shared.packing import Packed
from stages.shared.refusal import Refusal
from stages.shared.schema import PrepareTexts
from stages.shared.task import Task
from stages.shared.texts import duplicates
from stages.shared.texts.duplicates import near_pairs
from stages.shared.texts.packed import Texts, pack, words
from stages.shared.texts.source import LONGEST, Passage, origin, passages
from stages.tasks.sentiment.prepare import prepare

PARAMS = load(ROOT / "params.yaml")
HEADER = "text,label\n"
PLAIN: dict[str, Any] = {"text": "text", "label": "label", "id": None, "group": None, "slices": []}
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


def asked(path: Path, columns: dict[str, Any] = PLAIN, **changes: object) -> PrepareTexts:
    """Return the params that prepare the file `path`."""
    known = PARAMS.sentiment.prepare.model_dump()
    given_ = {"source": "csv", "path": str(path), "columns": columns}
    return PrepareTexts.model_validate(known | given_ | changes)


def file(folder: Path, data: str | bytes) -> Path:
    path = folder / "given.csv"
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return path


def read(folder: Path, data: str | bytes, columns: dict[str, Any] = PLAIN) -> list[Passage]:
    return list(passages(asked(file(folder, data), columns)))


def refusal(folder: Path, data: str | bytes, columns: dict[str, Any] = PLAIN) -> str:
    """Return the one line with which the file is refused, after the file's name."""
    with pytest.raises(Refusal) as refused:
        read(folder, data, columns)
    line = str(refused.value)
    assert "\n" not in line
    assert line.startswith(f"{folder / 'given.csv'}: ")
    return line.removeprefix(f"{folder / 'given.csv'}: ")


def as_csv(rows: list[list[str]], **style: Any) -> str:
    text = io.StringIO(newline="")
    csv.writer(text, **style).writerows(rows)
    return text.getvalue()


# The source


@pytest.mark.parametrize("style", [{}, {"lineterminator": "\n"}, {"quoting": csv.QUOTE_ALL}])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_every_text_comes_as_it_is_written(
    tmp_path: Path, encoding: str, style: dict[str, Any]
) -> None:
    labels = ["positive", "negative"] * len(AWKWARD)
    rows = [list(pair) for pair in zip(AWKWARD, labels, strict=False)]
    found = read(tmp_path, as_csv([["text", "label"], *rows], **style).encode(encoding))
    assert [[one.text, one.label] for one in found] == rows
    assert [one.name for one in found] == [f"row-{n}" for n in range(1, len(rows) + 1)]
    assert {(one.group, one.slices) for one in found} == {("", ())}


def test_columns_are_found_by_name_in_whatever_order_and_others_are_left_alone(
    tmp_path: Path,
) -> None:
    data = (
        "year,junk,who,label,id,text,shop\n"
        "2024,x,ann,positive,r1,Lovely.,north\n"
        "2025,, bob , negative , r2 ,  Awful.  ,\n"
    )
    assert read(tmp_path, data, FULL) == [
        Passage("r1", "Lovely.", "positive", "ann", ("north", "2024")),
        Passage("r2", "Awful.", "negative", "bob", ("", "2025")),
    ]


def test_empty_lines_are_no_rows_and_the_last_line_needs_no_end(tmp_path: Path) -> None:
    found = read(tmp_path, HEADER + "\none,positive\n\n\r\ntwo,negative")
    assert [(one.text, one.label) for one in found] == [("one", "positive"), ("two", "negative")]


def test_the_rows_before_a_wrong_one_come_first(tmp_path: Path) -> None:
    rows = passages(asked(file(tmp_path, HEADER + "one,positive\ntwo,neutral\n")))
    assert next(rows).text == "one"
    with pytest.raises(Refusal, match=r"row 2 \(line 3\)"):
        next(rows)


@pytest.mark.parametrize("character", ["x", "\u00e9", "\U0001f600"])
def test_the_longest_text_is_taken_and_one_character_more_is_refused(
    tmp_path: Path, character: str
) -> None:
    longest = character * LONGEST
    assert [one.text for one in read(tmp_path, f"{HEADER}{longest},positive\n")] == [longest]
    line = refusal(tmp_path, f"{HEADER}one,positive\n{longest}{character},positive\n")
    assert line.startswith("row 2 ")
    assert "no text longer than 1,000,000 characters" in line


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
    "NUL": (HEADER.encode() + b"a\0b,positive\n", "line 2: holds a NUL", "must be plain text"),
    "quoted NUL": (HEADER.encode() + b'"a\n\0b",positive\n', "line 3: holds a NUL", "plain text"),
}


@pytest.mark.parametrize("name", BYTES)
def test_a_file_that_is_no_utf_8_text_is_refused_with_the_line(tmp_path: Path, name: str) -> None:
    data, start, allowed = BYTES[name]
    line = refusal(tmp_path, data)
    assert line.startswith(start)
    assert allowed in line
    assert ("looks like" in line) == ("looks like" in allowed)


HEADERS: dict[str, tuple[str | bytes, dict[str, Any], str, str]] = {
    "missing": ("words,label\n", PLAIN, "'text' is missing", "'words', 'label'"),
    "other case": ("Text,label\n", PLAIN, "'text' is missing", "'Text', 'label'"),
    "blank": ("text, label\n", PLAIN, "'label' is missing", "'text', ' label'"),
    "no header": ("A fine film.,positive\n", PLAIN, "'text' is missing", "'A fine film.'"),
    "semicolons": ("text;label\nx;positive\n", PLAIN, "'text' is missing", "'text;label'"),
    "doubled": ("text,label,text\n", PLAIN, "'text' stands there more than once", "'label'"),
    "only a mark": (b"\xef\xbb\xbf", PLAIN, "'text' is missing", "header has"),
    "an empty line": ("\n", PLAIN, "'text' is missing", "header has"),
    "id": ("text,label,who,shop,year\n", FULL, "'id' is missing", "'who', 'shop'"),
    "group": ("text,label,id,shop,year\n", FULL, "'who' is missing", "'id', 'shop'"),
    "slice": ("text,label,id,who,shop\n", FULL, "'year' is missing", "'who', 'shop'"),
    "doubled slice": (
        "text,label,id,who,shop,year,shop\n",
        FULL,
        "'shop' stands there more than once",
        "'year', 'shop'",
    ),
}


@pytest.mark.parametrize("name", HEADERS)
def test_a_missing_or_doubled_column_is_refused_with_the_columns_there_are(
    tmp_path: Path, name: str
) -> None:
    data, columns, problem, there = HEADERS[name]
    line = refusal(tmp_path, data, columns)
    assert line.startswith(f"column {problem}; the header has ")
    assert there in line
    assert "sentiment.prepare.columns" in line


def test_a_header_with_endless_names_still_gets_one_readable_line(tmp_path: Path) -> None:
    assert len(refusal(tmp_path, ",".join(["wide"] * 5000) + "\n")) < 800


ROWS = {
    "empty text": (",positive", "the text is empty; give it one, or take the row out"),
    "blank text": ('" \t\u00a0",positive', "the text is empty"),
    "unknown label": ("x,neutral", "given label 'neutral'; must be one of negative, positive"),
    "other case": ("x,Positive", "given label 'Positive'; must be one of negative, positive"),
    "empty label": ("x,", "given label ''; must be one of negative, positive"),
    "label of two lines": ('x,"posi\ntive"', r"given label 'posi\ntive'; must be one of"),
    "too few cells": ("x", "given 1 cells, the header has 2; put a text that holds a comma"),
    "too many cells": ("so, so,positive", "given 3 cells, the header has 2; put a text"),
    "unclosed quote": ('"x,positive', "unexpected end of data; it must be CSV with double quotes"),
    "quote too early": ('"x" y,positive', "',' expected after '\"'; it must be CSV"),
    "carriage return": ("x\ry,positive", "it must be CSV with double quotes closed"),
}


@pytest.mark.parametrize("name", ROWS)
def test_a_wrong_row_is_refused_with_its_number_and_what_is_allowed(
    tmp_path: Path, name: str
) -> None:
    row, problem = ROWS[name]
    line = refusal(tmp_path, f'{HEADER}"one\ntwo",positive\n{row}\n')
    assert re.match(r"row 2 \((from )?line \d+\): ", line)
    assert problem in line


def test_the_line_of_a_wrong_row_is_where_it_ends_however_many_lines_stand_before(
    tmp_path: Path,
) -> None:
    line = refusal(tmp_path, HEADER + '"a\nb\nc",positive\n\nx,neutral\n')
    assert line.startswith("row 3 (line 6): given label 'neutral'")


def test_an_unclosed_quote_is_told_by_the_line_on_which_its_row_begins(tmp_path: Path) -> None:
    rows = "one,positive\n" + '"two,positive\n' + "three,negative\n" * 50
    assert refusal(tmp_path, HEADER + rows).startswith("row 2 (from line 3): unexpected end")


@pytest.mark.parametrize("row", ['"x,positive', '"x" y,positive', "x" * (LONGEST + 1)])
def test_a_first_row_that_is_no_csv_is_called_row_1(tmp_path: Path, row: str) -> None:
    assert refusal(tmp_path, f"{HEADER}{row}\n").startswith("row 1 ")


def test_a_header_that_is_no_csv_is_called_the_header(tmp_path: Path) -> None:
    assert refusal(tmp_path, 'text,"label\nx,positive\n').startswith("the header: unexpected end")


def test_a_long_label_is_shown_in_part(tmp_path: Path) -> None:
    line = refusal(tmp_path, HEADER + f"x,{'y' * 5000}\n")
    assert len(line) < 300
    assert f"given label '{'y' * 60}...'" in line


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ("r1, ,positive,x,north,2024", "the group is empty; every row needs one, or set "),
        (" ,ann,positive,x,north,2024", "the id is empty; give it one, or set columns.id: null"),
    ],
)
def test_a_row_without_group_or_id_is_refused_where_the_params_name_one(
    tmp_path: Path, row: str, problem: str
) -> None:
    data = f"id,who,label,text,shop,year\nr0,ann,positive,fine,north,2024\n{row}\n"
    line = refusal(tmp_path, data, FULL)
    assert line.startswith(f"row 2 (line 3): {problem}")


def test_an_id_that_stands_twice_is_refused(tmp_path: Path) -> None:
    columns = {**PLAIN, "id": "id"}
    rows = [[f"r{n % 39}", *row] for n, row in enumerate(sound())]
    with pytest.raises(Refusal, match="r0"):
        prepared(tmp_path, as_csv([["id", "text", "label"], *rows]), columns=columns)


def test_an_empty_file_is_refused(tmp_path: Path) -> None:
    assert refusal(tmp_path, "") == "the file is empty; it must have a header and rows"


def test_the_note_names_the_files_bytes_and_its_columns(tmp_path: Path) -> None:
    path = file(tmp_path, HEADER + "x,positive\n")
    note = origin(asked(path))
    assert note.raw_sha256 == sha256(path.read_bytes()).hexdigest()
    assert note.origin == "the file given.csv, column 'text'"
    assert "column 'label'" in note.label_rules


@pytest.mark.parametrize("name", ["reviews.csv", "hard.csv"])
def test_the_embedded_note_is_for_the_embedded_bytes_only(tmp_path: Path, name: str) -> None:
    path = ROOT / "data/raw/sentiment" / name
    ours = origin(asked(path, source="reviews"))
    assert "written for this repository by a large language model" in ours.origin
    assert ours.licence == "CC0 1.0 (public domain)"
    assert ours.raw_sha256 == sha256(path.read_bytes()).hexdigest()
    other = tmp_path / name
    other.write_bytes(path.read_bytes() + b"one-more,good,positive,films,plain,alone\n")
    with pytest.raises(Refusal, match=r"none of the embedded files.*set source: csv"):
        origin(asked(other, source="reviews"))


@pytest.mark.parametrize("name", ["nowhere.csv", "."])
def test_a_file_that_cannot_be_read_is_refused_by_its_param(tmp_path: Path, name: str) -> None:
    with pytest.raises(Refusal) as refused:
        origin(asked(tmp_path / name))
    assert str(refused.value).startswith(f"sentiment.prepare.path: {tmp_path / name}: ")


# Prepared


def sound(count: int = 40) -> list[list[str]]:
    """Return rows of text and label, half and half, no two of them alike."""
    random = np.random.default_rng(0)
    texts = [" ".join(f"w{n}" for n in random.integers(0, 1000, 12)) for _ in range(count)]
    return [[text, ("negative", "positive")[n % 2]] for n, text in enumerate(texts)]


def prepared(folder: Path, data: str, **changes: Any) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Prepare the file as the stage does; return samples and note as the next stage reads them.

    The samples get one more column: the text in the packed array.
    """
    asked_for = asked(file(folder, data), **changes)
    sentiment = PARAMS.sentiment.model_copy(update={"prepare": asked_for})
    task, out = Task("sentiment", sentiment, PARAMS.runtime), folder / "out"
    write_all(out, prepare(task, out).files())
    dataset = read_dataset(out)
    texts = Texts(out / "texts.bin").at(dataset.samples["row"])
    return dataset.samples.assign(text=texts), dataset.note


def test_a_sound_file_is_packed_row_by_row(tmp_path: Path) -> None:
    rows = sound()
    samples, note = prepared(tmp_path, as_csv([["text", "label"], *rows]))
    classes = ["negative", "positive"]
    assert note["classes"] == classes
    for sample in samples.to_dict("records"):
        number = int(sample["id"].removeprefix("row-"))
        assert [sample["text"], classes[sample["label"]]] == rows[number - 1]
    assert len(samples) == 40
    assert note["counts"] == {"train": 28, "validation": 4, "test": 8}
    assert note["raw_sha256"] == sha256((tmp_path / "given.csv").read_bytes()).hexdigest()
    packed = sha256((tmp_path / "out/texts.bin").read_bytes()).hexdigest()
    assert note["texts_sha256"] == packed


def test_exact_duplicates_are_left_out_and_named(tmp_path: Path) -> None:
    rows = sound()
    more = [[rows[2][0].upper(), "negative"], [rows[5][0].replace(" ", "\n "), "negative"]]
    samples, note = prepared(tmp_path, as_csv([["text", "label"], *rows, *more]))
    assert len(samples) == 40
    assert note["exact_duplicates"] == 2
    assert note["exact_duplicates_with_another_label"] == 1  # row 6 is positive
    gone = pd.read_csv(tmp_path / "out/left_out.csv")
    assert gone.to_numpy().tolist() == [
        ["row-41", "exact duplicate", "same as row-3"],
        ["row-42", "exact duplicate", "same as row-6"],
    ]


def test_texts_of_a_group_and_texts_that_nearly_repeat_stay_in_one_split(tmp_path: Path) -> None:
    rows = sound(60)
    near = [[f"{text} again", label] for text, label in rows[:20]]
    samples, note = prepared(tmp_path, as_csv([["text", "label"], *rows, *near]))
    assert (len(samples), note["grouped"]) == (80, False)
    assert note["near_duplicates"]["pairs"] == 20
    split = samples.set_index("id")["split"].astype(str)
    assert all(split[f"row-{n}"] == split[f"row-{60 + n}"] for n in range(1, 21))

    members = [[f"group-{n // 4}", *row] for n, row in enumerate(rows)]
    columns = {**PLAIN, "group": "who"}
    samples, note = prepared(
        tmp_path, as_csv([["who", "text", "label"], *members]), columns=columns
    )
    assert note["grouped"]
    assert samples[["group", "split"]].drop_duplicates()["group"].is_unique
    assert set(samples["split"]) == {"train", "validation", "test"}


def _header_only(rows: list[list[str]]) -> list[list[str]]:
    return []


def _one_class_only(rows: list[list[str]]) -> list[list[str]]:
    return [[text, "positive"] for text, _ in rows]


def _nine_negative(rows: list[list[str]]) -> list[list[str]]:
    negative = [row for row in rows if row[1] == "negative"]
    return [row for row in rows if row not in negative[9:]]


def _one_text_over_and_over(rows: list[list[str]]) -> list[list[str]]:
    return [[text if label == "positive" else "Bad film", label] for text, label in rows]


@pytest.mark.parametrize(
    ("make", "problem"),
    [
        (_header_only, r"class '(negative|positive)' has 0 usable texts"),
        (_one_class_only, "class 'negative' has 0 usable texts"),
        (_nine_negative, "class 'negative' has 9 usable texts"),
        (_one_text_over_and_over, "class 'negative' has 1 usable texts"),
    ],
)
def test_too_few_texts_of_a_class_are_refused_and_what_was_there_stays(
    tmp_path: Path, make: Callable[[list[list[str]]], list[list[str]]], problem: str
) -> None:
    prepared(tmp_path, as_csv([["text", "label"], *sound()]))
    before = (tmp_path / "out/texts.bin").read_bytes()
    with pytest.raises(Refusal) as refused:
        prepared(tmp_path, as_csv([["text", "label"], *make(sound())]))
    line = str(refused.value)
    assert re.match(f"{problem}; sentiment.prepare.min_per_class asks for 10: add texts", line)
    assert "\n" not in line
    assert (tmp_path / "out/texts.bin").read_bytes() == before
    assert not list((tmp_path / "out").glob(".*"))


# The packed array


def packed(path: Path, texts: list[str]) -> Packed:
    """Pack the texts; every third is negative, and each has a group and two slices."""
    return pack(
        (
            Passage(f"t{n}", text, "negative" if n % 3 else "positive", f"g{n // 2}", (str(n), "x"))
            for n, text in enumerate(texts)
        ),
        ("number", "same"),
        path,
    )


@settings(max_examples=60, deadline=None)
@given(st.lists(st.text(max_size=20), max_size=15), st.randoms(use_true_random=False))
@example(["\U0001f600", "\U0001d518\U00020000\u0301", "", "e\u0301", "\u00e9"], None)
@example(AWKWARD, None)
def test_texts_come_back_as_they_went_in_each_once(
    tmp_path_factory: pytest.TempPathFactory, texts: list[str], random: Any
) -> None:
    first: dict[str, int] = {}
    for place, text in enumerate(texts):
        first.setdefault(" ".join(text.casefold().split()), place)
    kept = sorted(first.values())

    path = tmp_path_factory.getbasetemp() / "texts.bin"
    account = packed(path, texts)
    found = Texts(path)
    assert list(found) == [texts[place] for place in kept]
    assert len(found) == len(account.samples) == len(kept)
    rows = list(range(len(kept))) * 2
    if random is not None:
        random.shuffle(rows)
    assert found.at(rows) == [texts[kept[row]] for row in rows]
    assert account.sha256 == sha256(path.read_bytes()).hexdigest()

    assert account.samples["row"].tolist() == list(range(len(kept)))
    assert account.samples["id"].tolist() == [f"t{place}" for place in kept]
    assert account.samples["group"].tolist() == [f"g{place // 2}" for place in kept]
    assert account.samples["number"].tolist() == [str(place) for place in kept]
    assert not account.samples["official_test"].any()
    same = [first[" ".join(text.casefold().split())] for text in texts]
    expected = [
        [f"t{place}", f"t{of}", bool(place % 3) == bool(of % 3)]
        for place, of in enumerate(same)
        if of != place
    ]
    assert account.repeated[["id", "same_as", "same_label"]].to_numpy().tolist() == expected


@pytest.mark.parametrize(
    ("other", "same"),
    [
        ("A good FILM.", True),
        ("  a  good\n\tfilm. ", True),
        ("a\u00a0good\u2003film.", True),
        ("a good film", False),
        ("agood film.", False),
        ("a good film. .", False),
        ("a g\u00f6\u00f6d film.", False),
    ],
)
def test_texts_that_differ_in_case_and_blanks_only_are_the_same(
    tmp_path: Path, other: str, same: bool
) -> None:
    account = packed(tmp_path / "texts.bin", ["a good film.", "between", other])
    assert list(Texts(tmp_path / "texts.bin")) == ["a good film.", "between"] + [other] * (not same)
    assert account.repeated["same_as"].tolist() == ["t0"] * same


def test_case_is_folded_as_unicode_does_it(tmp_path: Path) -> None:
    packed(
        tmp_path / "texts.bin",
        ["Stra\u00dfe", "STRASSE", "\u03a3\u03af\u03c3\u03c5\u03c6\u03bf\u03c2"],
    )
    assert len(Texts(tmp_path / "texts.bin")) == 2


def test_an_empty_array_holds_no_text(tmp_path: Path) -> None:
    account = packed(tmp_path / "texts.bin", [])
    found = Texts(tmp_path / "texts.bin")
    assert (len(found), list(found), found.at([])) == (0, [], [])
    assert list(account.samples.columns) == [
        "row", "id", "label", "group", "official_test", "number", "same",
    ]  # fmt: skip


def test_an_array_that_is_missing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Refusal, match=r"texts\.bin is missing; make it with `dvc repro`"):
        Texts(tmp_path / "texts.bin")


def test_an_array_cut_anywhere_or_with_more_at_its_end_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "texts.bin"
    packed(path, ["a fine film", "no", "\U0001f600 \u00e9"])
    whole = path.read_bytes()
    for data in (
        *(whole[:size] for size in range(len(whole))),
        *(whole + bytes(size) for size in range(1, 20)),
        b"\xff" * 8 + whole[8:],
    ):
        path.write_bytes(data)
        with pytest.raises(Refusal, match=r"texts.bin is damaged \(cut short\); make it again"):
            Texts(path)
    path.write_bytes(whole)
    assert len(Texts(path)) == 3


@pytest.mark.parametrize("kind", ["cut by as much as its last text holds", "filled with zeros"])
def test_an_array_whose_last_number_happens_to_fit_is_refused_too(
    tmp_path: Path, kind: str
) -> None:
    path = tmp_path / "texts.bin"
    packed(path, ["a fine film", "8 bytes."])
    whole = path.read_bytes()
    path.write_bytes(whole[:-8] if kind.startswith("cut") else bytes(len(whole)))
    with pytest.raises(Refusal, match="damaged"):
        Texts(path)


# Words and near duplicates


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Don't!", ["don't"]),
        ("DON\u2019T stop", ["don't", "stop"]),
        ("'quoted' words'", ["quoted", "words"]),
        ("rock'n'roll", ["rock'n'roll"]),
        ("well-made, isn't it?", ["well", "made", "isn't", "it"]),
        ("3.5 stars", ["3", "5", "stars"]),
        ("Stra\u00dfe \u00c9T\u00c9", ["strasse", "\u00e9t\u00e9"]),
        ("\U0001f600 :) ...", []),
        ("", []),
    ],
)
def test_words_are_in_small_letters_and_keep_their_apostrophes(
    text: str, expected: list[str]
) -> None:
    assert words(text) == expected


def brute_force(texts: list[str], threshold: Fraction) -> list[list[int]]:
    """Return the pairs whose sets of three words in a row overlap by at least `threshold`."""
    runs = [set(zip(t.split(), t.split()[1:], t.split()[2:], strict=False)) for t in texts]
    return [
        [left, right]
        for left, right in combinations(range(len(texts)), 2)
        if len(runs[left] & runs[right]) >= threshold * len(runs[left] | runs[right])
    ]


@st.composite
def passages_of_few_words(draw: st.DrawFn) -> list[str]:
    """Return texts that share many runs: of few different words, or made from one by small edits."""
    some = st.lists(st.sampled_from("abcd"), min_size=3, max_size=12)
    base = draw(st.lists(st.sampled_from("abcdefgh"), min_size=6, max_size=20))
    edits = st.tuples(st.integers(0, len(base) - 1), st.sampled_from("abcdefghxyz"))
    edited = edits.map(lambda edit: [*base[: edit[0]], edit[1], *base[edit[0] + 1 :]])
    cuts = st.integers(3, len(base)).map(lambda size: base[:size])
    texts = draw(st.lists(st.one_of(some, edited, cuts), min_size=2, max_size=12))
    return [" ".join(text) for text in texts]


THRESHOLDS = [Fraction(t) for t in ("1/50", "1/4", "1/3", "1/2", "3/5", "2/3", "9/10", "1")]


@settings(max_examples=150, deadline=None)
@given(passages_of_few_words(), st.sampled_from(THRESHOLDS), st.sampled_from([1, 3, 20_000]))
def test_the_pairs_are_those_of_comparing_each_text_with_each(
    texts: list[str], threshold: Fraction, at_once: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(duplicates, "_AT_ONCE", at_once)
        pairs = near_pairs(iter(texts), float(threshold))
    assert pairs.shape[1:] == (2,)
    assert pairs.tolist() == brute_force(texts, threshold)


ABOUT = "one two three four five six seven eight nine ten eleven twelve"  # 10 runs of three


@pytest.mark.parametrize(
    ("other", "shared", "union"),
    [
        (ABOUT.upper().replace(" ", " - "), 10, 10),  # case and marks are no words
        (ABOUT + " thirteen", 10, 11),
        (ABOUT.removesuffix(" twelve"), 9, 10),
        (ABOUT.replace("six", "6"), 7, 13),  # a word in the middle is in three runs
        (ABOUT.replace("twelve", "12"), 9, 11),
        (ABOUT + " one two three four five six seven eight nine ten eleven twelve", 10, 12),
        ("one two three", 1, 10),
        (" ".join(reversed(ABOUT.split())), 0, 20),
    ],
)
def test_two_texts_overlap_by_shared_runs_over_all_runs(
    other: str, shared: int, union: int
) -> None:
    overlap = shared / union
    if shared:
        assert near_pairs([ABOUT, "quite another thing", other], overlap).tolist() == [[0, 2]]
    if overlap < 1:
        assert near_pairs([ABOUT, other], min(1.0, overlap + 1e-6)).shape == (0, 2)


def test_short_texts_are_near_only_what_says_the_same() -> None:
    texts = ["Good film", "good", "Good film!", "bad film", "film good", "GOOD.", "a good film"]
    for threshold in (0.01, 1.0):
        assert near_pairs(texts, threshold).tolist() == [[0, 2], [1, 5]]


@pytest.mark.parametrize("texts", [(":)", ":("), ("good", "good good"), ("so it", "so it so")])
def test_short_texts_that_say_another_thing_are_not_near(texts: tuple[str, str]) -> None:
    assert near_pairs(texts, 1.0).shape == (0, 2)


def test_planted_near_duplicates_are_found_among_many() -> None:
    random = np.random.default_rng(0)
    drawn = random.zipf(1.3, (4000, 15)) % 3000  # as in a language, some words are everywhere
    texts = [" ".join(f"w{n}" for n in row) for row in drawn]
    expected = []
    for left, right in ((17, 3999), (41, 42), (1000, 2500)):
        kept = texts[left].split()
        texts[right] = " ".join([*kept[:7], "another", *kept[8:]])  # 10 of 16 runs
        expected.append([left, right])
    assert near_pairs(texts, 0.6).tolist() == expected


def test_more_near_pairs_than_can_be_kept_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [f"{ABOUT} {n}" for n in range(5)]  # 10 pairs
    monkeypatch.setattr(duplicates, "_MOST", 10)
    assert len(near_pairs(texts, 0.5)) == 10
    monkeypatch.setattr(duplicates, "_MOST", 9)
    with pytest.raises(Refusal, match=r"more than 9 pairs of texts overlap by 0\.5: .* raise prep"):
        near_pairs(texts, 0.5)
