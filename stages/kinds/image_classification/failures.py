"""Failure cases of an image classifier, and the change to try next."""

from typing import TYPE_CHECKING

from stages.datasets.dataset import read_dataset
from stages.evaluation.error_analysis import FailureAnalysis, analyse_classifier
from stages.evaluation.failure_causes import (
    BETWEEN_CLASSES,
    OTHER_CLASS,
    OUTLIER,
    OWN_CLASS,
    Change,
    label_smoothing_changes,
)

if TYPE_CHECKING:
    from stages.core.task import Task
    from stages.kinds.image_classification.schema import Augment, TrainImages


def analyse(task: "Task") -> FailureAnalysis:
    """Return the failure cases, some successes, and the next step."""
    dataset = read_dataset(task.folder("prepare"))
    return analyse_classifier(task, dataset, changes(task.params.train))


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
    if params.model != "resnet18" and params.initial_weights is None:
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
