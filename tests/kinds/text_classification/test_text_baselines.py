"""The simple methods for texts compute what their papers and counting by hand say."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from scipy.special import softmax
from support.text_networks import one_thread
from support.texts import run_prepare, text_task, write_texts

from stages.core.errors import UserError
from stages.datasets.dataset import read_dataset
from stages.datasets.texts.packed import PackedTexts
from stages.kinds.text_classification.baseline import (
    FROZEN,
    KEYWORDS,
    MOST_FREQUENT,
    NBSVM,
    NEGATION,
    TFIDF,
    fit,
    keyword_counts,
    keyword_predictor,
    terms_of,
)
from stages.kinds.text_classification.model import predict_batches, pretrained_minilm
from stages.kinds.text_classification.schema import Negation

TWO = {"negative": frozenset({"bad", "dull"}), "positive": frozenset({"good", "fine"})}
THREE = {"bad": frozenset({"bad"}), "fair": frozenset({"fair"}), "good": frozenset({"good"})}
RULE = Negation(words="not never", window=2)


@pytest.fixture(autouse=True, scope="module")
def single_threaded() -> Iterator[None]:
    with one_thread():
        yield


# Keywords


@pytest.mark.parametrize(
    ("text", "counts", "counts_with_rule"),
    [
        ("", [0, 0], [0, 0]),
        ("A good, FINE film; bad end", [1, 2], [1, 2]),
        ("goods and badly", [0, 0], [0, 0]),
        ("good good good", [0, 3], [0, 3]),
        ("not good", [0, 1], [1, 0]),
        ("Not a good film", [0, 1], [1, 0]),
        ("not at all good", [0, 1], [0, 1]),  # the third word is outside the window
        ("not good good good", [0, 3], [2, 1]),
        ("good, not", [0, 1], [0, 1]),
        ("never dull", [1, 0], [0, 1]),
        ("not not good", [0, 1], [1, 0]),  # the second extends the window, it does not negate
        ("not this, never that good", [0, 1], [1, 0]),
        ("not-so-good", [0, 1], [1, 0]),
        ("isn't good", [0, 1], [1, 0]),
        ("It ISN\u2019T good", [0, 1], [1, 0]),
        ("nothing good", [0, 1], [0, 1]),  # not one of the rule's words
        ("not bad but good", [1, 1], [0, 2]),
        *((f"not{stop} good", [0, 1], [0, 1]) for stop in ".,;:!?()"),
        ("not - good", [0, 1], [1, 0]),  # a dash does not end a clause
        ("not (good)", [0, 1], [0, 1]),
    ],
)
def test_keywords_are_counted_and_negated_ones_count_for_the_other_class(
    text: str, counts: list[float], counts_with_rule: list[float]
) -> None:
    assert keyword_counts(text, TWO, None) == counts
    assert keyword_counts(text, TWO, RULE) == counts_with_rule


@pytest.mark.parametrize("window", [1, 3, 10])
def test_a_negation_applies_to_as_many_words_as_the_params_set(window: int) -> None:
    rule = Negation(words="not", window=window)
    for between in range(12):
        text = "not " + "so " * between + "good"
        assert keyword_counts(text, TWO, rule) == ([1, 0] if between < window else [0, 1])


def test_a_negated_keyword_of_three_classes_counts_half_for_each_of_the_two_others() -> None:
    assert keyword_counts("good and fair", THREE, RULE) == [0, 1, 1]
    assert keyword_counts("not good", THREE, RULE) == [0.5, 0.5, 0]
    assert keyword_counts("never bad, not good, fair", THREE, RULE) == [0.5, 2, 0.5]


def test_counts_become_probabilities_with_the_class_shares_as_prior() -> None:
    prior = np.array([0.25, 0.75])
    texts = ["so so", "good and fine", "not good", "bad"]
    counted = keyword_predictor(TWO, prior, None)(texts)
    assert_allclose(counted * [[4], [12], [8], [8]], [[1, 3], [1, 11], [1, 7], [5, 3]])
    negated = keyword_predictor(TWO, prior, RULE)(texts)
    assert_allclose(negated * [[4], [12], [8], [8]], [[1, 3], [1, 11], [5, 3], [5, 3]])


# All of them


def test_a_training_sample_of_one_class_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    task = text_task(write_texts(tmp_path), {"baseline": {"max_samples": 1}}, "opinions")
    run_prepare(task)
    with pytest.raises(UserError, match=r"^tasks\.opinions\.baseline\.max_samples: given 1; "):
        fit(task)


def test_the_stored_parameters_give_the_probabilities(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    task = text_task(write_texts(tmp_path, 120))
    run_prepare(task)
    baselines = fit(task)
    assert list(baselines.probabilities) == [
        MOST_FREQUENT,
        KEYWORDS,
        NEGATION,
        TFIDF,
        NBSVM,
        FROZEN,
    ]
    dataset = read_dataset(task)
    packed = PackedTexts(task.folder("prepare") / "texts.bin")
    texts = packed.at(dataset.rows("test"))
    terms = str(baselines.extra_files["vocabulary.txt"]).splitlines()
    assert any(" " in term for term in terms)
    presence = np.array([[term in set(terms_of(text)) for term in terms] for text in texts])
    arrays = baselines.arrays
    logits = presence @ arrays["nbsvm.weights"].T + arrays["nbsvm.bias"]
    assert_allclose(baselines.probabilities[NBSVM], softmax(logits, axis=1), atol=1e-5)

    network = pretrained_minilm().eval()
    embedded = predict_batches(network.embed, texts, 128, torch.device("cpu"))
    inputs = (embedded - arrays["minilm.mean"]) * arrays["minilm.scale"]
    logits = inputs @ arrays["minilm.weights"].T + arrays["minilm.bias"]
    assert_allclose(baselines.probabilities[FROZEN], softmax(logits, axis=1), atol=1e-5)

    shares = np.bincount(dataset.labels("train"), minlength=2) / len(dataset.labels("train"))
    assert_allclose(baselines.probabilities[MOST_FREQUENT], np.tile(shares, (len(texts), 1)))
    for probabilities in baselines.probabilities.values():
        assert probabilities.shape == (len(texts), 2)
        assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-5)


def test_the_summary_says_which_c_was_chosen_and_every_score(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    grid = {"regularisation": [1.0, 0.01], "svm_regularisation": [0.1], "frozen_minilm": None}
    task = text_task(
        write_texts(tmp_path, 120),
        {"baseline": grid, "evaluate": {"metric": "balanced_accuracy"}},
    )
    run_prepare(task)
    summary = fit(task).summary
    assert list(summary["regularisation"]) == [TFIDF, NBSVM]
    tfidf = summary["regularisation"][TFIDF]
    assert [row["c"] for row in tfidf["candidates"]] == [0.01, 1.0]
    scores = {row["c"]: row["balanced_accuracy"] for row in tfidf["candidates"]}
    assert scores[tfidf["chosen"]] == max(scores.values())
    assert scores[tfidf["chosen"]] == summary["validation"][TFIDF]["balanced_accuracy"]
    best = max(scores["balanced_accuracy"] for scores in summary["validation"].values())
    assert summary["validation"][summary["strongest"]]["balanced_accuracy"] == best
    assert summary["rule"].startswith("highest balanced accuracy on validation data")
