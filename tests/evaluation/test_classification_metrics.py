"""Scores agree with scikit-learn, and calibration with results worked out by hand."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics

from stages.evaluation.classification_metrics import (
    Predictions,
    calibration_error,
    calibration_error_by_chance,
    compute_scores,
    confusion_counts,
    log_loss,
    per_class_scores,
    predictions_from,
    reliability_curve,
)

Samples = tuple[np.ndarray, np.ndarray]


@st.composite
def samples(draw: st.DrawFn) -> Samples:
    """Return probabilities (n, classes) and labels (n,), which need not include every class."""
    count, classes = draw(st.integers(1, 60)), draw(st.integers(2, 6))
    present = draw(st.sets(st.integers(0, classes - 1), min_size=1))
    random = np.random.default_rng(draw(st.integers(0, 10_000)))
    labels = random.choice(sorted(present), count)
    spread = draw(st.sampled_from([0.1, 1.0, 10.0]))
    probabilities = np.clip(random.dirichlet(np.full(classes, spread), count), 1e-9, None)
    return probabilities / probabilities.sum(axis=1, keepdims=True), labels


def two_classes(confidence: list[float], correct: list[bool]) -> Samples:
    """Return probabilities that predict the first class, and labels that make this correct or not."""
    first = np.array(confidence)
    return np.column_stack([first, 1 - first]), np.where(correct, 0, 1)


def curve_of(probabilities: np.ndarray, labels: np.ndarray, bins: int) -> pd.DataFrame:
    return reliability_curve(predictions_from(probabilities, labels), labels, bins)


def scores_of(probabilities: np.ndarray, labels: np.ndarray) -> dict[str, Any]:
    predictions = predictions_from(probabilities, labels)
    return compute_scores(predictions, labels, probabilities.shape[1], 10)


@settings(max_examples=30, deadline=None)
@given(samples())
def test_scores_agree_with_scikit_learn(sampled: Samples) -> None:
    probabilities, labels = sampled
    predicted = probabilities.argmax(axis=1)
    scores = scores_of(probabilities, labels)
    assert scores["accuracy"] == pytest.approx(metrics.accuracy_score(labels, predicted))
    assert scores["log_loss"] == pytest.approx(
        metrics.log_loss(labels, probabilities, labels=range(probabilities.shape[1])),
        abs=1e-6,  # the digits with which a loss is written
    )
    assert scores["macro_f1"] == pytest.approx(
        metrics.f1_score(
            labels, predicted, labels=np.unique(labels), average="macro", zero_division=0
        )
    )
    curve = curve_of(probabilities, labels, 10)
    assert scores["calibration_error"] == pytest.approx(calibration_error(curve))


@settings(max_examples=30, deadline=None)
@given(samples())
def test_tables_agree_with_scikit_learn(sampled: Samples) -> None:
    probabilities, labels = sampled
    predicted, classes = probabilities.argmax(axis=1), probabilities.shape[1]
    counts = confusion_counts(labels, predicted, classes)
    expected = metrics.confusion_matrix(labels, predicted, labels=range(classes))
    np.testing.assert_array_equal(counts, expected)
    table = per_class_scores(counts, [f"class {index}" for index in range(classes)])
    precision, recall, f1, support = metrics.precision_recall_fscore_support(
        labels, predicted, labels=range(classes), zero_division=0
    )
    np.testing.assert_allclose(table["precision"], precision)
    np.testing.assert_allclose(table["recall"], recall)
    np.testing.assert_allclose(table["f1"], f1)
    np.testing.assert_array_equal(table["count"], support)
    np.testing.assert_array_equal(table["predicted"], np.bincount(predicted, minlength=classes))
    np.testing.assert_array_equal(table["correct"], np.diag(expected))
    assert table["class"].tolist() == [f"class {index}" for index in range(classes)]


def test_rows_of_the_confusion_matrix_are_true_classes() -> None:
    counts = confusion_counts(np.array([0, 0, 2]), np.array([1, 1, 2]), 3)
    assert counts.tolist() == [[0, 2, 0], [0, 0, 0], [0, 0, 1]]


def test_macro_f1_excludes_a_class_without_samples() -> None:
    probabilities = np.array([[0.8, 0.1, 0.1], [0.1, 0.8, 0.1], [0.1, 0.1, 0.8], [0.8, 0.1, 0.1]])
    labels = np.array([0, 1, 1, 0])
    scores = scores_of(probabilities, labels)
    # Class 0: F1 1; class 1: precision 1, recall 1/2, F1 2/3; class 2 is predicted, never true.
    assert scores["macro_f1"] == pytest.approx((1 + 2 / 3) / 2)


def test_the_log_loss_of_a_label_with_probability_0_is_finite() -> None:
    assert log_loss(np.array([[1.0, 0.0]]), np.array([1])) == pytest.approx(-np.log(1e-12))


def test_the_log_loss_of_uniform_probabilities_is_the_logarithm_of_the_number_of_classes() -> None:
    probabilities = np.full((5, 4), 0.25, dtype=np.float32)
    assert log_loss(probabilities, np.array([0, 1, 2, 3, 0])) == pytest.approx(np.log(4))


def test_confidence_equal_to_accuracy_has_no_calibration_error() -> None:
    probabilities, labels = two_classes(
        [0.75] * 8 + [1.0] * 3, [True] * 6 + [False] * 2 + [True] * 3
    )
    assert calibration_error(curve_of(probabilities, labels, 10)) == 0.0


def test_full_confidence_with_half_correct_has_a_calibration_error_of_one_half() -> None:
    probabilities, labels = two_classes([1.0] * 10, [True, False] * 5)
    curve = curve_of(probabilities, labels, 10)
    assert calibration_error(curve) == 0.5
    assert curve.to_dict("records") == [
        {"bin_low": 0.9, "confidence": 1.0, "accuracy": 0.5, "count": 10}
    ]


def test_underconfidence_is_a_calibration_error_too() -> None:
    probabilities, labels = two_classes([0.6] * 4, [True] * 4)
    assert calibration_error(curve_of(probabilities, labels, 5)) == pytest.approx(0.4)


def test_two_bins_give_the_curve_and_the_error_worked_out_by_hand() -> None:
    # Three classes, so that confidence can lie below one half.
    probabilities = np.array(
        [[0.4, 0.3, 0.3], [0.2, 0.48, 0.32], [0.7, 0.2, 0.1], [0.1, 0.0, 0.9], [0.8, 0.1, 0.1]]
    )
    labels = np.array([0, 0, 0, 2, 1])
    curve = curve_of(probabilities, labels, 2)
    assert curve["bin_low"].tolist() == [0.0, 0.5]
    assert curve["count"].tolist() == [2, 3]
    assert curve["confidence"].tolist() == pytest.approx([0.44, 0.8])
    assert curve["accuracy"].tolist() == pytest.approx([1 / 2, 2 / 3])
    # (2 x |0.5 - 0.44| + 3 x |2/3 - 0.8|) / 5
    assert calibration_error(curve) == pytest.approx((2 * 0.06 + 3 * (0.8 - 2 / 3)) / 5)


@pytest.mark.parametrize(
    ("confidence", "bin_low"),
    [(0.5, 0.25), (0.500001, 0.5), (0.75, 0.5), (0.750001, 0.75), (1.0, 0.75)],
)
def test_a_confidence_on_an_edge_belongs_to_the_bin_below(
    confidence: float, bin_low: float
) -> None:
    probabilities, labels = two_classes([confidence], [True])
    assert curve_of(probabilities, labels, 4)["bin_low"].tolist() == [bin_low]


def test_tenths_are_edges_of_ten_bins() -> None:
    for tenth in range(5, 11):
        probabilities, labels = two_classes([tenth / 10], [True])
        lows = curve_of(probabilities, labels, 10)["bin_low"].tolist()
        assert lows == pytest.approx([(tenth - 1) / 10])


@settings(max_examples=40, deadline=None)
@given(samples(), st.integers(2, 100))
def test_a_reliability_curve_counts_every_sample_once_in_its_bin(
    sampled: Samples, bins: int
) -> None:
    probabilities, labels = sampled
    curve = curve_of(probabilities, labels, bins)
    assert curve["count"].sum() == len(labels)
    assert (curve["count"] > 0).all()
    assert (curve["confidence"] > curve["bin_low"] - 1e-9).all()
    assert (curve["confidence"] <= curve["bin_low"] + 1 / bins + 1e-9).all()
    correct = (probabilities.argmax(axis=1) == labels).sum()
    assert (curve["accuracy"] * curve["count"]).sum() == pytest.approx(correct)
    assert 0 <= calibration_error(curve) <= 1


def test_one_bin_of_equal_confidences_has_the_chance_error_of_the_binomial_distribution() -> None:
    """Of 40 samples with confidence 0.8 in one bin, the error is |correct / 40 - 0.8|."""
    numbers = np.arange(41)
    error = np.abs(numbers / 40 - 0.8)
    chances = scipy.stats.binom.pmf(numbers, 40, 0.8)
    order = np.argsort(error)
    expected = error[order][np.searchsorted(np.cumsum(chances[order]), 0.95)]
    assert calibration_error_by_chance(np.full(40, 0.8), 10, 0.95, 0) == pytest.approx(
        expected, abs=1 / 40
    )


def test_the_chance_error_of_a_large_bin_is_the_normal_one() -> None:
    error = calibration_error_by_chance(np.full(10_000, 0.75), 10, 0.95, 0)
    assert error == pytest.approx(1.96 * np.sqrt(0.75 * 0.25 / 10_000), rel=0.06)


def test_drawn_and_normal_bins_agree() -> None:
    confidence = np.random.default_rng(0).uniform(0.5, 1, 4000)  # five bins of about 800
    drawn = calibration_error_by_chance(confidence, 10, 0.95, 0)
    normal = calibration_error_by_chance(np.tile(confidence, 2), 10, 0.95, 0)
    assert drawn == pytest.approx(normal * np.sqrt(2), rel=0.05)


def test_calibrated_predictions_exceed_the_chance_error_one_time_in_twenty() -> None:
    random = np.random.default_rng(2)
    confidence = random.uniform(0.5, 1, 300)
    limit = calibration_error_by_chance(confidence, 10, 0.95, 0)
    exceeding = 0
    for _ in range(400):
        predicted = np.ones(300, dtype=int)
        labels = (random.random(300) < confidence).astype(int)
        predictions = Predictions(predicted, confidence, np.zeros(300))
        exceeding += calibration_error(reliability_curve(predictions, labels, 10)) > limit
    assert 0.02 <= exceeding / 400 <= 0.09


def test_full_confidence_leaves_nothing_to_chance() -> None:
    assert calibration_error_by_chance(np.ones(50), 10, 0.95, 0) == 0
