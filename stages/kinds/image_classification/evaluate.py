"""Evaluate image classifiers: the predictions of each seed's model for the test images."""

from typing import TYPE_CHECKING

from stages.core.runtime import torch_device
from stages.datasets.dataset import Dataset
from stages.datasets.images.packed import open_packed
from stages.evaluation.classifier import (
    ClassifierEvaluation,
    EmbedSplit,
    PredictFeatures,
    evaluate_classifier,
)
from stages.kinds.image_classification.model import load
from stages.training.image_networks import predictors

if TYPE_CHECKING:
    from stages.core.task import Task


def evaluate(task: "Task") -> ClassifierEvaluation:
    """Return the predictions of all models for the test images, beside the baseline's."""
    images = open_packed(task.folder("prepare") / "images.npy")
    device = torch_device(task.runtime)

    def load_run(fold: "Task", dataset: Dataset, seed: int) -> tuple[EmbedSplit, PredictFeatures]:
        return predictors(load(fold, dataset, seed), images, dataset.rows, device)

    return evaluate_classifier(task, load_run)
