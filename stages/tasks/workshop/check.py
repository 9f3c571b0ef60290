"""Check the stripes and the tiny CNN before training."""

from typing import TYPE_CHECKING

from stages.shared.checks import Checked, of_classifier, of_data
from stages.shared.dataset import read_dataset
from stages.shared.images.duplicates import near_pairs
from stages.shared.images.packed import opened
from stages.shared.runtime import seed_for
from stages.tasks.workshop.inputs import some
from stages.tasks.workshop.model import fresh_model

if TYPE_CHECKING:
    from stages.shared.schema import CheckNetwork
    from stages.shared.task import Task


def check(task: "Task") -> Checked:
    """Return the checks of the prepared images and of a fresh network of the first seed."""
    params: CheckNetwork = task.params.check
    dataset = read_dataset(task.folder("prepare"))
    images = opened(task.folder("prepare") / "images.npy")
    found = of_data(dataset, near_pairs(images, task.params.prepare.near_duplicate)[0])
    if not all(one.held for one in found):  # a network is not asked about data that are wrong
        return Checked(found)
    seed = task.params.train.seeds[0]
    batch, truth = some(dataset, images, params.batch_size, seed_for(seed, "check"))
    model = fresh_model(task, dataset, images, seed)
    more, shapes = of_classifier(
        model, batch, truth, len(dataset.classes), params, task.params.train.learning_rate
    )
    return Checked(found + more, shapes)
