"""The simple methods for texts compute what their papers and counting by hand say."""

import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.optimize import minimize
from scipy.sparse import csr_array
from scipy.special import softmax
from sklearn.feature_extraction.text import CountVectorizer
from support.project import ROOT
from support.text_networks import one_thread
from support.texts import default_text_task, read_table, run_prepare, text_task, write_texts

from stages.core.errors import UserError
from stages.datasets.dataset import read_dataset
from stages.datasets.texts.packed import PackedTexts
from stages.datasets.texts.sources import TextSample
from stages.evaluation.baselines import NEVER
from stages.kinds.text_classification.baseline import (
    KEYWORDS,
    NBSVM,
    NEGATION,
    TFIDF,
    fit,
    inverse_temperature,
    keyword_counts,
    keyword_predictor,
    nbsvm,
    terms_of,
)
from stages.kinds.text_classification.schema import Negation

MOVIES = ROOT.parent / "shared/datasets/movie_reviews_mr.csv"
PARAMS = default_text_task().params.baseline
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


# NB-SVM


def nbsvm_by_formula(
    presence: np.ndarray, positive: np.ndarray, cost: float, beta: float
) -> tuple[np.ndarray, float]:
    """Return NB-SVM's weights and bias, after Wang and Manning (2012), section 2.

    p and q are 1 + the number of texts of either class with a term; r = log((p / |p|) / (q / |q|)); the
    SVM minimises |w|^2 / 2 + C sum max(0, 1 - y (w x + b))^2 on x = r * f (as LIBLINEAR does, with
    b among the weights); then w' = (1 - beta) mean |w| + beta w, and a text's margin is w' x + b.
    """
    p, q = 1 + presence[positive].sum(0), 1 + presence[~positive].sum(0)
    ratio = np.log((p / p.sum()) / (q / q.sum()))
    samples = np.c_[presence * ratio, np.ones(len(presence))]
    signs = np.where(positive, 1.0, -1.0)

    def loss(weights: np.ndarray) -> float:
        slack = np.maximum(0, 1 - signs * (samples @ weights))
        return float(weights @ weights / 2 + cost * (slack**2).sum())

    start = np.zeros(samples.shape[1])
    *weights, bias = minimize(loss, start, method="BFGS", options={"gtol": 1e-7}).x
    return ratio * ((1 - beta) * np.abs(weights).mean() + beta * np.array(weights)), float(bias)


def texts_with_terms() -> tuple[np.ndarray, np.ndarray]:
    """Return which of 7 terms 40 texts have, (40, 7) of 0 and 1, and labels of three classes."""
    random = np.random.default_rng(0)
    labels = np.arange(40) % 3
    share = np.array([[8, 1, 1, 5, 2, 5, 3], [1, 8, 1, 5, 5, 2, 3], [1, 1, 8, 5, 5, 5, 3]]) / 10
    return (random.random((40, 7)) < share[labels]).astype(float), labels


@pytest.mark.parametrize("beta", [0.0, 0.25, 1.0])
@pytest.mark.parametrize("cost", [0.1, 1.0])
def test_nbsvm_has_the_weights_of_wang_and_manning(beta: float, cost: float) -> None:
    presence, labels = texts_with_terms()
    params = PARAMS.model_copy(
        update={"svm_regularisation": cost, "svm_interpolation": beta, "max_iterations": 10_000}
    )
    weights, bias, converged = nbsvm(csr_array(presence), labels, 3, params)
    assert converged
    for label in range(3):
        expected_weights, expected_bias = nbsvm_by_formula(presence, labels == label, cost, beta)
        assert_allclose(weights[label], expected_weights, atol=3e-3)
        assert bias[label] == pytest.approx(expected_bias, abs=3e-3)

    # Of two classes the first one's logit is 0, and the second's that of one against the rest.
    two_weights, two_bias, _ = nbsvm(csr_array(presence), (labels == 1).astype(int), 2, params)
    assert_allclose(two_weights, [np.zeros(7), weights[1]])
    assert_allclose(two_bias, [0, bias[1]])


def test_without_interpolation_a_term_is_weighed_by_its_log_count_ratio() -> None:
    # Each positive text has one of terms 0 and 1, each negative one term 2; term 3 is in all.
    presence = np.array([[1, 0, 0, 1], [1, 0, 0, 1], [0, 1, 0, 1], [0, 0, 1, 1]], dtype=float)
    labels = np.array([1, 1, 1, 0])
    params = PARAMS.model_copy(update={"svm_interpolation": 0.0})
    weights, _, _ = nbsvm(csr_array(presence), labels, 2, params)
    p, q = np.array([3, 2, 1, 4]) / 10, np.array([1, 1, 2, 2]) / 6
    assert_allclose(weights[1] / weights[1, 0], np.log(p / q) / np.log(1.8), rtol=1e-6)


def test_a_class_without_training_texts_is_never_predicted() -> None:
    presence, labels = texts_with_terms()
    weights, bias, _ = nbsvm(csr_array(presence), np.where(labels == 1, 3, labels), 4, PARAMS)
    assert bias[1] == NEVER
    assert set((presence @ weights.T + bias).argmax(axis=1)) == {0, 2, 3}


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_a_fit_that_did_not_converge_is_reported() -> None:
    presence, labels = texts_with_terms()
    params = PARAMS.model_copy(update={"max_iterations": 1})
    assert not nbsvm(csr_array(presence), labels, 3, params)[2]


@pytest.mark.skipif(not MOVIES.exists(), reason=f"{MOVIES.name} is not in ../shared/datasets")
def test_nbsvm_is_as_accurate_on_film_reviews_as_in_its_paper() -> None:
    """Wang and Manning (2012), table 2: 79.4% with pairs of words on these reviews, ten folds."""
    samples = [row for row in read_table(text_task(MOVIES)) if isinstance(row, TextSample)]
    texts = np.array([sample.text for sample in samples], dtype=object)
    labels = np.array([sample.label == "positive" for sample in samples]).astype(int)
    assert len(texts) == 10_662
    order = np.random.default_rng(0).permutation(len(texts))
    test, train = np.split(order, [len(order) // 10])
    counter = CountVectorizer(analyzer=terms_of, binary=True, dtype=np.float64)
    presence = csr_array(counter.fit_transform(texts[train]))
    weights, bias, converged = nbsvm(presence, labels[train], 2, PARAMS)
    logits = csr_array(counter.transform(texts[test])) @ weights.T + bias
    assert converged
    assert (logits.argmax(axis=1) == labels[test]).mean() >= 0.77


@pytest.mark.parametrize("correct", [5, 6, 9])
def test_the_temperature_fits_the_share_of_correct_predictions(correct: int) -> None:
    """Of ten margins of 1, so many on the right side: log loss is lowest at that share."""
    logits = np.array([[0.0, 1.0]] * 5 + [[1.0, 0.0]] * 5)
    labels = logits.argmax(axis=1)
    labels[: 10 - correct] = 1 - labels[: 10 - correct]
    share = correct / 10
    expected = math.log(share / (1 - share))
    assert inverse_temperature(logits, labels) == pytest.approx(expected, abs=2e-3)


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
    assert list(baselines.probabilities) == [KEYWORDS, NEGATION, TFIDF, NBSVM]
    dataset = read_dataset(task.folder("prepare"))
    texts = PackedTexts(task.folder("prepare") / "texts.bin").at(dataset.rows("test"))
    terms = str(baselines.extra_files["vocabulary.txt"]).splitlines()
    assert any(" " in term for term in terms)
    presence = np.array([[term in set(terms_of(text)) for term in terms] for text in texts])
    logits = presence @ baselines.arrays["nbsvm.weights"].T + baselines.arrays["nbsvm.bias"]
    assert_allclose(baselines.probabilities[NBSVM], softmax(logits, axis=1), atol=1e-5)
    for probabilities in baselines.probabilities.values():
        assert probabilities.shape == (len(texts), 2)
        assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-5)
