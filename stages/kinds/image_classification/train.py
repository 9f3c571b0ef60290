"""Train an image classifier: the runs of the shared loop."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from stages.core.runtime import seed_for
from stages.datasets.dataset import read_dataset
from stages.datasets.images.packed import open_packed
from stages.kinds.image_classification.inputs import (
    SplitReader,
    augment,
    mirrored_in_turn,
    resize,
)
from stages.kinds.image_classification.model import fresh_model
from stages.training.classification import Batch, classification_run, shuffled_batches
from stages.training.loop import TrainingRun

if TYPE_CHECKING:
    from lightning_fabric import Fabric

    from stages.core.task import Task
    from stages.kinds.image_classification.schema import TrainImages


def input_files(task: "Task") -> list[Path]:
    """Return the files that the result depends on, beside the code."""
    folder = task.folder("prepare")
    files = [folder / "dataset.json", folder / "samples.csv"]
    weights = task.params.train.initial_weights
    return files + ([Path(weights)] if weights not in {None, "imagenet"} else [])


def training_runs(task: "Task", fabric: "Fabric") -> Callable[[int], TrainingRun]:
    """Return seed -> the training run of that seed."""
    params: TrainImages = task.params.train
    dataset = read_dataset(task)
    images = open_packed(task.folder("prepare") / "images.npy")
    rows = {split: dataset.rows(split) for split in ("train", "validation")}
    labels = {split: torch.from_numpy(dataset.labels(split)) for split in rows}
    size = min(params.batch_size, len(rows["train"]))
    steps = len(rows["train"]) // size
    readers = {
        split: SplitReader(images, rows[split], labels[split], fabric.device) for split in rows
    }
    low_resolution, reduced_epochs = params.low_resolution, 0
    if low_resolution:  # the last epoch always sees images of the size that is predicted
        reduced_epochs = min(round(low_resolution.share * params.epochs), params.epochs - 1)

    def training_run(seed: int) -> TrainingRun:
        def batches(epoch: int) -> Iterator[Batch]:
            # Each further process has its own random stream.
            rank = fabric.global_rank
            stream = ("augment", epoch, rank) if rank else ("augment", epoch)
            random = torch.Generator().manual_seed(seed_for(seed, *stream))
            mirrored = mirrored_in_turn(len(rows["train"]), seed, epoch)
            for indices in shuffled_batches(len(rows["train"]), size, seed, epoch, fabric):
                pixels, batch_labels = readers["train"].batch(indices)
                if params.augment is not None:
                    pixels = augment(pixels, params.augment, random, mirrored[indices])
                if low_resolution is not None and epoch < reduced_epochs:
                    pixels = resize(pixels, low_resolution.size)
                yield (pixels,), batch_labels

        model = fresh_model(task, dataset, images, seed)
        return classification_run(
            model,
            batches,
            readers["validation"].in_order,
            steps,
            params,
            len(dataset.classes),
            dataset.class_weights(params.class_weights),
        )

    return training_run
