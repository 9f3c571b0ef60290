"""Balanced accuracy and macro F1: scores, intervals, the test and the verdict."""

from itertools import product
from typing import Literal

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sklearn_metrics

from stages.core.progress import Lines
from stages.core.schema import EvaluateClassifier
from stages.evaluation.classification_metrics import metric_score
from stages.evaluation.metric_names import METRICS
from stages.evaluation.metric_significance import (
    compare_predictions,
    metric_interval,
)
from stages.evaluation.significance import smallest_detectable_mean_gain

Metric = Literal["accuracy", "balanced_accuracy", "macro_f1"]


def params(metric: Metric, resamples: int = 2000) -> EvaluateClassifier:
    return EvaluateClassifier(
        metric=metric,
        confidence=0.95,
        resamples=resamples,
        seed=0,
        bins=10,
        worthwhile_gain=0.1,
        assumed_regressions=0.01,
    )


def rare_class(recognised: int, false_alarms: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return 900 labels of class 0 and 40 of class 1, and predictions of class 1 for some of each."""
    labels = np.array([0] * 900 + [1] * 40)
    predicted = np.zeros(940, dtype=int)
    predicted[:false_alarms] = 1
    predicted[900 : 900 + recognised] = 1
    return labels, predicted


def test_a_class_that_is_never_predicted_halves_the_balanced_accuracy() -> None:
    labels, predicted = rare_class(0)
    assert metric_score("accuracy", labels, predicted, 2) == pytest.approx(900 / 940)
    assert metric_score("balanced_accuracy", labels, predicted, 2) == 0.5
    # F1 of class 0: precision 900 / 940, recall 1; of class 1: 0.
    assert metric_score("macro_f1", labels, predicted, 2) == pytest.approx(1800 / 1840 / 2)


@settings(deadline=None, max_examples=50, derandomize=True)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=30))
def test_scores_are_those_of_scikit_learn(pairs: list[tuple[int, int]]) -> None:
    labels, predicted = (np.array(column) for column in zip(*pairs, strict=True))
    occurring = np.unique(labels)
    expected = {
        "accuracy": sklearn_metrics.accuracy_score(labels, predicted),
        "balanced_accuracy": sklearn_metrics.recall_score(
            labels, predicted, labels=occurring, average="macro", zero_division=0
        ),
        "macro_f1": sklearn_metrics.f1_score(
            labels, predicted, labels=occurring, average="macro", zero_division=0
        ),
    }
    for metric in METRICS:
        assert metric_score(metric, labels, predicted, 4) == pytest.approx(expected[metric])


def test_the_interval_of_balanced_accuracy_has_the_width_of_its_standard_error() -> None:
    """Of recalls p over n samples each, the variance is the mean of p (1 - p) / n, over classes."""
    labels, predicted = rare_class(20, 90)
    low, high = metric_interval(
        "balanced_accuracy", labels, predicted, 2, params("balanced_accuracy", 20_000)
    )
    error = np.sqrt(0.9 * 0.1 / 900 + 0.5 * 0.5 / 40) / 2
    assert (low + high) / 2 == pytest.approx(0.7, abs=0.01)
    assert high - low == pytest.approx(2 * 1.96 * error, rel=0.05)


def test_the_interval_of_accuracy_is_wilsons() -> None:
    labels, predicted = rare_class(20, 90)
    low, high = metric_interval("accuracy", labels, predicted, 2, params("macro_f1"))
    expected = scipy.stats.binomtest(830, 940).proportion_ci(0.95, method="wilson")
    assert (low, high) == pytest.approx((expected.low, expected.high))


def test_by_accuracy_the_verdict_is_the_one_of_mcnemars_test() -> None:
    labels, predicted = rare_class(30, 5)
    _, baseline = rare_class(0)
    result = compare_predictions(labels, baseline, predicted[None], 2, params("accuracy"))
    assert (result.figures["metric"], result.figures["test"]) == ("accuracy", "McNemar")
    assert result.figures["p"] == pytest.approx(scipy.stats.binomtest(30, 35).pvalue)


@pytest.mark.parametrize("metric", ["balanced_accuracy", "macro_f1"])
def test_recognising_a_rare_class_is_better_by_a_mean_over_classes(metric: Metric) -> None:
    """30 of 40 are found at the price of 60 false alarms: fewer samples are correct than before."""
    labels, predicted = rare_class(30, 60)
    _, baseline = rare_class(0)
    result = compare_predictions(labels, baseline, predicted[None], 2, params(metric))
    assert result.verdict == "better"
    gain = metric_score(metric, labels, predicted, 2) - metric_score(metric, labels, baseline, 2)
    assert result.figures["gain"] == pytest.approx(gain)
    assert result.figures["gain_low"] < gain < result.figures["gain_high"]
    assert (result.figures["fixed"], result.figures["broken"]) == (30, 60)
    assert result.figures["p"] < 0.001
    assert result.figures["test"] == "permutation"
    by_accuracy = compare_predictions(labels, baseline, predicted[None], 2, params("accuracy"))
    assert by_accuracy.verdict == "worse"


def test_every_seed_must_gain() -> None:
    labels, predicted = rare_class(30, 60)
    _, baseline = rare_class(0)
    seeds = np.stack([predicted, baseline])
    result = compare_predictions(labels, baseline, seeds, 2, params("balanced_accuracy"))
    assert result.verdict == "not distinguishable"
    assert result.figures["seed_gain_min"] == 0


def test_a_few_samples_of_a_class_are_underpowered() -> None:
    labels = np.array([0] * 200 + [1] * 3)
    baseline = np.zeros(203, dtype=int)
    predicted = np.array([0] * 202 + [1])
    result = compare_predictions(labels, baseline, predicted[None], 2, params("balanced_accuracy"))
    assert result.verdict == "underpowered"
    assert result.figures["smallest_detectable_gain"] > 0.1


def test_the_permutation_test_agrees_with_all_permutations() -> None:
    """Of 6 samples on which the methods differ, each of 64 exchanges is counted."""
    labels = np.array([0, 0, 0, 0, 0, 1, 1, 1, 1])
    baseline = np.array([0, 0, 1, 1, 0, 0, 0, 0, 1])
    model = np.array([0, 0, 0, 0, 1, 1, 1, 1, 1])
    differing = np.flatnonzero(baseline != model)
    assert len(differing) == 6

    def gain(first: np.ndarray, second: np.ndarray) -> float:
        return metric_score("macro_f1", labels, second, 2) - metric_score(
            "macro_f1", labels, first, 2
        )

    extreme = 0
    for exchanged in product([False, True], repeat=6):
        rows = differing[list(exchanged)]
        first, second = baseline.copy(), model.copy()
        first[rows], second[rows] = model[rows], baseline[rows]
        extreme += abs(gain(first, second)) >= abs(gain(baseline, model)) - 1e-12
    result = compare_predictions(labels, baseline, model[None], 2, params("macro_f1", 20_000))
    assert result.figures["p"] == pytest.approx(extreme / 64, abs=0.01)


def test_equal_predictions_have_no_gain_and_p_1() -> None:
    labels, predicted = rare_class(10, 10)
    result = compare_predictions(labels, predicted, predicted[None], 2, params("macro_f1"))
    assert result.figures["gain"] == result.figures["gain_low"] == result.figures["gain_high"] == 0
    assert result.figures["p"] == 1


@pytest.mark.parametrize("regressions", [0.0, 0.02])
@pytest.mark.parametrize("counts", [[500, 500], [900, 40]])
def test_the_smallest_detectable_gain_is_detected_four_times_in_five(
    counts: list[int], regressions: float
) -> None:
    """At the gain g, g is as large as z of 97.5% and z of 80% times the standard error."""
    gain = smallest_detectable_mean_gain(regressions, np.array(counts), 0.05)
    variance = (gain + 2 * regressions - gain**2) * sum(1 / n for n in counts) / len(counts) ** 2
    z = scipy.stats.norm.ppf([0.975, 0.8]).sum()
    assert gain == pytest.approx(z * np.sqrt(variance), rel=1e-6)


def test_long_work_says_what_it_is(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("stages.core.progress._LINES", Lines(interval=0.0))
    labels = np.array([0, 1] * 10)
    compare_predictions(labels, labels, 1 - labels[None], 2, params("macro_f1"))
    first, second = capsys.readouterr().err.splitlines()
    assert "bootstrap, " in first
    assert "permutations, " in second
