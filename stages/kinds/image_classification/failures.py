"""Failure cases of an image classifier, and the change to try next."""

from typing import TYPE_CHECKING

from stages.evaluation.error_analysis import FailureAnalysis, analyse_classifier
from stages.evaluation.failure_causes import (
    BETWEEN_CLASSES,
    OTHER_CLASS,
    OUTLIER,
    OWN_CLASS,
    Change,
    label_smoothing_changes,
    training_changes,
)
from stages.kinds.image_classification.schema import PRETRAINED

if TYPE_CHECKING:
    from stages.core.task import Task
    from stages.kinds.image_classification.schema import Augment, TrainImages

_USUAL_RATES = {"adamw": 0.003, "sgd": 0.2}  # for convolutional networks, by optimizer


def analyse(task: "Task") -> FailureAnalysis:
    """Return the failure cases, some successes, and the next step."""
    params = task.params.train
    return analyse_classifier(task, changes(params), diagnosis_changes(params))


def diagnosis_changes(params: "TrainImages") -> dict[str, list[Change]]:
    """Return by diagnosis the params to change, the first to try first."""
    wider: Change = (
        "channels",
        [2 * width for width in params.channels],
        "a wider network has the capacity to fit more of the training data",
    )
    can_widen = params.model not in PRETRAINED and params.initial_weights is None
    regularise: Change = (
        ("weight_decay", 3 * params.weight_decay or 0.01, "weight decay keeps the weights small")
        if params.augment is None
        else (
            "augment.translate",
            min(0.5, round(params.augment.translate * 2, 3) or 0.1),
            "shifted images in training stop the network from memorising single ones",
        )
    )
    return training_changes(
        params, wider if can_widen else None, regularise, _USUAL_RATES[params.optimizer]
    )


def changes(params: "TrainImages") -> dict[str, Change]:
    """Return by cause of failure the param to change, its new value, and the expected effect."""
    proposals = label_smoothing_changes(params)
    wider: Change = (
        "channels",
        [2 * width for width in params.channels],
        "a wider network can separate classes whose samples are close together in its features",
    )
    if params.augment is None:
        longer: Change = (
            "epochs",
            2 * params.epochs,
            "more steps let the filters converge to what distinguishes the classes",
        )
        proposals |= {OTHER_CLASS: wider, OUTLIER: longer, OWN_CLASS: longer}
    else:
        proposals |= _augmentation_changes(params.augment)
    if params.model not in PRETRAINED and params.initial_weights is None:
        proposals[BETWEEN_CLASSES] = wider
    return proposals


def _augmentation_changes(params: "Augment") -> dict[str, Change]:
    return {
        OUTLIER: (
            "augment.rotate",
            min(180.0, round(params.rotate * 1.5, 3) or 10.0),
            "stronger augmentation brings training images closer to samples unlike any of them",
        ),
        OTHER_CLASS: (
            "augment.shear",
            min(1.0, round(params.shear * 2, 3) or 0.1),
            "varied slants in training stop the model from relying on the slant",
        ),
    }
