"""The samples that are compared: of every checkpoint and baseline, and training images as controls."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import torch

from stages.core.runtime import seed_for, torch_device
from stages.evaluation.data_warnings import require_logged_loss
from stages.evaluation.generation_metrics import balanced_labels
from stages.evaluation.reference_set import ReferenceSet, describe_training_images
from stages.kinds.image_generation.baseline import load_samplers
from stages.kinds.image_generation.checkpoint_review import MEMORISATION, REAL, method_name
from stages.kinds.image_generation.inputs import Sampler, ValidationPoints, validation_points
from stages.kinds.image_generation.model import draw_samples, load_checkpoint, validation_loss

if TYPE_CHECKING:
    import pandas as pd

    from stages.core.task import Task
    from stages.datasets.dataset import Dataset


class MethodSamples:
    """Samples of every method for the same labels, drawn once for each sampling seed.

    Attributes:
        labels: (n,), of the samples.
        seeds: sampling seeds, the first of which gives the samples that are shown.
        baselines: by name.
        methods: the baselines and the checkpoints, "step 100", by name.
    """

    def __init__(
        self,
        labels: np.ndarray,
        seeds: list[int],
        baselines: Mapping[str, Sampler],
        checkpoints: Mapping[str, Sampler],
    ) -> None:
        self.labels, self.seeds = labels, seeds
        self.baselines, self.methods = list(baselines), [*baselines, *checkpoints]
        self._samplers = {**baselines, **checkpoints}
        self._drawn: dict[tuple[str, int], np.ndarray] = {}

    def draw(self, method: str, seed: int | None = None) -> np.ndarray:
        """Return samples, uint8 (n, channel, height, width), from `seed`, or from the first one."""
        key = (method, self.seeds[0] if seed is None else seed)
        if key not in self._drawn:
            self._drawn[key] = self._samplers[method](self.labels, key[1])
        return self._drawn[key]


def load_methods(
    task: "Task", dataset: "Dataset", images: np.ndarray, log: "pd.DataFrame"
) -> MethodSamples:
    """Return the baselines and the checkpoints of the primary seed, ready to draw from.

    Args:
        task: whose baselines and models are trained.
        dataset: the prepared samples.
        images: the packed array.
        log: of the primary seed.

    Raises:
        UserError: weights are missing or damaged, or do not give the validation loss that training
            logged for them.
    """
    points = validation_points(dataset, images)
    checkpoints = {
        method_name(step): _checkpoint_sampler(task, dataset, step, points, log)
        for step in task.params.train.checkpoint_steps
    }
    params = task.params.evaluate
    labels = balanced_labels(dataset, params.samples)
    return MethodSamples(labels, params.sampling_seeds, load_samplers(task, dataset), checkpoints)


def _checkpoint_sampler(
    task: "Task", dataset: "Dataset", step: int, points: ValidationPoints, log: "pd.DataFrame"
) -> Sampler:
    train, params, shape = task.params.train, task.params.evaluate, dataset.note["shape"]
    model = load_checkpoint(task, dataset, train.seeds[0], step)
    with torch.inference_mode():
        loss = validation_loss(model, points, train.batch_size, torch_device(task.runtime))
    require_logged_loss(loss, log, step // train.log_every - 1, task.runtime.precision)
    return lambda labels, seed: draw_samples(model, labels, shape, seed, params)


def control_metrics(
    reference: ReferenceSet, dataset: "Dataset", images: np.ndarray, samples: MethodSamples
) -> dict[str, dict[str, float]]:
    """Return the metrics of training images of the samples' classes, as two controls.

    "real against real" ignores that each is its own nearest training image: the score of real images,
    the ceiling. "memorisation control" does not: it scores as a generator that outputs its training
    images, which must show in copy_rate and data_copying_score, and in no other metric.
    """
    training_rows = dataset.rows("train")
    indices = _draw_training_images(dataset.labels("train"), samples.labels, samples.seeds[0])
    copies = reference.describe(images, training_rows[indices])
    real = describe_training_images(copies, images, training_rows, indices)
    return {
        REAL: reference.metrics(real, samples.labels),
        MEMORISATION: reference.metrics(copies, samples.labels),
    }


def _draw_training_images(training_labels: np.ndarray, labels: np.ndarray, seed: int) -> np.ndarray:
    """Return an index of a random training image for each of `labels`, (n,).

    An image is drawn again only where its class has fewer images than labels.
    """
    random = np.random.default_rng(seed_for(seed, "controls"))
    indices = np.zeros(len(labels), dtype=np.int64)
    for label in np.unique(labels):
        members = np.flatnonzero(training_labels == label)
        places = np.flatnonzero(labels == label)
        indices[places] = np.resize(random.permutation(members), len(places))
    return indices
