"""Scores of a classifier and its baseline on slices of the test data."""

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from stages.evaluation.significance import proportion_interval

if TYPE_CHECKING:
    from collections.abc import Mapping


def slice_metrics(
    columns: "Mapping[str, np.ndarray]",
    correct: np.ndarray,
    baseline_correct: np.ndarray,
    confidence: float,
) -> pd.DataFrame:
    """Return accuracy and its Wilson interval for each value of each column.

    Args:
        columns: by name, (n,) each; samples with the same value are a slice.
        correct: whether the model is correct, (n,), bool.
        baseline_correct: whether the baseline is correct, (n,), bool.
        confidence: level of each interval, not corrected for their number.

    Returns:
        slice, value, count, accuracy, low, high, baseline_accuracy, errors, baseline_errors.
    """
    rows = []
    for name, values in columns.items():
        table = pd.DataFrame({"value": values, "model": correct, "baseline": baseline_correct})
        for value, samples in table.groupby("value", sort=True):
            count = len(samples)
            by_model, by_baseline = int(samples["model"].sum()), int(samples["baseline"].sum())
            low, high = proportion_interval(by_model, count, confidence)
            rows.append(
                {
                    "slice": name,
                    "value": value,
                    "count": count,
                    "accuracy": by_model / count,
                    "low": low,
                    "high": high,
                    "baseline_accuracy": by_baseline / count,
                    "errors": count - by_model,
                    "baseline_errors": count - by_baseline,
                }
            )
    return pd.DataFrame(rows)


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
