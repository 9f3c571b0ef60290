"""Check images and their network before training."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from torch.nn import functional

from stages.shared import checks
from stages.shared.augmentation import augment
from stages.shared.dataset import read_dataset
from stages.shared.duplicates import near_pairs
from stages.shared.images import opened
from stages.shared.runtime import seed_for
from stages.tasks.image.model import as_tensor, fresh_model

if TYPE_CHECKING:
    from stages.params import CheckClassifier
    from stages.shared.files import Content
    from stages.shared.task import Task


SHOWN = 8


@dataclass(frozen=True)
class Checked:
    """Each check's result, the shape of every layer's output, images before and after augmentation."""

    checks: list[checks.Check]
    shapes: pd.DataFrame
    augmentation: dict[str, np.ndarray]

    def files(self) -> "dict[str, Content]":
        """Return what the stage writes."""
        return {
            "checks.json": list(checks.as_rows(self.checks)),
            "shapes.csv": self.shapes,
            "augmentation.safetensors": self.augmentation,
        }


def check(task: "Task") -> Checked:
    """Return the checks of the prepared images and of a fresh network of the first seed."""
    params: CheckClassifier = task.params.check
    dataset = read_dataset(task.folder("prepare"))
    images = opened(task.folder("prepare") / "images.npy")
    kept = dataset.samples["row"].to_numpy()
    position = np.full(len(images), -1)
    position[kept] = np.arange(len(kept))
    pairs = position[near_pairs(images, task.params.prepare.near_duplicate)[0]]
    pairs = pairs[(pairs >= 0).all(axis=1)]
    found = [
        checks.labels(dataset),
        checks.groups(dataset),
        checks.duplicates(dataset, pairs),
    ]
    if not all(one.held for one in found):  # a network is not asked about data that are wrong
        return Checked(
            found, pd.DataFrame(columns=["layer", "kind", "output_shape", "parameters"]), {}
        )

    seed = task.params.train.seeds[0]
    model = fresh_model(task, dataset, images, seed)
    rows, truth = dataset.rows("train"), dataset.labels("train")
    order = np.random.default_rng(seed_for(seed, "check")).permutation(len(rows))
    chosen = np.sort(order[: params.batch_size])
    batch, answer = as_tensor(images[rows[chosen]]), torch.from_numpy(truth[chosen])

    def loss(network: nn.Module) -> Tensor:
        return functional.cross_entropy(network(batch), answer)

    table = checks.shapes(model, batch)
    classes = len(dataset.classes)
    found += [
        checks.output_shape(table, len(batch), classes),
        checks.first_loss(model, loss, classes, params.first_loss_tolerance),
        checks.gradients(model, loss),
        checks.overfits(
            model, loss, params.overfit_steps, params.overfit_loss, task.params.train.learning_rate
        ),
    ]
    some = batch[:SHOWN]
    random = torch.Generator().manual_seed(seed_for(seed, "augment", 0))
    changed = augment(some, task.params.train.augment, random)
    return Checked(found, table, {"before": _as_uint8(some), "after": _as_uint8(changed)})


def _as_uint8(images: Tensor) -> np.ndarray:
    pixels: np.ndarray = (images * 255).round().clamp(0, 255).to(torch.uint8).numpy()
    return pixels
