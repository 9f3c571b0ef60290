"""The baselines of a classifier: simple methods, their scores, and the strongest of them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import special

from stages.core.errors import UserError
from stages.evaluation.classification_metrics import compute_scores, log_loss, predictions_from
from stages.evaluation.metric_names import METRICS

if TYPE_CHECKING:
    from stages.core.files import Content
    from stages.datasets.dataset import Dataset

_BINS = 10
NEVER = -1e9  # the bias of a class without training samples: it is never predicted


@dataclass(frozen=True)
class FittedBaselines:
    """The baselines, fitted, with their predictions for the test data.

    Attributes:
        summary: the strongest method, the validation scores of each, and the number of training
            samples it was fitted on.
        arrays: the fitted parameters.
        probabilities: of the test data, by baseline, (n, classes) each.
        extra_files: further files of the kind.
    """

    summary: dict[str, Any]
    arrays: dict[str, np.ndarray]
    probabilities: dict[str, np.ndarray]
    extra_files: "Mapping[str, Content]" = field(default_factory=dict)

    def files(self) -> "dict[str, Content]":
        """Return the files that the stage writes."""
        return {
            "baseline.json": self.summary,
            "models.safetensors": self.arrays,
            "test.safetensors": self.probabilities,
            **self.extra_files,
        }


def require_two_classes(labels: np.ndarray, key: str, value: int) -> None:
    """Check that the training sample of a baseline has at least two classes.

    Args:
        labels: of the training sample, (n,).
        key: the full key of the param that limits its size.
        value: of that param.

    Raises:
        UserError: the sample has one class only.
    """
    if len(np.unique(labels)) < 2:  # noqa: PLR2004
        raise UserError(f"{key}: given {value}; a sample of this size has one class only: raise it")


def compare_baselines(
    dataset: "Dataset",
    fitted_on: Mapping[str, int],
    predict: Callable[[str, str], np.ndarray],
    training_labels: Mapping[str, np.ndarray],
    details: Mapping[str, Any],
    arrays: dict[str, np.ndarray],
    metric: str,
) -> FittedBaselines:
    """Return the fitted baselines; the strongest has the highest score on validation data.

    Args:
        dataset: the prepared samples.
        fitted_on: by baseline, the simplest first, the number of training samples it was fitted on.
        predict: (baseline, split) -> probabilities (n, classes); for "train", of the samples that the
            baseline was fitted on.
        training_labels: by baseline, the labels of those samples.
        details: further keys of the summary: "input", "converged".
        arrays: the fitted parameters.
        metric: `evaluate.metric`, which decides.
    """
    labels = dataset.labels("validation")
    count = len(dataset.classes)
    validation = {
        name: compute_scores(
            predictions_from(predict(name, "validation"), labels), labels, count, _BINS
        )
        for name in fitted_on
    }
    strongest = max(validation, key=lambda name: float(validation[name][metric]))
    training = {name: log_loss(predict(name, "train"), training_labels[name]) for name in fitted_on}
    return FittedBaselines(
        {
            "strongest": strongest,
            "methods": list(fitted_on),
            "rule": f"highest {METRICS[metric]} on validation data, the simpler one of equals",
            "validation": validation,
            "training_log_loss": training,
            "fitted_on": dict(fitted_on),
            **details,
        },
        arrays,
        {name: predict(name, "test") for name in fitted_on},
    )


def class_shares(labels: np.ndarray, classes: int) -> np.ndarray:
    """Return the share of each class among labels (n,): (classes,), float32.

    As probabilities of every sample, they predict the most frequent class.
    """
    shares: np.ndarray = (np.bincount(labels, minlength=classes) / len(labels)).astype(np.float32)
    return shares


def softmax(logits: np.ndarray) -> np.ndarray:
    """Return the probabilities, float32, of logits (n, classes)."""
    probabilities: np.ndarray = special.softmax(logits, axis=1).astype(np.float32)
    return probabilities


def softmax_weights(model: Any, classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Return weights (classes, inputs) and bias (classes,) of a softmax over every class.

    For two classes scikit-learn stores a single row of weights (the logit of the first class is 0),
    and for a class without training samples none: its bias is set to `NEVER`.

    Args:
        model: a fitted linear classifier of scikit-learn.
        classes: the number of classes.
    """
    coefficients, intercepts = model.coef_, model.intercept_
    if len(model.classes_) == 2:  # noqa: PLR2004
        coefficients = np.vstack([np.zeros_like(coefficients), coefficients])
        intercepts = np.concatenate([[0.0], intercepts])
    weights = np.zeros((classes, coefficients.shape[1]), dtype=np.float32)
    bias = np.full(classes, NEVER, dtype=np.float32)
    weights[model.classes_], bias[model.classes_] = coefficients, intercepts
    return weights, bias
