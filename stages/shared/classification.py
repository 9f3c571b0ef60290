"""How well predicted probabilities fit labels: scores, tables, calibration. No torch needed."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from stages.shared.files import DIGITS

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Said:
    """What a method said of samples, (n,) each: all that its scores are computed from.

    Confidences and losses have the digits with which they are written, so that whoever reads them
    back gets the same scores.

    Attributes:
        predicted: the label with the highest probability, integers.
        confidence: that probability.
        loss: the negative log probability of the true label, in nats.
    """

    predicted: np.ndarray
    confidence: np.ndarray
    loss: np.ndarray


def said(probabilities: np.ndarray, labels: np.ndarray) -> Said:
    """Return what probabilities (n, classes) say of samples with the true `labels` (n,)."""
    given = probabilities[np.arange(len(labels)), labels].astype(np.float64)
    return Said(
        probabilities.argmax(axis=1),
        probabilities.max(axis=1).astype(np.float64).round(DIGITS),
        (-np.log(np.clip(given, 1e-12, 1)) + 0.0).round(DIGITS),
    )


def log_loss(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """Return the mean negative log probability of the labels, in nats.

    Args:
        probabilities: (n, classes).
        labels: (n,), integers.
    """
    return float(said(probabilities, labels).loss.mean())


def confusion(labels: np.ndarray, predicted: np.ndarray, classes: int) -> np.ndarray:
    """Return counts (classes, classes): row the true class, column the predicted one."""
    counts = np.bincount(labels * classes + predicted, minlength=classes * classes)
    return counts.reshape(classes, classes)


def per_class(counts: np.ndarray, names: list[str]) -> "pd.DataFrame":
    """Return precision, recall, F1 and counts of each class of a confusion matrix; 0 where empty."""
    import pandas as pd

    right = np.diag(counts).astype(float)
    support, called = counts.sum(axis=1), counts.sum(axis=0)
    precision = np.divide(right, called, out=np.zeros_like(right), where=called > 0)
    recall = np.divide(right, support, out=np.zeros_like(right), where=support > 0)
    both = precision + recall
    f1 = np.divide(2 * precision * recall, both, out=np.zeros_like(right), where=both > 0)
    return pd.DataFrame(
        {
            "class": names,
            "count": support,
            "right": right.astype(int),
            "predicted": called,
            "precision": precision,
            "recall": recall,
            "f1": f1,
        }
    )


def reliability(found: Said, labels: np.ndarray, bins: int) -> "pd.DataFrame":
    """Return mean confidence, accuracy and count in each bin of confidence that is not empty.

    Bins of equal width over (0, 1], by the confidence in the predicted class (Guo et al., 2017,
    section 2).
    """
    import pandas as pd

    confidence, right = found.confidence, found.predicted == labels
    index = np.searchsorted(np.arange(1, bins) / bins, confidence, side="left")
    count = np.bincount(index, minlength=bins)
    full = count > 0
    return pd.DataFrame(
        {
            "bin_low": (np.arange(bins) / bins)[full],
            "confidence": np.bincount(index, confidence, bins)[full] / count[full],
            "accuracy": np.bincount(index, right, bins)[full] / count[full],
            "count": count[full],
        }
    )


def calibration_error(curve: "pd.DataFrame") -> float:
    """Return the expected calibration error of a reliability curve (Guo et al., 2017, equation 3)."""
    gap = (curve["accuracy"] - curve["confidence"]).abs()
    return float((gap * curve["count"]).sum() / curve["count"].sum())


def scores(found: Said, labels: np.ndarray, classes: int, bins: int) -> dict[str, Any]:
    """Return accuracy, macro F1, log loss and expected calibration error.

    Macro F1 is the mean over the classes that occur among `labels`.
    """
    counts = confusion(labels, found.predicted, classes)
    table = per_class(counts, [""] * len(counts))
    return {
        "accuracy": float(np.trace(counts) / counts.sum()),
        "macro_f1": float(table.loc[table["count"] > 0, "f1"].mean()),
        "log_loss": float(found.loss.mean()),
        "calibration_error": calibration_error(reliability(found, labels, bins)),
    }
