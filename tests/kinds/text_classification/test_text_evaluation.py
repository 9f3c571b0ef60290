"""Texts are put into the right slices and buckets, and errors are counted in each."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from support.texts import default_text_task

from stages.kinds.proposal import DataOptions
from stages.kinds.text_classification.baseline import KEYWORDS, NEGATION
from stages.kinds.text_classification.evaluate import (
    bucket_of,
    cut_off,
    errors_by_bucket,
    fix_attempt,
    groups_of_similar_texts,
    length_slices,
    negation_buckets,
)
from stages.kinds.text_classification.failures import changes, known_failure
from stages.kinds.text_classification.pack import describe_training
from stages.kinds.text_classification.propose import propose
from stages.kinds.text_classification.word_budget import weighing_seconds, within_budget

TRAIN = default_text_task().params.train


@pytest.mark.parametrize(
    ("lengths", "count", "name"),
    [
        ([10, 20, 30], 0, "01 to 10 words"),
        ([10, 20, 30], 1, "01 to 10 words"),
        ([10, 20, 30], 10, "01 to 10 words"),
        ([10, 20, 30], 11, "11 to 20 words"),
        ([10, 20, 30], 20, "11 to 20 words"),
        ([10, 20, 30], 21, "21 to 30 words"),
        ([10, 20, 30], 30, "21 to 30 words"),
        ([10, 20, 30], 31, "over 30 words"),
        ([5, 100], 5, "001 to 005 words"),
        ([5, 100], 6, "006 to 100 words"),
        ([7], 7, "1 to 7 words"),
        ([7], 8, "over 7 words"),
    ],
)
def test_a_text_is_in_the_slice_of_its_length(lengths: list[int], count: int, name: str) -> None:
    assert length_slices(["don't, " * count + "..."], lengths).tolist() == [name]


def test_slices_of_length_sort_from_short_to_long() -> None:
    names = length_slices(["so " * n for n in range(1, 130)], [9, 20, 100]).tolist()
    assert names == sorted(names)
    assert [names.count(name) for name in sorted(set(names))] == [9, 11, 80, 29]


@pytest.mark.parametrize(
    ("text", "bucket"),
    [
        ("A fine film.", "other"),
        ("", "other"),
        ("Dull, BUT short.", "contrast"),
        ("It isn't short, yet I'd go again", "contrast"),  # the first bucket counts
        ("It isn't better than that", "negation"),
        ("It isn\u2019t short", "negation"),
        ("Cannot say", "negation"),
        ("Nothing if so", "negation"),
        ("Better than most, if so", "comparison"),
        ("If so", "conditional"),
        ("so very", "intensity"),
        ("butter, notion, thank, iffy, soon", "other"),  # words, not parts of words
    ],
)
def test_a_text_is_in_the_bucket_of_its_cue_words(text: str, bucket: str) -> None:
    assert bucket_of(text) == bucket


def test_errors_are_counted_by_bucket_and_method() -> None:
    buckets = np.array(["b", "a", "b", "b", "a"], dtype=object)
    correct = {
        "keyword counts": np.array([1, 1, 0, 0, 0], dtype=bool),
        "model": np.array([1, 1, 1, 0, 1], dtype=bool),
    }
    table = errors_by_bucket(buckets, correct)
    assert list(table.columns) == ["bucket", "count", "keyword counts", "model"]
    assert table.to_numpy().tolist() == [["a", 2, 1, 0], ["b", 3, 2, 1]]


def test_the_effect_of_a_fix_is_counted_in_its_buckets_and_elsewhere() -> None:
    table = [
        ("negation", 0, 1), ("double negation", 0, 1), ("negation", 0, 1), ("negation", 1, 0),
        ("negation", 0, 0), ("negation", 1, 1), ("negation", 1, 1),
        ("sarcasm", 1, 0), ("other", 1, 1), ("other", 0, 0),
    ]  # fmt: skip
    buckets, before, after = (np.array(column) for column in zip(*table, strict=True))
    attempt = fix_attempt(before.astype(bool), after.astype(bool), buckets)
    assert (attempt["change"], attempt["instead_of"]) == (NEGATION, KEYWORDS)
    assert attempt["bucket"] == "double negation and negation"
    assert attempt["in_bucket"] == {
        "count": 7,
        "errors_before": 4,
        "errors_after": 2,
        "fixed": 3,
        "broken": 1,
        "mcnemar_p": pytest.approx(0.625),  # twice (4 + 1) / 16
    }
    assert attempt["elsewhere"] == {
        "count": 3,
        "errors_before": 1,
        "errors_after": 2,
        "fixed": 0,
        "broken": 1,
        "mcnemar_p": pytest.approx(1.0),
    }


def test_only_buckets_of_negation_are_covered_by_its_rule() -> None:
    assert negation_buckets(np.array(["sport", "war"])) == []
    assert negation_buckets(np.array(["other", "negation", "a negation"])) == [
        "a negation",
        "negation",
    ]


def test_what_is_cut_off_is_counted_by_hand() -> None:
    assert cut_off(np.array([10, 20, 30, 40]), 20) == {
        "texts": 2,
        "share_of_texts": 0.5,
        "share_of_tokens": 0.3,  # 10 and 20 of 100
    }
    assert cut_off(np.array([5, 20]), 20)["texts"] == 0


def test_a_group_of_dissimilar_texts_is_no_contrast_set() -> None:
    texts = [
        *("the room was clean and warm", "the room was dirty and cold"),  # 4 of 8 words
        *("the room was clean and warm", "a goal in the last minute won it"),  # 1 of 13
        *("the room was clean", "the room was clean too"),  # the same label
        *["a b c", "a b d"] * 5,  # too many
    ]
    groups = np.array(["pair"] * 2 + ["author"] * 2 + ["same"] * 2 + ["crowd"] * 10, dtype=object)
    labels = np.array([0, 1, 0, 1, 0, 0, *[0, 1] * 5])
    result = groups_of_similar_texts(groups, labels, texts)
    assert result[:2].tolist() == ["pair", "pair"]
    assert len({*result}) == 15


@pytest.mark.slow
@pytest.mark.parametrize(("words", "count"), [(10, 500), (100, 30), (1000, 18), (100_000, 18)])
def test_the_longer_the_texts_the_fewer_are_explained(words: int, count: int) -> None:
    texts = ["so " * words] * 500
    assert within_budget(texts, 128) == count
    assert within_budget(texts[:1], 512) == 1


def test_the_time_of_weighing_words_grows_with_the_square_of_the_length_up_to_the_budget() -> None:
    short = weighing_seconds(["so " * 10], 100, 128)
    assert 0.5 < short < 10  # 10,000 words
    assert weighing_seconds(["so " * 20], 100, 128) == pytest.approx(4 * short)
    assert weighing_seconds(["so " * 20], 100, 10) == pytest.approx(short)
    assert weighing_seconds(["so " * 200], 10_000, 256) == pytest.approx(30 * short)


def test_the_proposed_time_contains_that_of_weighing_words(tmp_path: Path) -> None:
    times = []
    for words in (5, 50):
        rows = [f"{'so ' * words}{number},{'ab'[number % 2]}" for number in range(60)]
        table = tmp_path / f"{words}.csv"
        table.write_text("\n".join(["text,label", *rows]))
        ladder = propose(table, "words", DataOptions(text="text", label="label")).ladder
        assert ladder is not None
        times.append(ladder.other_seconds)
    assert times[1] - times[0] > 2  # 12 or more test texts of 51 words


@pytest.mark.parametrize(("large", "bucket"), [(10, "large"), (9, "small")])
def test_the_known_failure_is_the_worst_bucket_of_at_least_10_texts(
    large: int, bucket: str
) -> None:
    buckets = pd.DataFrame(
        {"bucket": ["small", "large"], "count": [2, large], "model": [2, 5], "NB-SVM": [0, 4]}
    )
    assert known_failure(buckets, "NB-SVM")["bucket"] == bucket


@pytest.mark.parametrize(
    ("model", "key"), [("minilm", "train_layers"), ("scratch", "scratch.layers")]
)
def test_the_next_step_changes_a_param_of_the_model_in_use(model: str, key: str) -> None:
    proposals = changes(TRAIN.model_copy(update={"model": model}))
    assert proposals["between two classes"][:2] == (key, 3)


@pytest.mark.parametrize(
    ("update", "description"),
    [
        (
            {"train_layers": 2},
            "MiniLM (trained: the head and the top 2 of 6 layers; frozen: the embeddings and the bottom 4",
        ),
        (
            {"train_layers": 0},
            "MiniLM (trained: the head; frozen: the embeddings and all 6 layers); input: at most 128",
        ),
        (
            {"train_layers": 6},
            "MiniLM (trained: the head and the top 6 of 6 layers; frozen: the embeddings); input: at most",
        ),
        (
            {"model": "scratch"},
            "a Transformer trained from scratch (layers: 2, width: 64, attention heads: 4); input: at most",
        ),
    ],
)
def test_the_page_describes_the_network_of_the_params(
    update: dict[str, object], description: str
) -> None:
    text = describe_training(TRAIN.model_copy(update=update))
    assert text.startswith(f"Model: {description}")
