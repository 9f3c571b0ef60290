"""Bootstrap, exchange test and standard error of any metric, by samples or by whole groups of them.

All that a metric depends on is how many samples each class has, and how many of them a method predicts
and gets right. So units are drawn and exchanged with these counts, never sample by sample.
"""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from stages.core.progress import progress
from stages.evaluation.classification_metrics import metric_of_totals

if TYPE_CHECKING:
    from stages.core.schema import EvaluateClassifier

MOST_ENUMERATED = 20  # groups of which every exchange is tried
_VALUES_AT_ONCE = 4_000_000  # counts in memory


class Units:
    """What the bootstrap draws and the test exchanges: samples, or whole groups of samples.

    Equal units are counted once.

    Attributes:
        metric: one of `metric_names.METRICS`.
        counts: how many such units there are, (units,).
        true: samples of each class in a unit, (units, classes).
        predicted: for each method, samples predicted to be of each class, (units, classes).
        correct: for each method, samples of each class that are predicted correctly, (units, classes).
    """

    def __init__(
        self,
        metric: str,
        labels: np.ndarray,
        methods: Sequence[np.ndarray],
        classes: int,
        groups: np.ndarray | None = None,
    ) -> None:
        """Count samples, or groups.

        Args:
            metric: one of `metric_names.METRICS`.
            labels: the true classes, (n,), integers.
            methods: the classes that each method predicts, (n,) each.
            classes: how many there are.
            groups: the number of each sample's group, (n,), from 0; None: each sample is a unit.
        """
        self.metric, self.grouped = metric, groups is not None
        if metric == "accuracy":  # depends only on whether a prediction is right
            methods = [(method != labels).astype(np.int64) for method in methods]
            labels, classes = np.zeros(len(labels), dtype=np.int64), 2
        shape = (classes,) * (1 + len(methods))
        numbers, cell, self.counts = np.unique(
            np.ravel_multi_index((labels, *methods), shape), return_inverse=True, return_counts=True
        )
        cells = np.unravel_index(numbers, shape)
        indicator = np.eye(classes, dtype=np.int64)
        true, predicted = indicator[cells[0]], [indicator[method] for method in cells[1:]]
        totals = [true, *predicted, *(true * method for method in predicted)]
        if groups is not None:
            totals, self.counts = _totals_of_groups(totals, cell, groups)
        self.true, methods_end = totals[0], 1 + len(predicted)
        self.predicted, self.correct = totals[1:methods_end], totals[methods_end:]

    def scores(self) -> np.ndarray:
        """Return the metric of each method, (methods,)."""
        return self._scores(self.counts[None])[:, 0]

    def bootstrap(self, params: "EvaluateClassifier") -> np.ndarray:
        """Return the metric of each method in each bootstrap sample, (methods, resamples).

        Of groups, a sample holds as many groups, whatever their sizes: the metric is a ratio of sums
        (Cochran, 1977, section 6.3).
        """
        random = np.random.default_rng(params.seed)
        total = int(self.counts.sum())
        parts = [
            self._scores(random.multinomial(total, self.counts / total, size=size))
            for size in self._sizes(params.resamples, "bootstrap")
        ]
        return np.concatenate(parts, axis=1)

    def _scores(self, drawn: np.ndarray) -> np.ndarray:
        true = drawn @ self.true
        return np.stack(
            [
                metric_of_totals(self.metric, true, drawn @ predicted, drawn @ correct)
                for predicted, correct in zip(self.predicted, self.correct, strict=True)
            ]
        )

    def influence(self, method: int) -> np.ndarray:
        """Return by how much the metric of a method falls if one such unit is left out, (units,).

        Each metric is a mean of ratios of sums over the classes. Without a unit a ratio falls by
        (numerator - ratio * denominator) / (sum of denominators - denominator), all of the unit.
        """
        true, predicted, correct = self.true, self.predicted[method], self.correct[method]
        if self.metric == "accuracy":
            true, correct = true.sum(axis=1, keepdims=True), correct.sum(axis=1, keepdims=True)
        numerator, denominator = correct, true
        if self.metric == "macro_f1":
            numerator, denominator = 2 * correct, true + predicted
        occurs = self.counts @ true > 0
        numerator, denominator = numerator[:, occurs], denominator[:, occurs]
        total = self.counts @ denominator
        residuals = numerator - (self.counts @ numerator) / total * denominator
        rest = total - denominator
        rest[rest == 0] = 1  # a class of one unit only: the residual is 0
        influence: np.ndarray = (residuals / rest).mean(axis=1)
        return influence

    def exchange_test(self, params: "EvaluateClassifier") -> float:
        """Return the two-sided p value: that exchanging two methods' predictions gains as much.

        In each permutation the two predictions of each unit change places with probability 1/2 (Yeh,
        2000, section 3). Of at most 20 groups in which the methods differ every exchange is tried,
        otherwise random ones: p is (1 + extreme) / (1 + draws) (Phipson and Smyth, 2010).
        """
        changes = [second - first for first, second in (self.predicted, self.correct)]
        moving = np.flatnonzero(np.any([change.any(axis=1) for change in changes], axis=0))
        groups = np.repeat(moving, self.counts[moving])
        if self.grouped and len(groups) <= MOST_ENUMERATED:
            return self._enumerate(changes, groups)
        random = np.random.default_rng(params.seed)
        extreme = sum(
            self._extreme(changes, random.binomial(self.counts, 0.5, size=(size, len(self.counts))))
            for size in self._sizes(params.resamples, "permutations")
        )
        return (1 + extreme) / (1 + params.resamples)

    def _enumerate(self, changes: Sequence[np.ndarray], groups: np.ndarray) -> float:
        # To exchange all groups changes the sign alone, so the last one stays: half of all cases.
        free = max(0, len(groups) - 1)
        changes, groups = [change[groups] for change in changes], np.arange(len(groups))
        extreme = 0
        for start in progress(range(0, 2**free, 2**16), "permutations"):
            numbers = np.arange(start, min(start + 2**16, 2**free))
            extreme += self._extreme(changes, numbers[:, None] >> groups & 1)
        return extreme / float(2**free)

    def _extreme(self, changes: Sequence[np.ndarray], exchanged: np.ndarray) -> int:
        """Return how many rows of `exchanged` (size, units) gain as much as was observed."""
        before, after = self.scores()
        moved = [exchanged @ change for change in changes]
        true = np.broadcast_to(self.counts @ self.true, moved[0].shape)
        first, second = (
            metric_of_totals(
                self.metric,
                true,
                self.counts @ self.predicted[method] + sign * moved[0],
                self.counts @ self.correct[method] + sign * moved[1],
            )
            for method, sign in ((0, 1), (1, -1))
        )
        return int((np.abs(second - first) >= abs(after - before) - 1e-12).sum())

    def _sizes(self, resamples: int, title: str) -> Iterator[int]:
        width = max(self.true.shape)
        part = max(1, _VALUES_AT_ONCE // width)
        for start in progress(range(0, resamples, part), title):
            yield min(part, resamples - start)


def _totals_of_groups(
    totals: Sequence[np.ndarray], cell: np.ndarray, groups: np.ndarray
) -> tuple[list[np.ndarray], np.ndarray]:
    """Return the totals of each distinct group, (units, classes) each, and their counts.

    Args:
        totals: of each cell, (cells, classes) each.
        cell: of each sample, (n,).
        groups: the number of each sample's group, (n,).
    """
    from scipy.sparse import coo_array

    single = np.ones(len(cell), dtype=np.int64)
    composition = coo_array((single, (groups, cell))).tocsr()
    rows, counts = np.unique(composition @ np.hstack(totals), axis=0, return_counts=True)
    return np.split(rows, len(totals), axis=1), counts
