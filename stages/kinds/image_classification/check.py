"""Check images and their network before training."""

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from stages.core.runtime import seed_for
from stages.datasets.dataset import read_dataset
from stages.datasets.images.duplicates import near_pairs
from stages.datasets.images.packed import open_packed
from stages.kinds.image_classification.artifacts import AUGMENTATION, AUGMENTED_IMAGES
from stages.kinds.image_classification.inputs import augment, mirrored_in_turn
from stages.kinds.image_classification.model import fresh_model
from stages.training.classification import adam_rate
from stages.training.image_networks import to_tensor
from stages.training.sanity_checks.data import data_checks
from stages.training.sanity_checks.network import classifier_checks
from stages.training.sanity_checks.results import CheckResults

if TYPE_CHECKING:
    from stages.core.files import Content
    from stages.core.schema import CheckNetwork
    from stages.core.task import Task


def check(task: "Task") -> CheckResults:
    """Return the checks of the prepared images and of an untrained network of the primary seed.

    Where training augments, some images before and after augmentation are returned as well.
    """
    params: CheckNetwork = task.params.check
    folds = [read_dataset(fold) for fold in task.folds()]
    dataset = folds[0]
    images = open_packed(task.folder("prepare") / "images.npy")
    pairs, _ = near_pairs(
        images, task.params.prepare.near_duplicate, task.key("prepare.near_duplicate")
    )
    checks = data_checks(folds, pairs)
    if not all(result.passed for result in checks):  # a network is not tested on wrong data
        return CheckResults(checks)

    seed = task.params.train.seeds[0]
    model = fresh_model(task, dataset, images, seed)
    sample = dataset.draw("train", params.batch_size, seed_for(seed, "check"))
    batch = to_tensor(images[dataset.rows("train")[sample]])
    labels = torch.from_numpy(dataset.labels("train")[sample])
    network_checks, shapes = classifier_checks(
        model, batch, labels, len(dataset.classes), params, adam_rate(task.params.train)
    )
    return CheckResults(
        checks + network_checks, shapes, _augmentation(task, batch[:AUGMENTED_IMAGES], seed)
    )


def _augmentation(task: "Task", batch: Tensor, seed: int) -> "dict[str, Content]":
    """Return a file with images before and after augmentation; none where training does not augment."""
    if task.params.train.augment is None:
        return {}
    random = torch.Generator().manual_seed(seed_for(seed, "augment", 0))
    mirrored = mirrored_in_turn(len(batch), seed, 0)
    after = augment(batch, task.params.train.augment, random, mirrored)
    return {AUGMENTATION: {"before": _to_uint8(batch), "after": _to_uint8(after)}}


def _to_uint8(images: Tensor) -> np.ndarray:
    pixels: np.ndarray = (images * 255).round().clamp(0, 255).to(torch.uint8).numpy()
    return pixels
