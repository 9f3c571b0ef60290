"""Train the image classifier: what the shared loop is to run."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from stages.shared.augmentation import augment
from stages.shared.dataset import read_dataset
from stages.shared.images import opened
from stages.shared.runtime import seed_for
from stages.shared.training import Job, one_cycle
from stages.tasks.image.model import as_tensor, as_tensors, fresh_model

if TYPE_CHECKING:
    from lightning_fabric import Fabric

    from stages.params import TrainImages
    from stages.shared.task import Task

Batch = tuple[Tensor, Tensor]


def inputs(task: "Task") -> list[Path]:
    """Return the files that the result depends on."""
    folder = task.folder("prepare")
    files = [folder / "dataset.json", folder / "samples.csv"]
    start = task.params.train.start_from
    return files + ([Path(start)] if start not in {None, "imagenet"} else [])


def job(task: "Task", seed: int, fabric: "Fabric") -> Job:
    """Return the training run of one seed."""
    params: TrainImages = task.params.train
    dataset = read_dataset(task.folder("prepare"))
    images = opened(task.folder("prepare") / "images.npy")
    model = fresh_model(task, dataset, images, seed)
    rows, labels = dataset.rows("train"), dataset.labels("train")
    held_rows, held_labels = (
        dataset.rows("validation"),
        torch.from_numpy(dataset.labels("validation")),
    )
    size = min(params.batch_size, len(rows))
    steps = len(rows) // size  # the last, smaller batch is left out; another one each epoch

    def batches(epoch: int) -> Iterator[Batch]:
        order = np.random.default_rng(seed_for(seed, "order", epoch)).permutation(len(rows))
        # The first process draws what a lone one would; each further one has a stream of its own.
        mark = ("augment", epoch, fabric.global_rank) if fabric.global_rank else ("augment", epoch)
        random = torch.Generator().manual_seed(seed_for(seed, *mark))
        share = size // fabric.world_size
        for step in range(steps):
            mine = order[step * size + fabric.global_rank * share :][:share]
            mine = np.sort(mine)  # the memory map is read forwards
            changed = augment(as_tensor(images[rows[mine]]), params.augment, random)
            yield fabric.to_device((changed, torch.from_numpy(labels[mine])))

    def scores(network: nn.Module, batch: Batch) -> dict[str, Tensor]:
        pixels, truth = batch
        logits = network(pixels)
        loss = functional.cross_entropy(logits, truth, label_smoothing=params.label_smoothing)
        return {"loss": loss, "accuracy": (logits.argmax(dim=1) == truth).float().mean()}

    def validate(network: nn.Module) -> dict[str, float]:
        logits = torch.cat(
            [
                network(fabric.to_device(part)).float().cpu()
                for part in as_tensors(images, held_rows)
            ]
        )
        return {
            "loss": functional.cross_entropy(logits, held_labels).item(),
            "accuracy": (logits.argmax(dim=1) == held_labels).float().mean().item(),
        }

    return Job(
        model,
        torch.optim.AdamW(
            model.parameters(),
            lr=params.learning_rate,
            weight_decay=params.weight_decay,
            fused=True,
        ),
        one_cycle(params.learning_rate, steps * params.epochs),
        batches,
        scores,
        validate,
        params.epochs,
    )
