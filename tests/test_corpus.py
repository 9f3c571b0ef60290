"""The embedded reviews keep what their note promises (data/raw/sentiment/README.md)."""

import csv
import re
from collections import Counter, defaultdict
from difflib import SequenceMatcher
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS, CountVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold, cross_val_score

from stages.shared.texts.packed import words

FOLDER = Path(__file__).parent.parent / "data/raw/sentiment"
PHENOMENA = {
    "plain", "negation", "double negation", "contrast", "sarcasm", "comparison", "intensity",
    "conditional", "mixed", "idiom",
}  # fmt: skip
# Function words beside scikit-learn's list: auxiliaries that it lacks, and short forms.
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


def edited(first: list[str], second: list[str]) -> int:
    """Return how many words stand in the runs by which the two differ, the longer side counted."""
    steps = SequenceMatcher(None, first, second, autojunk=False).get_opcodes()
    return sum(
        max(end - start, other_end - other_start)
        for kind, start, end, other_start, other_end in steps
        if kind != "equal"
    )


def test_the_reviews_are_many_enough_and_half_of_them_positive(reviews: list[Row]) -> None:
    assert len(reviews) >= 1600
    labels = Counter(row["label"] for row in reviews)
    assert labels["positive"] == labels["negative"] == len(reviews) / 2


def test_domains_and_phenomena_are_many_and_each_holds_both_labels(reviews: list[Row]) -> None:
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
    assert list(rows[0]) == ["id", "text", "label", "domain", "phenomenon", "group"]
    assert len({row["id"] for row in rows}) == len({row["text"] for row in rows}) == len(rows)
    for row in rows:
        text = row["text"]
        assert 6 <= len(words(text)) <= 45, row["id"]
        assert text == " ".join(text.split()), row["id"]
        assert text.isprintable(), row["id"]
        assert not re.search("[\u2010-\u201f\u2026]", text), row["id"]  # typographers' characters
        assert row["label"] in {"positive", "negative"}
        assert row["phenomenon"] in PHENOMENA
        assert row["id"].startswith(row["domain"]), row["id"]


def test_a_pair_is_a_small_edit_that_turns_the_label(rows: list[Row]) -> None:
    for name, group in by_group(rows).items():
        assert len(group) <= 2, name
        if len(group) == 2:
            one, other = group
            assert {one["label"], other["label"]} == {"positive", "negative"}, name
            first, second = words(one["text"]), words(other["text"])
            assert 1 <= edited(first, second) <= 8, name
            assert edited(first, second) <= 0.7 * max(len(first), len(second)), name
            assert one["domain"] == other["domain"]


def test_no_two_reviews_outside_a_pair_share_half_of_their_runs_of_three_words() -> None:
    everyone = read("reviews.csv") + read("hard.csv")
    runs = [set(zip(w, w[1:], w[2:], strict=False)) for w in (words(r["text"]) for r in everyone)]
    holders: dict[tuple[str, ...], list[int]] = defaultdict(list)
    for place, found in enumerate(runs):
        for run in found:
            holders[run].append(place)
    shared = Counter(pair for places in holders.values() for pair in combinations(places, 2))
    for (one, other), count in shared.items():
        if (everyone[one]["group"]) != (everyone[other]["group"]):
            share = count / min(len(runs[one]), len(runs[other]))
            assert share <= 0.5, (everyone[one]["id"], everyone[other]["id"], share)


def test_no_word_but_function_words_is_in_more_than_one_review_of_twenty(rows: list[Row]) -> None:
    counts = Counter(word for row in rows for word in set(words(row["text"])))
    often = {word for word, count in counts.items() if count > 0.05 * len(rows)}
    short_forms = {word for word in often if "'" in word}
    assert not often - FUNCTION - short_forms


def test_single_words_do_not_give_the_label_away(reviews: list[Row]) -> None:
    texts = [row["text"] for row in reviews]
    counts = CountVectorizer(analyzer=words, binary=True).fit_transform(texts)
    labels = np.array([row["label"] for row in reviews])
    groups = np.array([row["group"] for row in reviews])
    accuracy = cross_val_score(
        LogisticRegression(max_iter=1000), counts, labels, groups=groups, cv=GroupKFold(10)
    )
    assert accuracy.mean() < 0.85


def test_the_note_names_the_files_bytes() -> None:
    from stages.shared.files import sha256

    note = (FOLDER / "README.md").read_text(encoding="utf-8")
    for name in ("reviews.csv", "hard.csv"):
        assert sha256(FOLDER / name) in note, name
