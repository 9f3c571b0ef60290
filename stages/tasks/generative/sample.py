"""Draw samples with the chosen checkpoint."""

from typing import TYPE_CHECKING

import numpy as np

from stages.shared.dataset import read_dataset
from stages.shared.refusal import Refusal, printable
from stages.shared.runtime import hold_torch
from stages.tasks.generative.model import chosen, drawn

if TYPE_CHECKING:
    from stages.shared.task import Task


def sample(task: "Task", label: str, count: int, seed: int) -> np.ndarray:
    """Return samples of one class, uint8 (count, channel, height, width).

    Raises:
        Refusal: there is no such class, or nothing has been trained yet.
    """
    dataset = read_dataset(task.folder("prepare"))
    if label not in dataset.classes:
        known = ", ".join(map(printable, dataset.classes))
        raise Refusal(f"--label: given {label!r}; must be one of {known}")
    hold_torch(task.runtime)
    model = chosen(task, dataset)
    labels = np.full(count, dataset.classes.index(label))
    return drawn(model, labels, dataset.note["shape"], seed, task.params.evaluate)
