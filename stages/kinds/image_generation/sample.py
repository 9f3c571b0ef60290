"""Draw samples from the selected checkpoint."""

from typing import TYPE_CHECKING

import numpy as np

from stages.core.errors import UserError, printable
from stages.core.runtime import set_deterministic
from stages.datasets.dataset import read_dataset

if TYPE_CHECKING:
    from stages.core.task import Task


def sample(task: "Task", label: str, count: int, seed: int) -> np.ndarray:
    """Return samples of one class, uint8 (count, channel, height, width).

    Args:
        task: whose model has been evaluated.
        label: a class by name.
        count: of samples.
        seed: of the initial noise; the same seed gives the same samples.

    Raises:
        UserError: there is no such class, or the task has not been trained or evaluated yet.
    """
    dataset = read_dataset(task)
    if label not in dataset.classes:
        class_names = ", ".join(map(printable, dataset.classes))
        raise UserError(f"--label: given {label!r}; must be one of {class_names}")
    # torch takes seconds to import: after the check of the label
    from stages.kinds.image_generation.model import draw_samples, load_selected

    set_deterministic(task.model_runtime)
    model = load_selected(task, dataset)
    labels = np.full(count, dataset.classes.index(label))
    return draw_samples(model, labels, dataset.note["shape"], seed, task.params.evaluate)
