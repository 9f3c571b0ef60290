"""Check images and their network before training."""

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from stages.shared.checks import Checked, of_classifier, of_data
from stages.shared.dataset import read_dataset
from stages.shared.images.duplicates import near_pairs
from stages.shared.images.network import as_tensor
from stages.shared.images.packed import opened
from stages.shared.runtime import seed_for
from stages.tasks.image.inputs import augment
from stages.tasks.image.model import fresh_model

if TYPE_CHECKING:
    from stages.shared.schema import CheckNetwork
    from stages.shared.task import Task


SHOWN = 8


def check(task: "Task") -> Checked:
    """Return the checks of the prepared images and of a fresh network of the first seed.

    Beside them, some images before and after augmentation.
    """
    params: CheckNetwork = task.params.check
    dataset = read_dataset(task.folder("prepare"))
    images = opened(task.folder("prepare") / "images.npy")
    found = of_data(dataset, near_pairs(images, task.params.prepare.near_duplicate)[0])
    if not all(one.held for one in found):  # a network is not asked about data that are wrong
        return Checked(found)

    seed = task.params.train.seeds[0]
    model = fresh_model(task, dataset, images, seed)
    chosen = dataset.draw("train", params.batch_size, seed_for(seed, "check"))
    batch = as_tensor(images[dataset.rows("train")[chosen]])
    truth = torch.from_numpy(dataset.labels("train")[chosen])
    more, shapes = of_classifier(
        model, batch, truth, len(dataset.classes), params, task.params.train.learning_rate
    )
    some = batch[:SHOWN]
    random = torch.Generator().manual_seed(seed_for(seed, "augment", 0))
    changed = augment(some, task.params.train.augment, random)
    pictures = {"before": _as_uint8(some), "after": _as_uint8(changed)}
    return Checked(found + more, shapes, {"augmentation.safetensors": pictures})


def _as_uint8(images: Tensor) -> np.ndarray:
    pixels: np.ndarray = (images * 255).round().clamp(0, 255).to(torch.uint8).numpy()
    return pixels
