"""Predict the class of image files with the primary seed's model (of the first fold)."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from stages.core.runtime import set_deterministic, torch_device
from stages.datasets.dataset import read_dataset
from stages.datasets.images.files import read_image_files
from stages.evaluation.novelty import novelty_warnings
from stages.kinds.prediction import Prediction

if TYPE_CHECKING:
    from stages.core.task import Task


def predict(task: "Task", files: list[str]) -> Iterator[Prediction]:
    """Yield the prediction for each file.

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
    from stages.training.weights import head_probabilities

    set_deterministic(task.model_runtime)
    fold, *_ = task.folds()
    model = load(fold, dataset, task.params.train.seeds[0])
    device = torch_device(task.runtime)
    features = predict_batches(model.embed, images, np.arange(len(images)), device)
    warnings = novelty_warnings(fold, features)
    for name, row, warning in zip(
        files, head_probabilities(model.head, features), warnings, strict=True
    ):
        probabilities = dict(zip(dataset.classes, row.tolist(), strict=True))
        yield Prediction(name, probabilities, warning=warning)
