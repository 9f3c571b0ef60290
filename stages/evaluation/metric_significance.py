"""Intervals, a test and the verdict for any metric of a classifier: accuracy or one of class means.

Accuracy is a mean over samples, so `significance` has exact tests for it. Balanced accuracy and macro F1
are not: their intervals come from the bootstrap and their test from random permutations. All that they
depend on is how often each combination of true and predicted classes occurs, so counts are resampled
instead of samples.
"""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import stats

from stages.core.files import SMALLEST_FIGURE
from stages.core.progress import progress
from stages.evaluation.classification_metrics import metric_of_totals, metric_score
from stages.evaluation.significance import (
    POWER,
    Improvement,
    compare_to_baseline,
    decide,
    proportion_interval,
    seed_figures,
)

if TYPE_CHECKING:
    from stages.core.schema import EvaluateClassifier

_VALUES_AT_ONCE = 4_000_000  # counts in memory


def metric_interval(
    metric: str,
    labels: np.ndarray,
    predicted: np.ndarray,
    classes: int,
    params: "EvaluateClassifier",
) -> tuple[float, float]:
    """Return the interval of a metric: Wilson's of accuracy, else the percentile bootstrap's.

    Args:
        metric: one of `classification_metrics.METRICS`.
        labels: the true classes, (n,), integers.
        predicted: the predicted classes, (n,), integers.
        classes: how many there are.
        params: confidence, resamples, seed.
    """
    if metric == "accuracy":
        correct = int((labels == predicted).sum())
        return proportion_interval(correct, len(labels), params.confidence)
    cells = _Cells(metric, labels, [predicted], classes)
    return _percentiles(cells.bootstrap(params)[0], params.confidence)


def compare_predictions(
    labels: np.ndarray,
    baseline: np.ndarray,
    seeds: np.ndarray,
    classes: int,
    params: "EvaluateClassifier",
) -> Improvement:
    """Return the verdict on the primary seed's model against the baseline, by `evaluate.metric`.

    For accuracy that is `compare_to_baseline`. For other metrics the rule is the same, with the two-sided
    permutation test (Yeh, 2000, section 3) in the place of McNemar's, and the smallest detectable gain
    from the normal approximation (`smallest_detectable_mean_gain`).

    Args:
        labels: the true classes, (n,), integers.
        baseline: the classes that the baseline predicts, (n,), integers.
        seeds: the classes that each seed's model predicts, (seeds, n); the primary seed first.
        classes: how many there are.
        params: metric, confidence, resamples, seed, worthwhile_gain, assumed_regressions.
    """
    metric, correct = params.metric, seeds == labels
    if metric == "accuracy":
        improvement = compare_to_baseline(baseline == labels, correct, params)
        return Improvement(improvement.verdict, {"metric": metric, **improvement.figures})
    before = metric_score(metric, labels, baseline, classes)
    gains = np.array([metric_score(metric, labels, row, classes) - before for row in seeds])
    cells = _Cells(metric, labels, [baseline, seeds[0]], classes)
    scores = cells.bootstrap(params)
    low, high = _percentiles(scores[1] - scores[0], params.confidence)
    p = cells.permutation_test(params)
    counts = np.bincount(labels, minlength=classes)
    detectable = smallest_detectable_mean_gain(
        params.assumed_regressions, counts[counts > 0], 1 - params.confidence
    )
    figures: dict[str, Any] = {
        "metric": metric,
        "gain": float(gains[0]),
        "gain_low": low,
        "gain_high": high,
        "fixed": int((correct[0] & (baseline != labels)).sum()),
        "broken": int((~correct[0] & (baseline == labels)).sum()),
        "permutation_p": max(p, SMALLEST_FIGURE),
        "smallest_detectable_gain": detectable,
        "power": POWER,
        **seed_figures(gains),
    }
    return Improvement(decide(p, (low, high), gains, detectable, params), figures)


def smallest_detectable_mean_gain(regressions: float, counts: np.ndarray, alpha: float) -> float:
    """Return the smallest true gain in mean recall that a test set detects with 80% power, at most 1.

    Normal approximation, for a model that gains g and breaks the share r in every class: the difference
    of paired samples has variance g + 2r - g^2, that of a class's recall this over its count, and the
    gain is detected if g is at least (z of 1 - alpha / 2 + z of 80%) standard errors. For one class it
    is the usual one of McNemar's test (Connor, 1987). It stands for macro F1 as well.

    Args:
        regressions: r, share of samples that the new method breaks.
        counts: test samples of each class that occurs.
        alpha: level of the two-sided test.
    """
    z = stats.norm.ppf(1 - alpha / 2) + stats.norm.ppf(POWER)
    # g^2 = a (g + 2r - g^2), with a = z^2 sum(1 / count) / classes^2
    a = float(z**2 * (1 / counts).sum() / len(counts) ** 2)
    gain = (a + np.sqrt(a**2 + 8 * a * (1 + a) * regressions)) / (2 * (1 + a))
    return min(1.0, float(gain))


def _percentiles(values: np.ndarray, confidence: float) -> tuple[float, float]:
    tail = (1 - confidence) / 2
    low, high = np.quantile(values, [tail, 1 - tail])
    return float(low), float(high)


class _Cells:
    """The distinct combinations of a true class and the classes that methods predict, with counts."""

    def __init__(
        self, metric: str, labels: np.ndarray, methods: Sequence[np.ndarray], classes: int
    ) -> None:
        self.metric = metric
        cells, self.counts = np.unique(np.stack([labels, *methods]), axis=1, return_counts=True)
        indicator = np.eye(classes, dtype=np.int64)
        self.true = indicator[cells[0]]
        self.predicted = [indicator[method] for method in cells[1:]]
        self.correct = [self.true * predicted for predicted in self.predicted]

    def bootstrap(self, params: "EvaluateClassifier") -> np.ndarray:
        """Return the metric of each method in each bootstrap sample, (methods, resamples)."""
        random = np.random.default_rng(params.seed)
        total = int(self.counts.sum())
        parts = []
        for size in self._sizes(params.resamples, "bootstrap"):
            drawn = random.multinomial(total, self.counts / total, size=size)
            parts.append(
                [
                    metric_of_totals(
                        self.metric, drawn @ self.true, drawn @ predicted, drawn @ correct
                    )
                    for predicted, correct in zip(self.predicted, self.correct, strict=True)
                ]
            )
        return np.concatenate(parts, axis=1)

    def permutation_test(self, params: "EvaluateClassifier") -> float:
        """Return the two-sided p value: that exchanging two methods' predictions gains as much.

        In each permutation the two predictions of each sample change places with probability 1/2.
        """
        random = np.random.default_rng(params.seed)
        true = self.counts @ self.true
        totals = [
            (self.counts @ predicted, self.counts @ correct)
            for predicted, correct in zip(self.predicted, self.correct, strict=True)
        ]
        before, after = (metric_of_totals(self.metric, true, *pair) for pair in totals)
        change = [
            columns[1] - columns[0] for columns in (self.predicted, self.correct)
        ]  # of the first method's totals by an exchange of one sample
        extreme = 0
        for size in self._sizes(params.resamples, "permutations"):
            exchanged = random.binomial(self.counts, 0.5, size=(size, len(self.counts)))
            moved = [exchanged @ columns for columns in change]
            first, second = (
                metric_of_totals(
                    self.metric,
                    np.broadcast_to(true, moved[0].shape),
                    predicted + sign * moved[0],
                    correct + sign * moved[1],
                )
                for sign, (predicted, correct) in zip((1, -1), totals, strict=True)
            )
            extreme += int((np.abs(second - first) >= abs(after - before) - 1e-12).sum())
        return (1 + extreme) / (1 + params.resamples)

    def _sizes(self, resamples: int, title: str) -> Iterator[int]:
        width = max(len(self.counts), self.true.shape[1])
        part = max(1, _VALUES_AT_ONCE // width)
        for start in progress(range(0, resamples, part), title):
            yield min(part, resamples - start)
