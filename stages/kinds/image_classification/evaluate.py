"""Evaluate image classifiers: the predictions of each seed's model for the test images."""

from typing import TYPE_CHECKING

from stages.core.runtime import torch_device
from stages.datasets.dataset import read_dataset
from stages.datasets.images.packed import open_packed
from stages.evaluation.comparison import (
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
    """Return the predictions of all seeds' models for the test images, beside the baseline's."""
    dataset = read_dataset(task.folder("prepare"))
    images = open_packed(task.folder("prepare") / "images.npy")
    device = torch_device(task.runtime)

    def load_seed(seed: int) -> tuple[EmbedSplit, PredictFeatures]:
        return predictors(load(task, dataset, seed), images, dataset.rows, device)

    return evaluate_classifier(task, dataset, load_seed)
