"""Baselines for stripes: always the most frequent class; flatten the pixels and take one linear layer."""

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch
from torch import nn

from stages.shared.baselines import Baselines, ladder, softmax
from stages.shared.dataset import read_dataset
from stages.shared.images.network import as_tensor, asked, labelled
from stages.shared.images.packed import opened
from stages.shared.runtime import device, seed_for
from stages.shared.training import Batch, classifier, launched, shuffled
from stages.shared.training import fit as train

if TYPE_CHECKING:
    from stages.shared.schema import WorkshopBaseline
    from stages.shared.task import Task

FREQUENT, LINEAR = "most frequent class", "flatten + linear"


def fit(task: "Task") -> Baselines:
    """Fit both on the training data; the stronger on validation is the one to beat.

    Flatten + linear goes through the same loop as the CNN: every pixel has a weight for each class,
    so it can only ask whether one place is bright, and a stripe may lie anywhere.
    """
    params: WorkshopBaseline = task.params.baseline
    dataset = read_dataset(task.folder("prepare"))
    images = opened(task.folder("prepare") / "images.npy")
    rows, labels = dataset.rows("train"), torch.from_numpy(dataset.labels("train"))
    fabric = launched(task.runtime)
    size = min(params.batch_size, len(rows))

    def batches(epoch: int) -> Iterator[Batch]:
        for mine in shuffled(len(rows), size, params.seed, epoch, fabric):
            yield fabric.to_device(((as_tensor(images[rows[mine]]),), labels[mine]))

    def held() -> Iterator[Batch]:
        validation = torch.from_numpy(dataset.labels("validation"))
        for batch in labelled(images, dataset.rows("validation"), validation):
            yield fabric.to_device(batch)

    torch.manual_seed(seed_for(params.seed, "initial weights", "linear"))
    pixels = int(np.prod(images.shape[1:]))
    model = nn.Sequential(nn.Flatten(), nn.Linear(pixels, len(dataset.classes)))
    steps = len(rows) // size
    job = classifier(model, batches, held, steps, params, len(dataset.classes))
    best = train(job, fabric)
    model.load_state_dict(best.weights)
    model.eval()
    share = np.bincount(dataset.labels("train"), minlength=len(dataset.classes)) / len(rows)

    def says(name: str, split: str) -> np.ndarray:
        where = dataset.rows(split)
        if name == FREQUENT:
            return np.tile(share.astype(np.float32), (len(where), 1))
        return softmax(asked(model, images, where, device(task.runtime)))

    weights, bias = (model[1].get_parameter(name).detach().cpu() for name in ("weight", "bias"))
    fitted = ladder(
        dataset,
        {FREQUENT: len(rows), LINEAR: len(rows)},
        says,
        dataset.labels("train"),
        {"sees": "the pixels, 0 to 1", "converged": True},
        {"weights": weights.numpy(), "bias": bias.numpy(), "share": share.astype(np.float32)},
    )
    return replace(fitted, more={"log.csv": pd.DataFrame(best.history)})
