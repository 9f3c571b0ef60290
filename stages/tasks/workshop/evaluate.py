"""Evaluate the tiny CNNs: what each seed's model says of the test images."""

from typing import TYPE_CHECKING

from stages.shared.comparison import Embed, Evaluation, Judge, evaluated
from stages.shared.dataset import read_dataset
from stages.shared.images.network import questions
from stages.shared.images.packed import opened
from stages.shared.runtime import device
from stages.tasks.workshop.model import load

if TYPE_CHECKING:
    from stages.shared.task import Task


def evaluate(task: "Task") -> Evaluation:
    """Return what the models of all seeds say of the test images, beside the baseline."""
    dataset = read_dataset(task.folder("prepare"))
    images = opened(task.folder("prepare") / "images.npy")
    where = device(task.runtime)

    def loaded(seed: int) -> tuple[Embed, Judge]:
        return questions(load(task, dataset, seed), images, dataset.rows, where)

    return evaluated(task, dataset, loaded)
