"""The reference classifier, in whose features samples are compared with real images."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import torch

from stages.core.runtime import seed_for, torch_device
from stages.training.batches import random_batches
from stages.training.classification import Batch, classification_run
from stages.training.image_networks import (
    ImageClassifier,
    fit_normalisation,
    labelled_batches,
    predict_batches,
    residual_features,
    to_tensor,
)
from stages.training.loop import fit as run_training
from stages.training.weights import load_trainable

if TYPE_CHECKING:
    from lightning_fabric import Fabric

    from stages.core.task import Task
    from stages.datasets.dataset import Dataset
    from stages.kinds.image_generation.schema import ReferenceClassifier

FILE = "reference_classifier.safetensors"


def fit_reference_classifier(
    params: "ReferenceClassifier", dataset: "Dataset", images: np.ndarray, fabric: "Fabric"
) -> ImageClassifier:
    """Return the classifier, trained on the training split; validation data select its epoch.

    Args:
        params: of the classifier.
        dataset: the prepared samples.
        images: the packed array.
        fabric: the device, precision and processes, launched.
    """
    torch.manual_seed(seed_for("judge"))
    model = _build(params, dataset)
    rows = {split: dataset.rows(split) for split in ("train", "validation")}
    labels = {split: torch.from_numpy(dataset.labels(split)) for split in rows}
    fit_normalisation(model, images, rows["train"])

    def batches(epoch: int) -> Iterator[Batch]:
        for indices in random_batches(len(rows["train"]), params.batch_size, "judge", epoch):
            pixels = to_tensor(images[rows["train"][indices]])
            yield fabric.to_device(((pixels,), labels["train"][indices]))

    def validation_batches() -> Iterator[Batch]:
        for batch in labelled_batches(images, rows["validation"], labels["validation"]):
            yield fabric.to_device(batch)

    steps = len(rows["train"]) // min(params.batch_size, len(rows["train"]))
    run = classification_run(
        model, batches, validation_batches, steps, params, len(dataset.classes)
    )
    model.load_state_dict(run_training(run, fabric).weights)
    return model.eval().float()


def load_reference_classifier(task: "Task", dataset: "Dataset") -> ImageClassifier:
    """Return the trained classifier, in evaluation mode, on the task's device.

    Raises:
        UserError: its weights are missing, damaged, or of another network.
    """
    model = _build(task.params.baseline.reference_classifier, dataset)
    load_trainable(model, task.folder("baseline") / FILE)
    return model.eval().to(torch_device(task.runtime))


def accuracy(
    model: ImageClassifier, images: np.ndarray, rows: np.ndarray, labels: np.ndarray
) -> float:
    """Return the accuracy of a trained classifier on the images at `rows`."""
    logits = predict_batches(model, images, rows, next(model.parameters()).device)
    return float((logits.argmax(axis=1) == labels).mean())


def _build(params: "ReferenceClassifier", dataset: "Dataset") -> ImageClassifier:
    """Return the untrained classifier: images (batch, channel, height, width), 0 to 1 -> logits."""
    colours = dataset.note["shape"][0]
    features = residual_features(params.channels, colours)
    return ImageClassifier(features, params.channels[-1], len(dataset.classes), colours)
