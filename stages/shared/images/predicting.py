"""Ask a classifier about image files."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from stages.shared.baselines import softmax
from stages.shared.dataset import read_dataset
from stages.shared.images.source import read_files
from stages.shared.runtime import device, hold_torch

if TYPE_CHECKING:
    from stages.shared.task import Task


def predict_files(task: "Task", files: list[str]) -> Iterator[tuple[str, ...]]:
    """Yield for each file its name, the predicted class and the confidence in it.

    Files are fitted to the network's input as prepare fits them. As in the embedded images, strokes
    are expected light on dark.

    Raises:
        Refusal: a file cannot be read, or there are no trained weights.
    """
    dataset = read_dataset(task.folder("prepare"))
    images = read_files(files, task.params.prepare)
    # torch, once there is something to ask
    from stages.shared.images.network import asked

    hold_torch(task.runtime)
    model = task.cell("model").load(task, dataset, task.params.train.seeds[0])
    logits = asked(model, images, np.arange(len(images)), device(task.runtime))
    for name, row in zip(files, softmax(logits), strict=True):
        best = int(row.argmax())
        yield name, dataset.classes[best], f"{row[best]:.3f}"
