"""The figures of metrics.json that follow from the predictions of one method, or of two."""

from typing import TYPE_CHECKING, Any

import numpy as np

from stages.evaluation import classification_metrics
from stages.evaluation.classification_metrics import Predictions
from stages.evaluation.loss_significance import compare_losses
from stages.evaluation.metric_significance import compare_predictions, metric_interval

if TYPE_CHECKING:
    from stages.core.schema import EvaluateClassifier


def improvement_figures(
    labels: np.ndarray,
    baseline: Predictions,
    model: Predictions,
    seeds: np.ndarray,
    classes: int,
    params: "EvaluateClassifier",
    groups: np.ndarray,
) -> dict[str, Any]:
    """Return the verdict on the primary seed's model, with its figures and the difference in log loss.

    Args:
        labels: the true classes of the test samples, (n,), integers.
        baseline: predictions of the strongest baseline.
        model: predictions of the primary seed's model.
        seeds: the classes that each seed's model predicts, (seeds, n); the primary seed first.
        classes: how many there are.
        params: of the stage evaluate.
        groups: of each sample, (n,).
    """
    improvement = compare_predictions(labels, baseline.predicted, seeds, classes, params, groups)
    return {
        "verdict": improvement.verdict,
        **improvement.figures,
        **compare_losses(baseline.loss, model.loss, params, groups),
    }


def method_scores(
    predictions: Predictions,
    labels: np.ndarray,
    classes: int,
    params: "EvaluateClassifier",
    groups: np.ndarray,
) -> dict[str, Any]:
    """Return a method's scores, with the intervals of accuracy and of `evaluate.metric`.

    Arguments as of `improvement_figures`.
    """
    scores = classification_metrics.compute_scores(predictions, labels, classes, params.bins)
    scores["calibration_error_chance"] = classification_metrics.calibration_error_by_chance(
        predictions.confidence, params.bins, params.confidence, params.seed
    )
    for metric in {"accuracy": None, params.metric: None}:
        low, high = metric_interval(metric, labels, predictions.predicted, classes, params, groups)
        scores |= {f"{metric}_low": low, f"{metric}_high": high}
    return scores
