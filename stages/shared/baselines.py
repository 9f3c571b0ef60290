"""The ladder of simple methods: each one's scores, and the strongest, which is the one to beat."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from stages.shared.classification import log_loss, said, scores
from stages.shared.refusal import Refusal

if TYPE_CHECKING:
    from stages.shared.dataset import Dataset
    from stages.shared.files import Content

_BINS = 10
NEVER = -1e9  # the bias of a class that a sample did not hold


@dataclass(frozen=True)
class Baselines:
    """The baselines, fitted, with what they give for the test data.

    Attributes:
        choice: the strongest one by validation accuracy, everyone's validation scores, and what
            each was fitted on.
        arrays: what was fitted.
        probabilities: of the test data, by baseline, (n, classes) each.
        more: further files.
    """

    choice: dict[str, Any]
    arrays: dict[str, np.ndarray]
    probabilities: dict[str, np.ndarray]
    more: "dict[str, Content]" = field(default_factory=dict)

    def files(self) -> "dict[str, Content]":
        """Return what the stage writes."""
        return {
            "baseline.json": self.choice,
            "models.safetensors": self.arrays,
            "test.safetensors": self.probabilities,
            **self.more,
        }


def refuse_lone_class(labels: np.ndarray, key: str, given: int) -> None:
    """Refuse to fit on a sample that holds one class only.

    Raises:
        Refusal: names the param that bounds the sample.
    """
    if len(np.unique(labels)) < 2:  # noqa: PLR2004
        raise Refusal(f"{key}: given {given}; a sample that small holds one class only: raise it")


def ladder(
    dataset: "Dataset",
    fitted_on: Mapping[str, int],
    asked: Callable[[str, str], np.ndarray],
    trained_labels: np.ndarray,
    more: Mapping[str, Any],
    arrays: dict[str, np.ndarray],
) -> Baselines:
    """Return the fitted baselines; the strongest on validation data is the one to beat.

    Args:
        dataset: the prepared samples.
        fitted_on: by baseline, the simplest first, how many training samples it was fitted on.
        asked: (baseline, split) -> probabilities (n, classes); of "train" where it was fitted.
        trained_labels: of the samples that `asked` gives for "train".
        more: what else is said of them: "sees", "converged".
        arrays: what was fitted.
    """
    held = dataset.labels("validation")
    count = len(dataset.classes)
    validation = {
        name: scores(said(asked(name, "validation"), held), held, count, _BINS)
        for name in fitted_on
    }
    strongest = max(validation, key=lambda name: float(validation[name]["accuracy"]))
    training = {name: log_loss(asked(name, "train"), trained_labels) for name in fitted_on}
    return Baselines(
        {
            "strongest": strongest,
            "methods": list(fitted_on),
            "rule": "highest validation accuracy, the simpler one of equals",
            "validation": validation,
            "training_log_loss": training,
            "fitted_on": dict(fitted_on),
            **more,
        },
        arrays,
        {name: asked(name, "test") for name in fitted_on},
    )


def softmax(logits: np.ndarray) -> np.ndarray:
    """Return probabilities, float32, of logits (n, classes)."""
    shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
    probabilities: np.ndarray = (shifted / shifted.sum(axis=1, keepdims=True)).astype(np.float32)
    return probabilities


def all_classes(model: Any, classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Return weights (classes, inputs) and bias (classes,) as of a softmax over every class.

    scikit-learn keeps one row for two classes (the other's logit is 0), and none for a class that
    its sample did not hold (given so low a bias here that it is never chosen).
    """
    coefficients, intercepts = model.coef_, model.intercept_
    if len(model.classes_) == 2:  # noqa: PLR2004
        coefficients = np.vstack([np.zeros_like(coefficients), coefficients])
        intercepts = np.concatenate([[0.0], intercepts])
    weights = np.zeros((classes, coefficients.shape[1]), dtype=np.float32)
    bias = np.full(classes, NEVER, dtype=np.float32)
    weights[model.classes_], bias[model.classes_] = coefficients, intercepts
    return weights, bias
