"""The packed file gives each distinct text back as it was; words are split as they should be."""

from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from stages.core.errors import UserError
from stages.datasets.ledger import PackedSamples
from stages.datasets.texts.packed import PackedTexts, pack_texts, split_words
from stages.datasets.texts.sources import TextSample


def pack(path: Path, texts: list[str]) -> PackedSamples:
    """Pack texts; every third is positive, and each has a group and two slices."""
    samples = (
        TextSample(f"t{n}", text, "negative" if n % 3 else "positive", f"g{n // 2}", (str(n), "x"))
        for n, text in enumerate(texts)
    )
    return pack_texts(samples, ("number", "same"), path)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.text(max_size=20), max_size=15), st.randoms(use_true_random=False))
@example(["\U0001f600", "\U0001d518\U00020000\u0301", "", "e\u0301", "\u00e9"], None)
@example(
    ["a, b", "two\r\nlines", "NA", "inside \u2028 \u0085 \x0b \x0c it", "zero\u200bwidth"], None
)
def test_each_distinct_text_is_packed_once_and_read_as_it_was(
    tmp_path_factory: pytest.TempPathFactory, texts: list[str], random: Any
) -> None:
    first: dict[str, int] = {}
    for index, text in enumerate(texts):
        first.setdefault(" ".join(text.casefold().split()), index)
    distinct = sorted(first.values())

    path = tmp_path_factory.getbasetemp() / "texts.bin"
    account = pack(path, texts)
    packed = PackedTexts(path)
    assert list(packed) == [texts[index] for index in distinct]
    assert len(packed) == len(account.samples) == len(distinct)
    rows = list(range(len(distinct))) * 2
    if random is not None:
        random.shuffle(rows)
    assert packed.at(rows) == [texts[distinct[row]] for row in rows]
    assert account.sha256 == sha256(path.read_bytes()).hexdigest()

    assert account.samples["row"].tolist() == list(range(len(distinct)))
    assert account.samples["id"].tolist() == [f"t{index}" for index in distinct]
    assert account.samples["group"].tolist() == [f"g{index // 2}" for index in distinct]
    assert account.samples["number"].tolist() == [str(index) for index in distinct]
    assert (account.samples["official_split"] == "").all()
    originals = [first[" ".join(text.casefold().split())] for text in texts]
    expected = [
        [f"t{index}", f"t{original}", bool(index % 3) == bool(original % 3)]
        for index, original in enumerate(originals)
        if original != index
    ]
    same_label = account.duplicates["label"] == account.duplicates["same_as_label"]
    duplicates = account.duplicates[["id", "same_as"]].assign(same_label=same_label)
    assert duplicates.to_numpy().tolist() == expected


@pytest.mark.parametrize(
    ("text", "same"),
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
def test_texts_that_differ_only_in_case_and_white_space_are_equal(
    tmp_path: Path, text: str, same: bool
) -> None:
    account = pack(tmp_path / "texts.bin", ["a good film.", "between", text])
    packed = list(PackedTexts(tmp_path / "texts.bin"))
    assert packed == ["a good film.", "between"] + [text] * (not same)
    assert account.duplicates["same_as"].tolist() == ["t0"] * same


def test_case_is_folded_as_unicode_does_it(tmp_path: Path) -> None:
    path = tmp_path / "texts.bin"
    pack(path, ["Stra\u00dfe", "STRASSE", "\u03a3\u03af\u03c3\u03c5\u03c6\u03bf\u03c2"])
    assert len(PackedTexts(path)) == 2


def test_a_packed_file_of_no_texts_is_empty(tmp_path: Path) -> None:
    account = pack(tmp_path / "texts.bin", [])
    packed = PackedTexts(tmp_path / "texts.bin")
    assert (len(packed), list(packed), packed.at([])) == (0, [], [])
    assert list(account.samples.columns) == [
        "row", "id", "label", "group", "official_split", "number", "same",
    ]  # fmt: skip


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"texts\.bin is missing; make it with `dvc repro`"):
        PackedTexts(tmp_path / "texts.bin")


def test_a_file_cut_anywhere_or_with_bytes_added_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "texts.bin"
    pack(path, ["a fine film", "no", "\U0001f600 \u00e9"])
    intact = path.read_bytes()
    for data in (
        *(intact[:size] for size in range(len(intact))),
        *(intact + bytes(size) for size in range(1, 20)),
        b"\xff" * 8 + intact[8:],
    ):
        path.write_bytes(data)
        with pytest.raises(UserError, match=r"texts.bin is damaged \(cut short\); make it again"):
            PackedTexts(path)
    path.write_bytes(intact)
    assert len(PackedTexts(path)) == 3


@pytest.mark.parametrize("damage", ["cut by the length of its last text", "filled with zeros"])
def test_a_file_whose_last_integer_happens_to_fit_is_refused(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "texts.bin"
    pack(path, ["a fine film", "8 bytes."])
    intact = path.read_bytes()
    path.write_bytes(intact[:-8] if damage.startswith("cut") else bytes(len(intact)))
    with pytest.raises(UserError, match="damaged"):
        PackedTexts(path)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Don't!", ["don't"]),
        ("DON\u2019T stop", ["don't", "stop"]),
        ("'quoted' words'", ["quoted", "words"]),
        ("rock'n'roll", ["rock'n'roll"]),
        ("well-made, isn't it?", ["well", "made", "isn't", "it"]),
        ("3.5 stars", ["3", "5", "stars"]),
        ("Stra\u00dfe \u00c9T\u00c9", ["strasse", "\u00e9t\u00e9"]),
        ("\U0001f600 :) ...", ["\U0001f600"]),
        ("ok\U0001f44d\U0001f3fd\u2b50\u2b50", ["ok", "\U0001f44d", "\u2b50", "\u2b50"]),
        (":) ...", []),
        ("", []),
    ],
)
def test_words_are_in_lower_case_and_keep_their_apostrophes(text: str, words: list[str]) -> None:
    assert split_words(text) == words
