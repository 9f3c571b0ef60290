"""How good a classifier is on parts of the test data, beside its baseline."""

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from stages.shared.statistics import proportion_interval

if TYPE_CHECKING:
    from collections.abc import Mapping


def slices(
    columns: "Mapping[str, np.ndarray]",
    right: np.ndarray,
    baseline_right: np.ndarray,
    confidence: float,
) -> pd.DataFrame:
    """Return accuracy and its Wilson interval on each value of each column.

    Args:
        columns: (n,) each, by name; each value is a slice.
        right: (n,), bool, what the model got right.
        baseline_right: (n,), bool.
        confidence: of the intervals; each stands for itself, none is corrected for their number.

    Returns:
        slice, value, count, accuracy, low, high, baseline_accuracy, errors, baseline_errors.
    """
    rows = []
    for name, values in columns.items():
        table = pd.DataFrame({"value": values, "right": right, "baseline": baseline_right})
        for value, inside in table.groupby("value", sort=True):
            count, good = len(inside), int(inside["right"].sum())
            simple = int(inside["baseline"].sum())
            low, high = proportion_interval(good, count, confidence)
            rows.append(
                {
                    "slice": name,
                    "value": value,
                    "count": count,
                    "accuracy": good / count,
                    "low": low,
                    "high": high,
                    "baseline_accuracy": simple / count,
                    "errors": count - good,
                    "baseline_errors": count - simple,
                }
            )
    return pd.DataFrame(rows)


def consistent_groups(groups: np.ndarray, labels: np.ndarray, right: np.ndarray) -> tuple[int, int]:
    """Return how many groups of more than one label are right whole, and how many there are.

    Contrast consistency (Gardner et al., 2020, section 2): who is right on one text and not on its
    minimal edit of another label, was right for a wrong reason.

    Args:
        groups: (n,).
        labels: (n,).
        right: (n,), bool.
    """
    table = pd.DataFrame({"group": groups, "label": labels, "right": right})
    found = table.groupby("group").agg(labels=("label", "nunique"), right=("right", "all"))
    contrasting = found[found["labels"] > 1]
    return int(contrasting["right"].sum()), len(contrasting)
