"""The embedded reviews are as their note describes them (data/raw/sentiment/README.md)."""

import csv
import re
from collections import Counter, defaultdict
from difflib import SequenceMatcher
from itertools import combinations
from statistics import median

import numpy as np
import pytest
from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS, CountVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold, cross_val_score
from support.project import ROOT

from stages.core.files import sha256
from stages.datasets.texts.duplicates import near_pairs
from stages.datasets.texts.emoji import EMOJI, name_emoji
from stages.datasets.texts.packed import split_words
from stages.kinds.text_classification.tokens import load_tokenizer, tokenize

FOLDER = ROOT / "data/raw/sentiment"
PHENOMENA = {
    "plain", "negation", "double negation", "contrast", "sarcasm", "comparison", "intensity",
    "conditional", "mixed", "idiom",
}  # fmt: skip
# scikit-learn's list of function words, and some that it lacks.
FUNCTION = ENGLISH_STOP_WORDS | {"did", "does", "just", "than"}
Row = dict[str, str]


def read(name: str) -> list[Row]:
    with (FOLDER / name).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, strict=True))


@pytest.fixture(scope="module", params=["reviews.csv", "hard.csv"])
def rows(request: pytest.FixtureRequest) -> list[Row]:
    return read(str(request.param))


@pytest.fixture(scope="module")
def reviews() -> list[Row]:
    return read("reviews.csv")


def by_group(rows: list[Row]) -> dict[str, list[Row]]:
    groups: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        groups[row["group"]].append(row)
    return groups


def edit_size(first: list[str], second: list[str]) -> int:
    """Return how many words the differing parts of two texts have, the longer side counted."""
    steps = SequenceMatcher(None, first, second, autojunk=False).get_opcodes()
    return sum(
        max(end1 - start1, end2 - start2)
        for kind, start1, end1, start2, end2 in steps
        if kind != "equal"
    )


def test_there_are_at_least_1600_reviews_and_half_of_them_are_positive(reviews: list[Row]) -> None:
    assert len(reviews) >= 1600
    labels = Counter(row["label"] for row in reviews)
    assert labels["positive"] == labels["negative"] == len(reviews) / 2


def test_every_domain_and_phenomenon_has_reviews_of_both_labels(reviews: list[Row]) -> None:
    assert len({row["domain"] for row in reviews}) >= 10
    assert {row["phenomenon"] for row in reviews} == PHENOMENA
    for column in ("domain", "phenomenon"):
        labels: dict[str, Counter[str]] = defaultdict(Counter)
        for row in reviews:
            labels[row[column]][row["label"]] += 1
        for value, counts in labels.items():
            assert min(counts["positive"], counts["negative"]) >= 15, (column, value, counts)


def test_there_are_at_least_300_contrast_pairs(reviews: list[Row]) -> None:
    assert sum(len(group) == 2 for group in by_group(reviews).values()) >= 300


def test_columns_ids_and_texts_are_clean(rows: list[Row]) -> None:
    assert list(rows[0]) == ["id", "text", "label", "domain", "phenomenon", "register", "group"]
    assert len({row["id"] for row in rows}) == len({row["text"] for row in rows}) == len(rows)
    for row in rows:
        text = row["text"]
        least = {"literary": 6, "plain": 1}[row["register"]]
        assert least <= len(split_words(text)) <= 45, row["id"]
        assert text == " ".join(text.split()), row["id"]
        assert text.replace("\u200d", "").isprintable(), row["id"]  # which joins the parts of emoji
        assert not re.search("[\u2010-\u201f\u2026]", text), row["id"]  # typographic characters
        assert row["label"] in {"positive", "negative"}
        assert row["phenomenon"] in PHENOMENA
        assert row["id"].startswith(row["domain"]), row["id"]


def test_plain_reviews_are_typed_as_on_a_phone_and_balanced(reviews: list[Row]) -> None:
    plain = [row for row in reviews if row["register"] == "plain"]
    assert len(plain) == len({row["group"] for row in plain}) == 360
    labels = Counter((row["domain"], row["label"]) for row in plain)
    assert len(labels) == 24
    assert set(labels.values()) == {15}
    assert {row["phenomenon"] for row in plain} == PHENOMENA
    texts = [row["text"] for row in plain]
    assert sum(bool(re.search(EMOJI, text)) for text in texts) == 109
    assert sum(bool(re.search(r"\d/\d|\bstars?\b", text)) for text in texts) >= 25  # ratings
    assert sum(text == text.lower() for text in texts) > len(texts) / 2
    assert median(len(split_words(text)) for text in texts) == 11


def test_literary_reviews_have_no_emoji(rows: list[Row]) -> None:
    texts = [row["text"] for row in rows if row["register"] == "literary"]
    assert texts
    assert not any(re.search(EMOJI, text) for text in texts)


def test_no_plain_review_resembles_another_review() -> None:
    rows = read("reviews.csv") + read("hard.csv")
    pairs = near_pairs([row["text"] for row in rows], 0.2)
    assert len(pairs)
    assert "plain" not in {rows[index]["register"] for index in pairs.ravel()}


def test_every_emoji_has_a_name_that_the_network_reads(reviews: list[Row]) -> None:
    texts = [row["text"] for row in reviews if row["register"] == "plain"]
    names = name_emoji(" ".join(texts))
    assert not re.search(f"{EMOJI}|\ufe0f|\u200d", names)
    assert "thumbs up sign" in names
    unknown = load_tokenizer(None).token_to_id("[UNK]")
    assert not any(unknown in tokens for tokens in tokenize(texts, 128))


def test_a_contrast_pair_is_a_small_edit_that_reverses_the_label(rows: list[Row]) -> None:
    for name, group in by_group(rows).items():
        assert len(group) <= 2, name
        if len(group) == 2:
            assert {row["label"] for row in group} == {"positive", "negative"}, name
            assert len({row["domain"] for row in group}) == 1
            first, second = (split_words(row["text"]) for row in group)
            assert 1 <= edit_size(first, second) <= 8, name
            assert edit_size(first, second) <= 0.7 * max(len(first), len(second)), name


def test_only_texts_of_a_pair_share_half_of_their_word_trigrams() -> None:
    rows = read("reviews.csv") + read("hard.csv")
    texts_with: dict[tuple[str, ...], list[int]] = defaultdict(list)
    sizes = []
    for index, row in enumerate(rows):
        words = split_words(row["text"])
        trigrams = set(zip(words, words[1:], words[2:], strict=False))
        sizes.append(len(trigrams))
        for trigram in trigrams:
            texts_with[trigram].append(index)
    shared = Counter(pair for indices in texts_with.values() for pair in combinations(indices, 2))
    for (first, second), count in shared.items():
        if rows[first]["group"] != rows[second]["group"]:
            share = count / min(sizes[first], sizes[second])
            assert share <= 0.5, (rows[first]["id"], rows[second]["id"], share)


def test_only_function_words_are_in_more_than_one_review_of_twenty(rows: list[Row]) -> None:
    counts = Counter(word for row in rows for word in set(split_words(row["text"])))
    frequent = {word for word, count in counts.items() if count > 0.05 * len(rows)}
    short_forms = {word for word in frequent if "'" in word}
    assert not frequent - FUNCTION - short_forms


def test_single_words_do_not_reveal_the_label(reviews: list[Row]) -> None:
    texts = [row["text"] for row in reviews]
    counts = CountVectorizer(analyzer=split_words, binary=True).fit_transform(texts)
    labels = np.array([row["label"] for row in reviews])
    groups = np.array([row["group"] for row in reviews])
    accuracy = cross_val_score(
        LogisticRegression(max_iter=1000), counts, labels, groups=groups, cv=GroupKFold(5)
    )
    assert accuracy.mean() < 0.85


def test_the_note_has_the_counts_and_digests_of_the_files() -> None:
    note = (FOLDER / "README.md").read_text(encoding="utf-8")
    for name in ("reviews.csv", "hard.csv"):
        rows = read(name)
        positive = sum(row["label"] == "positive" for row in rows)
        pairs = sum(len(group) == 2 for group in by_group(rows).values())
        words = [len(split_words(row["text"])) for row in rows]
        line = (
            f"| {name} | {len(rows):,} | {positive:,} | {pairs} | {min(words)} to {max(words)} "
            f"({median(words):.0f}) | `{sha256(FOLDER / name)}` |"
        )
        assert line in note.splitlines()
