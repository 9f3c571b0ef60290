"""Train the flow: what the shared loop is to run."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn

from stages.shared.dataset import read_dataset
from stages.shared.images.packed import opened
from stages.shared.runtime import seed_for
from stages.shared.training import Job, Scores, one_cycle
from stages.tasks.generative.inputs import Point, as_signed, drawn_point, held_out
from stages.tasks.generative.model import fresh_model, held_loss, velocity_loss

if TYPE_CHECKING:
    from lightning_fabric import Fabric

    from stages.shared.schema import TrainFlow
    from stages.shared.task import Task


def inputs(task: "Task") -> list[Path]:
    """Return the files that the result depends on."""
    folder = task.folder("prepare")
    return [folder / "dataset.json", folder / "samples.csv"]


def jobs(task: "Task", fabric: "Fabric") -> Callable[[int], Job]:
    """Return seed -> the training run of that seed.

    An epoch is a row of the log: as many steps as the params say, not a pass over the data.
    """
    params: TrainFlow = task.params.train
    dataset = read_dataset(task.folder("prepare"))
    images = opened(task.folder("prepare") / "images.npy")
    rows, labels = dataset.rows("train"), torch.from_numpy(dataset.labels("train"))
    none = len(dataset.classes)
    share = params.batch_size // fabric.world_size
    held = held_out(dataset, images)

    def validate(network: nn.Module) -> dict[str, float]:
        return {"loss": held_loss(network, held, params.batch_size, fabric.device)}

    def job(seed: int) -> Job:
        def batches(epoch: int) -> Iterator[tuple[Point, torch.Tensor]]:
            order = np.random.default_rng(seed_for(seed, "order", epoch))
            mark = ("path", epoch, fabric.global_rank) if fabric.global_rank else ("path", epoch)
            random = torch.Generator().manual_seed(seed_for(seed, *mark))
            for _ in range(params.log_every):
                chosen = order.integers(len(rows), size=params.batch_size)
                mine = np.sort(chosen[fabric.global_rank * share :][:share])
                point = drawn_point(as_signed(images[rows[mine]]), random)
                free = torch.rand(share, generator=random) < params.label_dropout
                given = torch.where(free, none, labels[mine])
                yield fabric.to_device((point, given))

        model = fresh_model(task, dataset, seed)
        return Job(
            model,
            torch.optim.AdamW(
                model.parameters(),
                lr=params.learning_rate,
                weight_decay=params.weight_decay,
                fused=True,
            ),
            one_cycle(params.learning_rate, params.steps),
            batches,
            _scores,
            validate,
            params.epochs,
            params.average,
            tuple(step // params.log_every - 1 for step in params.review),
        )

    return job


def _scores(network: nn.Module, batch: tuple[Point, torch.Tensor]) -> Scores:
    return {"loss": velocity_loss(network, *batch)}
