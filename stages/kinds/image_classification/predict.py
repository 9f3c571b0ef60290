"""Predict the class of image files with the primary seed's model (of the first fold)."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from stages.core.runtime import set_deterministic, torch_device
from stages.datasets.dataset import read_dataset
from stages.datasets.images.files import read_image_files
from stages.evaluation.baselines import softmax

if TYPE_CHECKING:
    from stages.core.task import Task


def predict(task: "Task", files: list[str]) -> Iterator[tuple[str, ...]]:
    """Yield each file's name, predicted class and confidence.

    Files are fitted to the input of the network as prepare fits them. Digits must be light on dark, as
    in the embedded data.

    Raises:
        UserError: a file cannot be read, or there are no trained weights.
    """
    dataset = read_dataset(task)
    images = read_image_files(files, task.params.prepare, dataset.note["grey_bits"])
    # torch takes seconds to import: after the checks of the input
    from stages.kinds.image_classification.model import load
    from stages.training.image_networks import predict_batches

    set_deterministic(task.runtime)
    model = load(task.folds()[0], dataset, task.params.train.seeds[0])
    logits = predict_batches(model, images, np.arange(len(images)), torch_device(task.runtime))
    for name, probabilities in zip(files, softmax(logits), strict=True):
        best = int(probabilities.argmax())
        yield name, dataset.classes[best], f"{probabilities[best]:.3f}"
