"""The verdict on a model beside its baseline, and the interval of each one's score, by any metric.

Accuracy of independent samples is a mean, so `significance` has exact tests for it. Balanced accuracy and
macro F1 are none: their intervals come from the bootstrap and their test from exchanging predictions.
Where samples come in groups, whole groups are drawn and exchanged (`clustered`, `resampling`).
"""

from collections.abc import Hashable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from stages.evaluation.classification_metrics import metric_score
from stages.evaluation.clustered import (
    Clustering,
    clustering,
    group_codes,
    sign_flip_test,
    wilson_interval,
)
from stages.evaluation.resampling import Units
from stages.evaluation.significance import (
    bootstrap_interval,
    equivalence_test,
    mcnemar_test,
    proportion_interval,
    smallest_detectable_gain,
    smallest_detectable_mean_gain,
)
from stages.evaluation.verdict import (
    GROUP_PERMUTATION,
    MCNEMAR,
    PERMUTATION,
    POWER,
    SIGN_FLIP,
    Evidence,
    Improvement,
    judge,
    smallest_p,
)

if TYPE_CHECKING:
    from stages.core.schema import EvaluateClassifier

Groups = Sequence[Hashable] | np.ndarray | None
_SCORES, _GAINS = (0.0, 1.0), (-1.0, 1.0)  # what they lie between


def metric_interval(
    metric: str,
    labels: np.ndarray,
    predicted: np.ndarray,
    classes: int,
    params: "EvaluateClassifier",
    groups: Groups = None,
) -> tuple[float, float]:
    """Return the interval of a metric: Wilson's of accuracy, else the percentile bootstrap's.

    Of samples in groups: Wilson's with the effective count and quantiles of t, else that of the cluster
    bootstrap (`Clustering.bootstrap_interval`).

    Args:
        metric: one of `metric_names.METRICS`.
        labels: the true classes, (n,), integers.
        predicted: the predicted classes, (n,), integers.
        classes: how many there are.
        params: confidence, resamples, seed.
        groups: of each sample, (n,), any hashable values; None: samples are independent.
    """
    codes, confidence = group_codes(groups), params.confidence
    correct = int((labels == predicted).sum())
    if codes is None and metric == "accuracy":
        return proportion_interval(correct, len(labels), confidence)
    samples = Units(metric, labels, [predicted], classes)
    if codes is None:
        return _percentiles(samples.bootstrap(params)[0], confidence)
    units = Units(metric, labels, [predicted], classes, codes)
    spread = _clustering(units, units.influence(0), samples, samples.influence(0))
    if metric == "accuracy":
        count = spread.effective_count(len(labels))
        share = correct / len(labels)
        return wilson_interval(share, count, spread.quantile((1 - confidence) / 2))
    score = float(units.scores()[0])
    return spread.bootstrap_interval(score, units.bootstrap(params)[0], confidence, _SCORES)


def compare_predictions(
    labels: np.ndarray,
    baseline: np.ndarray,
    seeds: np.ndarray,
    classes: int,
    params: "EvaluateClassifier",
    groups: Groups = None,
) -> Improvement:
    """Return the verdict on the primary seed's model against the baseline, by `evaluate.metric`.

    The rule is that of `verdict.decide`. The test is McNemar's (accuracy) or a permutation test
    (other metrics); of samples in groups, a sign-flip or permutation test over groups. Where each group
    has one sample, the figures are those without groups.

    Args:
        labels: the true classes, (n,), integers.
        baseline: the classes that the baseline predicts, (n,), integers.
        seeds: the classes that each seed's model predicts, (seeds, n); the primary seed first.
        classes: how many there are.
        params: metric, confidence, resamples, seed, worthwhile_gain, assumed_regressions,
            equivalence_margin.
        groups: of each sample, (n,), any hashable values; None: samples are independent.
    """
    metric = params.metric
    before = metric_score(metric, labels, baseline, classes)
    gains = np.array([metric_score(metric, labels, row, classes) - before for row in seeds])
    codes = group_codes(groups)
    if codes is None:
        evidence = _evidence_of_samples(labels, baseline, seeds[0], classes, params)
    else:
        evidence = _evidence_of_groups(labels, baseline, seeds[0], classes, params, codes)
    improvement = judge(evidence, gains, params)
    return Improvement(improvement.verdict, {"metric": metric, **improvement.figures})


def equality_test(
    labels: np.ndarray,
    baseline: np.ndarray,
    predicted: np.ndarray,
    classes: int,
    params: "EvaluateClassifier",
    groups: Groups = None,
) -> tuple[str, float]:
    """Return the name and the two-sided p value of the test that `compare_predictions` rests on.

    For accuracy it costs well under a millisecond a thousand samples. Arguments as there; `predicted`
    is one model's, (n,).
    """
    codes = group_codes(groups)
    if params.metric == "accuracy":
        change = (predicted == labels).astype(np.int64) - (baseline == labels)
        if codes is None:
            return MCNEMAR, mcnemar_test(int((change > 0).sum()), int((change < 0).sum()))
        sums = np.bincount(codes, change).round().astype(np.int64)
        return SIGN_FLIP, sign_flip_test(sums)
    units = Units(params.metric, labels, [baseline, predicted], classes, codes)
    return PERMUTATION if codes is None else GROUP_PERMUTATION, units.exchange_test(params)


def _evidence_of_samples(
    labels: np.ndarray,
    baseline: np.ndarray,
    predicted: np.ndarray,
    classes: int,
    params: "EvaluateClassifier",
) -> Evidence:
    if params.metric == "accuracy":
        change = (predicted == labels).astype(float) - (baseline == labels)
        interval = bootstrap_interval(change, params.confidence, params.resamples, params.seed)
    else:
        units = Units(params.metric, labels, [baseline, predicted], classes)
        scores = units.bootstrap(params)
        interval = _percentiles(scores[1] - scores[0], params.confidence)
    test, p = equality_test(labels, baseline, predicted, classes, params)
    fixed, broken = _changes(labels, baseline, predicted)
    return Evidence(
        interval=interval,
        fixed=fixed,
        broken=broken,
        test=test,
        p=p,
        smallest_p=0.0,
        detectable=_detectable(labels, len(labels), params),
        equivalence_p=_equivalence_p(fixed, broken, len(labels), params),
        of_groups={},
    )


def _evidence_of_groups(
    labels: np.ndarray,
    baseline: np.ndarray,
    predicted: np.ndarray,
    classes: int,
    params: "EvaluateClassifier",
    codes: np.ndarray,
) -> Evidence:
    """Return the evidence of samples in groups, their numbers (n,) from 0."""
    methods, count = [baseline, predicted], len(labels)
    units, samples = (
        Units(params.metric, labels, methods, classes, groups) for groups in (codes, None)
    )
    spread = _clustering(
        units,
        units.influence(1) - units.influence(0),
        samples,
        samples.influence(1) - samples.influence(0),
    )
    gain, scores = float(np.diff(units.scores())[0]), units.bootstrap(params)
    test, p = equality_test(labels, baseline, predicted, classes, params, codes)
    effective = spread.detecting_count(count, 1 - params.confidence, POWER)
    size = count / spread.effective_count(count)  # samples that say as much as an independent one
    fixed, broken = _changes(labels, baseline, predicted)
    return Evidence(
        interval=spread.bootstrap_interval(gain, scores[1] - scores[0], params.confidence, _GAINS),
        fixed=fixed,
        broken=broken,
        test=test,
        p=p,
        smallest_p=smallest_p(spread.groups),
        detectable=_detectable(labels, effective, params),
        equivalence_p=_equivalence_p(fixed / size, broken / size, count / size, params),
        of_groups=_group_figures(spread, gain, count, params),
    )


def _equivalence_p(
    fixed: float, broken: float, count: float, params: "EvaluateClassifier"
) -> float:
    margin = params.equivalence_margin
    return 1.0 if margin is None else equivalence_test(fixed, broken, count, margin)


def _group_figures(
    spread: Clustering, gain: float, count: int, params: "EvaluateClassifier"
) -> dict[str, Any]:
    low, high = spread.t_interval(gain, params.confidence, _GAINS)
    return {
        "groups": spread.groups,
        "gain_t_low": low,
        "gain_t_high": high,
        "degrees_of_freedom": spread.degrees,
        "design_effect": spread.design_effect,
        "effective_n": spread.effective_count(count),
    }


def _changes(labels: np.ndarray, baseline: np.ndarray, predicted: np.ndarray) -> tuple[int, int]:
    """Return how many samples the model fixes and breaks."""
    before, after = baseline == labels, predicted == labels
    return int((after & ~before).sum()), int((before & ~after).sum())


def _detectable(labels: np.ndarray, count: float, params: "EvaluateClassifier") -> float:
    """Return the smallest detectable gain of as many independent samples, which may be fractional."""
    alpha, regressions = 1 - params.confidence, params.assumed_regressions
    if count < 1:
        return 1.0
    if params.metric == "accuracy":
        return smallest_detectable_gain(regressions, int(count), alpha)
    counts = np.unique(labels, return_counts=True)[1] * (count / len(labels))
    return smallest_detectable_mean_gain(regressions, counts, alpha)


def _percentiles(values: np.ndarray, confidence: float) -> tuple[float, float]:
    tail = (1 - confidence) / 2
    low, high = np.quantile(values, [tail, 1 - tail])
    return float(low), float(high)


def _clustering(
    units: Units, of_units: np.ndarray, samples: Units, of_samples: np.ndarray
) -> Clustering:
    """Return the clustering of an estimate, from the influence of each distinct group and sample."""
    of_groups, sizes = (
        np.repeat(values, units.counts) for values in (of_units, units.true.sum(axis=1))
    )
    return clustering(of_groups, of_samples, samples.counts, sizes)
