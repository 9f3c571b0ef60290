"""Scores of predictions: accuracy, balanced accuracy, F1, log loss, calibration. No torch needed."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from stages.core.files import DIGITS
from stages.evaluation.metric_names import METRICS

if TYPE_CHECKING:
    import pandas as pd

_CALIBRATION_DRAWS = 2000
_MOST_DRAWN = 1000  # samples of a bin whose correctness is drawn one by one


@dataclass(frozen=True)
class Predictions:
    """A method's predictions for samples, (n,) each: all that its scores are computed from.

    Confidences and losses have the digits in which they are written, so that scores computed from the
    files are the same.

    Attributes:
        predicted: the label with the highest probability, integers.
        confidence: that probability.
        loss: the negative log probability of the true label, in nats.
    """

    predicted: np.ndarray
    confidence: np.ndarray
    loss: np.ndarray


def predictions_from(probabilities: np.ndarray, labels: np.ndarray) -> Predictions:
    """Return the predictions of `probabilities` (n, classes) for samples with the true `labels` (n,)."""
    of_label = probabilities[np.arange(len(labels)), labels].astype(np.float64)
    return Predictions(
        probabilities.argmax(axis=1),
        probabilities.max(axis=1).astype(np.float64).round(DIGITS),
        (-np.log(np.clip(of_label, 1e-12, 1)) + 0.0).round(DIGITS),
    )


def log_loss(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """Return the mean negative log probability of the labels, in nats.

    Args:
        probabilities: (n, classes).
        labels: (n,), integers.
    """
    return float(predictions_from(probabilities, labels).loss.mean())


def confusion_counts(labels: np.ndarray, predicted: np.ndarray, classes: int) -> np.ndarray:
    """Return counts (classes, classes): row the true class, column the predicted one."""
    from sklearn.metrics import confusion_matrix

    counts: np.ndarray = confusion_matrix(labels, predicted, labels=range(classes))
    return counts


def metric_of_totals(
    metric: str, true: np.ndarray, predicted: np.ndarray, correct: np.ndarray
) -> np.ndarray:
    """Return a metric of the samples counted by class, (...).

    Balanced accuracy is the mean recall (Brodersen et al., 2010), macro F1 the mean F1, of the classes
    that occur.

    Args:
        metric: one of `METRICS`.
        true: (..., classes), samples of each class; at least one in all.
        predicted: (..., classes), samples that are predicted to be of each class.
        correct: (..., classes), samples of each class that are predicted correctly.
    """
    if metric == "accuracy":
        share: np.ndarray = correct.sum(axis=-1) / true.sum(axis=-1)
        return share
    occurs = true > 0
    scores = (
        correct / np.maximum(true, 1)
        if metric == "balanced_accuracy"
        else 2 * correct / np.maximum(true + predicted, 1)
    )
    mean: np.ndarray = np.where(occurs, scores, 0.0).sum(axis=-1) / occurs.sum(axis=-1)
    return mean


def metric_score(metric: str, labels: np.ndarray, predicted: np.ndarray, classes: int) -> float:
    """Return a metric of predictions.

    Args:
        metric: one of `METRICS`.
        labels: the true classes, (n,), integers.
        predicted: the predicted classes, (n,), integers.
        classes: how many there are.
    """
    true, guessed, correct = (
        np.bincount(values, minlength=classes)
        for values in (labels, predicted, labels[labels == predicted])
    )
    return float(metric_of_totals(metric, true, guessed, correct))


def per_class_scores(counts: np.ndarray, names: list[str]) -> "pd.DataFrame":
    """Return precision, recall, F1 and counts of each class of a confusion matrix; 0 where empty."""
    import pandas as pd
    from sklearn.metrics import precision_recall_fscore_support

    true, predicted = np.nonzero(counts)  # a weight for each cell stands for its samples
    precision, recall, f1, _ = precision_recall_fscore_support(
        true,
        predicted,
        labels=range(len(counts)),
        sample_weight=counts[true, predicted],
        zero_division=0,
    )
    return pd.DataFrame(
        {
            "class": names,
            "count": counts.sum(axis=1),
            "correct": np.diag(counts),
            "predicted": counts.sum(axis=0),
            "precision": precision,
            "recall": recall,
            "f1": f1,
        }
    )


def reliability_curve(predictions: Predictions, labels: np.ndarray, bins: int) -> "pd.DataFrame":
    """Return mean confidence, accuracy and count in each bin of confidence that is not empty.

    Bins of equal width over (0, 1], by the confidence in the predicted class (Guo et al., 2017,
    section 2).
    """
    import pandas as pd

    confidence, correct = predictions.confidence, predictions.predicted == labels
    index = _bin_index(confidence, bins)
    count = np.bincount(index, minlength=bins)
    full = count > 0
    return pd.DataFrame(
        {
            "bin_low": (np.arange(bins) / bins)[full],
            "confidence": np.bincount(index, confidence, bins)[full] / count[full],
            "accuracy": np.bincount(index, correct, bins)[full] / count[full],
            "count": count[full],
        }
    )


def _bin_index(confidence: np.ndarray, bins: int) -> np.ndarray:
    """Return the bin of each confidence, (n,), from 0."""
    index: np.ndarray = np.searchsorted(np.arange(1, bins) / bins, confidence, side="left")
    return index


def calibration_error(curve: "pd.DataFrame") -> float:
    """Return the expected calibration error of a reliability curve (Guo et al., 2017, equation 3)."""
    gap = (curve["accuracy"] - curve["confidence"]).abs()
    return float((gap * curve["count"]).sum() / curve["count"].sum())


def calibration_error_by_chance(
    confidence: np.ndarray, bins: int, level: float, seed: int
) -> float:
    """Return the expected calibration error that perfectly calibrated predictions stay below.

    Whether each prediction is right is drawn with its confidence as the probability (consistency
    resampling, Bröcker and Smith, 2007), and the error computed as of real labels; samples
    are taken to be independent. An error above this value is more than chance.

    Args:
        confidence: of each prediction, (n,).
        bins: of the reliability curve.
        level: share of such draws whose error is smaller.
        seed: of the draws.
    """
    random = np.random.default_rng(seed)
    errors = np.zeros(_CALIBRATION_DRAWS)
    index = _bin_index(confidence, bins)
    for chances in (confidence[index == number] for number in np.unique(index)):
        expected = chances.sum()
        if len(chances) > _MOST_DRAWN:  # the number of right ones is as good as normal
            correct = random.normal(expected, np.sqrt((chances * (1 - chances)).sum()), len(errors))
        else:
            correct = (random.random((len(errors), len(chances))) < chances).sum(axis=1)
        errors += np.abs(correct - expected)
    return float(np.quantile(errors, level) / len(confidence))


def compute_scores(
    predictions: Predictions, labels: np.ndarray, classes: int, bins: int
) -> dict[str, Any]:
    """Return each of `METRICS`, log loss and expected calibration error.

    Balanced accuracy and macro F1 are means over the classes that occur among `labels`.
    """
    predicted = predictions.predicted
    return {
        **{metric: metric_score(metric, labels, predicted, classes) for metric in METRICS},
        "log_loss": float(predictions.loss.mean()),
        "calibration_error": calibration_error(reliability_curve(predictions, labels, bins)),
    }
