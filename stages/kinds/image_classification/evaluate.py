"""Evaluate image classifiers: the predictions of each seed's model for the test images."""

from pathlib import Path
from typing import TYPE_CHECKING

from stages.core.runtime import torch_device
from stages.datasets.dataset import Dataset
from stages.datasets.images.packed import open_packed
from stages.evaluation.classifier import (
    ClassifierEvaluation,
    EmbedSplit,
    LoadModel,
    PredictFeatures,
    evaluate_classifier,
)
from stages.kinds.image_classification.model import load
from stages.training.image_networks import predictors

if TYPE_CHECKING:
    from stages.core.task import Task


def evaluate(task: "Task") -> ClassifierEvaluation:
    """Return the predictions of all models for the test images, beside the baseline's."""
    return evaluate_classifier(task, model_loader(task, task.folder("prepare")))


def model_loader(task: "Task", folder: Path) -> LoadModel:
    """Return how the models of a task are loaded to predict the images packed in a folder."""
    images = open_packed(folder / "images.npy")
    device = torch_device(task.runtime)

    def load_run(fold: "Task", dataset: Dataset, seed: int) -> tuple[EmbedSplit, PredictFeatures]:
        return predictors(load(fold, dataset, seed), images, dataset.rows, device)

    return load_run
