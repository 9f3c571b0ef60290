"""A classifier beside its baseline on slices of the test data: where it gains, and where it loses."""

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from scipy import special

from stages.evaluation.clustered import clustering, group_codes
from stages.evaluation.significance import proportion_interval

if TYPE_CHECKING:
    from collections.abc import Mapping

_FEW_SAMPLES = 10


def slice_metrics(
    columns: "Mapping[str, np.ndarray]",
    correct: np.ndarray,
    baseline_correct: np.ndarray,
    groups: np.ndarray,
    confidence: float,
) -> pd.DataFrame:
    """Return the accuracy and the gain over the baseline for each value of each column.

    The intervals of the gains hold together: each has the level 1 - (1 - confidence) / slices (Bonferroni).
    The Wilson intervals of the accuracies (low, high) each hold for themselves.

    Args:
        columns: by name, (n,) each; samples with the same value are a slice.
        correct: whether the model is correct, (n,), bool.
        baseline_correct: whether the baseline is correct, (n,), bool.
        groups: of the samples, (n,).
        confidence: level of each interval of an accuracy, and of all intervals of gains together.

    Returns:
        slice, value, count, accuracy, low, high, baseline_accuracy, gain, gain_low, gain_high, verdict
        (better, worse, not distinguishable), errors, baseline_errors.
    """
    table = pd.DataFrame({"model": correct, "baseline": baseline_correct, "group": groups})
    slices = [
        (name, value, samples)
        for name, values in columns.items()
        for value, samples in table.groupby(values, sort=True)
    ]
    alpha = (1 - confidence) / len(slices) if slices else 1.0
    return pd.DataFrame(
        [
            {"slice": name, "value": value, **_slice_scores(samples, confidence, alpha)}
            for name, value, samples in slices
        ]
    )


def _slice_scores(samples: pd.DataFrame, confidence: float, alpha: float) -> dict[str, Any]:
    count = len(samples)
    by_model, by_baseline = int(samples["model"].sum()), int(samples["baseline"].sum())
    low, high = proportion_interval(by_model, count, confidence)
    differences = samples["model"].to_numpy(int) - samples["baseline"].to_numpy(int)
    gain_low, gain_high = paired_interval(differences, samples["group"].to_numpy(), alpha)
    return {
        "count": count,
        "accuracy": by_model / count,
        "low": low,
        "high": high,
        "baseline_accuracy": by_baseline / count,
        "gain": (by_model - by_baseline) / count,
        "gain_low": gain_low,
        "gain_high": gain_high,
        "verdict": interval_verdict(gain_low, gain_high),
        "errors": count - by_model,
        "baseline_errors": count - by_baseline,
    }


def interval_verdict(low: float, high: float) -> str:
    """Return what the interval of a gain says: better, worse, or not distinguishable."""
    if low > 0:
        return "better"
    return "worse" if high < 0 else "not distinguishable"


def paired_interval(
    differences: np.ndarray, groups: np.ndarray, alpha: float
) -> tuple[float, float]:
    """Return the interval of the mean of paired differences of 0 and 1, at the level 1 - `alpha`.

    It is the adjusted Wald interval for paired proportions (Bonett and Price, 2012), which adds a sample
    that only the model gets right and one that only the baseline gets right, so it holds for small counts.
    Where some of several groups have several samples, it is at least as wide as the cluster-robust
    t interval.

    Args:
        differences: of each sample, (n,): 1, 0 or -1.
        groups: of the samples, (n,).
        alpha: chance that the mean lies outside.
    """
    count = len(differences)
    fixed, broken = ((differences == sign).sum() for sign in (1, -1))
    new, old = (fixed + 1) / (count + 2), (broken + 1) / (count + 2)
    reach = -special.ndtri(alpha / 2) * np.sqrt((new + old - (new - old) ** 2) / (count + 2))
    low, high = float(new - old - reach), float(new - old + reach)
    codes = group_codes(groups)
    if codes is not None and codes.max() > 0:
        by_group = _cluster_interval(differences, codes, alpha)
        low, high = min(low, by_group[0]), max(high, by_group[1])
    return max(-1.0, low), min(1.0, high)


def _cluster_interval(
    differences: np.ndarray, codes: np.ndarray, alpha: float
) -> tuple[float, float]:
    total, count = differences.sum(), len(differences)
    sums, sizes = np.bincount(codes, differences), np.bincount(codes)
    values, counts = np.unique(differences, return_counts=True)
    mean = total / count
    without_group = (total - sums) / (count - sizes)
    without_sample = (total - values) / (count - 1)
    spread = clustering(mean - without_group, mean - without_sample, counts, sizes)
    return spread.t_interval(float(mean), 1 - alpha, (-1.0, 1.0))


def worst_slice(slices: pd.DataFrame) -> dict[str, Any] | None:
    """Return the slice in which the model loses most to the baseline; None where it loses in none.

    Those whose verdict is worse come first, then those of at least 10 samples, then the lowest gain.

    Args:
        slices: as `slice_metrics` returns them.
    """
    losing = slices[slices["gain"] < 0]
    if losing.empty:
        return None
    ranks = losing.assign(unsure=losing["verdict"] != "worse", small=losing["count"] < _FEW_SAMPLES)
    order = ["unsure", "small", "gain", "gain_high", "slice", "value"]
    row = losing.loc[ranks.sort_values(order, kind="stable").index[0]]
    return {str(key): value for key, value in row.items()}


def contrast_consistency(
    groups: np.ndarray, labels: np.ndarray, correct: np.ndarray
) -> tuple[int, int]:
    """Return the number of contrast sets with all samples correct, and the number of contrast sets.

    A contrast set is a group with several labels: texts that differ in a few words and in their label.
    A model that gets only part of a set right decides by something else than what sets its texts apart
    (contrast consistency; Gardner et al., 2020, section 2).

    Args:
        groups: (n,).
        labels: (n,).
        correct: (n,), bool.
    """
    table = pd.DataFrame({"group": groups, "label": labels, "correct": correct})
    by_group = table.groupby("group").agg(labels=("label", "nunique"), correct=("correct", "all"))
    contrast_sets = by_group[by_group["labels"] > 1]
    return int(contrast_sets["correct"].sum()), len(contrast_sets)
