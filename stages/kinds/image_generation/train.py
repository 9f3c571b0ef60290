"""Train the flow: the runs for the shared loop."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn

from stages.core.runtime import seed_for
from stages.datasets.dataset import read_dataset
from stages.datasets.images.packed import open_packed
from stages.kinds.image_generation.inputs import (
    PathPoint,
    random_point,
    to_signed,
    validation_points,
)
from stages.kinds.image_generation.model import fresh_model, validation_loss, velocity_loss
from stages.training.loop import Scores, TrainingRun
from stages.training.schedules import one_cycle

if TYPE_CHECKING:
    from lightning_fabric import Fabric

    from stages.core.task import Task
    from stages.kinds.image_generation.schema import TrainFlow

Batch = tuple[PathPoint, torch.Tensor]


def input_files(task: "Task") -> list[Path]:
    """Return the files that the result depends on."""
    folder = task.folder("prepare")
    return [folder / "dataset.json", folder / "samples.csv"]


def training_runs(task: "Task", fabric: "Fabric") -> Callable[[int], TrainingRun]:
    """Return seed -> the training run of that seed.

    An epoch is `log_every` steps, a row of the log, not a pass over the data.
    """
    params: TrainFlow = task.params.train
    dataset = read_dataset(task)
    images = open_packed(task.folder("prepare") / "images.npy")
    rows, labels = dataset.rows("train"), torch.from_numpy(dataset.labels("train"))
    no_label = len(dataset.classes)
    share = params.batch_size // fabric.world_size
    points = validation_points(dataset, images)

    def validate(network: nn.Module) -> dict[str, float]:
        return {"loss": validation_loss(network, points, params.batch_size, fabric.device)}

    def training_run(seed: int) -> TrainingRun:
        def batches(epoch: int) -> Iterator[Batch]:
            order = np.random.default_rng(seed_for(seed, "order", epoch))
            stream = ("path", epoch, fabric.global_rank) if fabric.global_rank else ("path", epoch)
            generator = torch.Generator().manual_seed(seed_for(seed, *stream))
            for _ in range(params.log_every):
                drawn = order.integers(len(rows), size=params.batch_size)
                batch = np.sort(drawn[fabric.global_rank * share :][:share])
                point = random_point(to_signed(images[rows[batch]]), generator)
                dropped = torch.rand(share, generator=generator) < params.label_dropout
                batch_labels = torch.where(dropped, no_label, labels[batch])
                yield fabric.to_device((point, batch_labels))

        model = fresh_model(task, dataset, seed)
        optimizer = torch.optim.AdamW(
            model.parameters(),
            lr=params.learning_rate,
            weight_decay=params.weight_decay,
            fused=True,
        )
        return TrainingRun(
            model,
            optimizer,
            one_cycle(params.learning_rate, params.steps),
            batches,
            _scores,
            validate,
            params.epochs,
            params.ema_decay,
            tuple(step // params.log_every - 1 for step in params.checkpoint_steps),
            steps=params.log_every,
        )

    return training_run


def _scores(network: nn.Module, batch: Batch) -> Scores:
    return {"loss": velocity_loss(network, *batch)}
