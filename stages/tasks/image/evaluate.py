"""Evaluate the image classifiers: what each seed's model says of the test images."""

from typing import TYPE_CHECKING

from stages.shared.comparison import Embed, Evaluation, Judge, evaluated
from stages.shared.dataset import read_dataset
from stages.shared.images.network import asked
from stages.shared.images.packed import opened
from stages.shared.runtime import device
from stages.shared.weights import judged
from stages.tasks.image.model import load

if TYPE_CHECKING:
    from stages.shared.task import Task


def evaluate(task: "Task") -> Evaluation:
    """Return what the models of all seeds say of the test images, beside the baseline."""
    dataset = read_dataset(task.folder("prepare"))
    images = opened(task.folder("prepare") / "images.npy")
    where = device(task.runtime)

    def loaded(seed: int) -> tuple[Embed, Judge]:
        model = load(task, dataset, seed)
        return (
            lambda split: asked(model.embed, images, dataset.rows(split), where),
            lambda features: judged(model.head, features),
        )

    return evaluated(task, dataset, loaded)
