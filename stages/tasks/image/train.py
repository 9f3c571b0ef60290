"""Train the image classifier: what the shared loop is to run."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from stages.shared.dataset import read_dataset
from stages.shared.images.network import as_tensor, labelled
from stages.shared.images.packed import opened
from stages.shared.runtime import seed_for
from stages.shared.training import Batch, Job, classifier, shuffled
from stages.tasks.image.inputs import augment
from stages.tasks.image.model import fresh_model

if TYPE_CHECKING:
    from lightning_fabric import Fabric

    from stages.shared.schema import TrainImages
    from stages.shared.task import Task


def inputs(task: "Task") -> list[Path]:
    """Return the files that the result depends on."""
    folder = task.folder("prepare")
    files = [folder / "dataset.json", folder / "samples.csv"]
    start = task.params.train.start_from
    return files + ([Path(start)] if start not in {None, "imagenet"} else [])


def jobs(task: "Task", fabric: "Fabric") -> Callable[[int], Job]:
    """Return seed -> the training run of that seed."""
    params: TrainImages = task.params.train
    dataset = read_dataset(task.folder("prepare"))
    images = opened(task.folder("prepare") / "images.npy")
    rows = {split: dataset.rows(split) for split in ("train", "validation")}
    labels = {split: torch.from_numpy(dataset.labels(split)) for split in rows}
    size = min(params.batch_size, len(rows["train"]))
    steps = len(rows["train"]) // size

    def held() -> Iterator[Batch]:
        for batch in labelled(images, rows["validation"], labels["validation"]):
            yield fabric.to_device(batch)

    def job(seed: int) -> Job:
        def batches(epoch: int) -> Iterator[Batch]:
            # The first process draws what a lone one would; each further one its own stream.
            rank = fabric.global_rank
            mark = ("augment", epoch, rank) if rank else ("augment", epoch)
            random = torch.Generator().manual_seed(seed_for(seed, *mark))
            for mine in shuffled(len(rows["train"]), size, seed, epoch, fabric):
                pixels = as_tensor(images[rows["train"][mine]])
                changed = augment(pixels, params.augment, random)
                yield fabric.to_device(((changed,), labels["train"][mine]))

        model = fresh_model(task, dataset, images, seed)
        return classifier(model, batches, held, steps, params, len(dataset.classes))

    return job
