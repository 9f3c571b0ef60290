"""Fit the baselines, Gaussians by class and a small VAE, and the reference classifier."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from stages.core.errors import UserError
from stages.core.files import read_arrays
from stages.core.runtime import seed_for
from stages.datasets.dataset import Dataset, read_dataset
from stages.datasets.images.packed import open_packed
from stages.kinds.image_generation import reference_classifier
from stages.kinds.image_generation.gaussians import fit_gaussians, gaussian_sampler
from stages.kinds.image_generation.inputs import Sampler
from stages.kinds.image_generation.vae import Autoencoder, LabelledImages, fit_vae, vae_sampler
from stages.training.devices import launch_fabric
from stages.training.image_networks import to_tensor
from stages.training.weights import load_trainable, trainable_state

if TYPE_CHECKING:
    from stages.core.files import Content
    from stages.core.task import Task
    from stages.kinds.image_generation.schema import GenerationBaseline

GAUSSIANS, VAE = "class Gaussians", "small VAE"
_GAUSSIANS_FILE, _VAE_FILE = "gaussians.safetensors", "vae.safetensors"
_MAX_PIXELS = 64_000_000  # of the images that a baseline is fitted to: these are held in memory


@dataclass(frozen=True)
class GenerationBaselines:
    """The fitted baselines and the reference classifier.

    Attributes:
        summary: methods, n, the reference classifier's accuracy, the VAE's loss.
        weights: by file name.
    """

    summary: dict[str, Any]
    weights: dict[str, dict[str, np.ndarray]]

    def files(self) -> "dict[str, Content]":
        """Return the files that the stage writes."""
        return {"baseline.json": self.summary, **self.weights}


def fit(task: "Task") -> GenerationBaselines:
    """Fit the reference classifier and both baselines on the training split.

    Validation data select the epochs.

    Raises:
        UserError: a class has no image among those that the baselines are fitted to.
    """
    params: GenerationBaseline = task.params.baseline
    dataset = read_dataset(task)
    images = open_packed(task.folder("prepare") / "images.npy")
    classes, fabric = len(dataset.classes), launch_fabric(task.runtime.alone)
    classifier = reference_classifier.fit_reference_classifier(
        params.reference_classifier, dataset, images, fabric
    )

    limit = min(params.max_samples, max(1, _MAX_PIXELS // int(np.prod(dataset.note["shape"]))))
    rows, labels = _drawn(dataset, "train", limit)
    _require_all_classes(task, dataset, labels)
    gaussians = fit_gaussians(images, rows, labels, classes, params.principal_axes)
    vae, vae_loss = fit_vae(
        params.vae,
        _as_tensors(images, rows, labels),
        _as_tensors(images, *_drawn(dataset, "validation", limit)),
        classes,
        fabric,
    )
    return GenerationBaselines(
        {
            "methods": [GAUSSIANS, VAE],
            "fitted_on": len(rows),
            "reference_accuracy": {
                split: reference_classifier.accuracy(
                    classifier, images, dataset.rows(split), dataset.labels(split)
                )
                for split in ("train", "validation")
            },
            "vae_loss": vae_loss,
        },
        {
            reference_classifier.FILE: _weights(classifier),
            _GAUSSIANS_FILE: gaussians,
            _VAE_FILE: _weights(vae),
        },
    )


def load_samplers(task: "Task", dataset: Dataset) -> dict[str, Sampler]:
    """Return each fitted baseline's sampler: (labels, seed) -> samples.

    Raises:
        UserError: a baseline's file is missing or damaged.
    """
    folder, shape = task.folder("baseline"), tuple(dataset.note["shape"])
    vae = Autoencoder(task.params.baseline.vae, shape, len(dataset.classes))
    load_trainable(vae, folder / _VAE_FILE)
    gaussians = read_arrays(folder / _GAUSSIANS_FILE)
    return {GAUSSIANS: gaussian_sampler(gaussians, shape), VAE: vae_sampler(vae.eval())}


def _drawn(dataset: Dataset, split: str, limit: int) -> tuple[np.ndarray, np.ndarray]:
    """Return rows and labels of at most `limit` random images of a split, (n,) each."""
    indices = dataset.draw(split, limit, seed_for("baseline sample"))
    return dataset.rows(split)[indices], dataset.labels(split)[indices]


def _require_all_classes(task: "Task", dataset: Dataset, labels: np.ndarray) -> None:
    counts = np.bincount(labels, minlength=len(dataset.classes))
    if not counts.all():
        raise UserError(
            f"class {dataset.classes[int(counts.argmin())]!r} has no image among the {len(labels)} "
            f"that the baselines are fitted to; raise {task.key('baseline.max_samples')} or "
            f"{task.key('prepare.min_per_class')}, or lower {task.key('prepare.size')}"
        )


def _as_tensors(images: np.ndarray, rows: np.ndarray, labels: np.ndarray) -> LabelledImages:
    return to_tensor(images[rows]), torch.from_numpy(labels)


def _weights(model: nn.Module) -> dict[str, np.ndarray]:
    return {name: tensor.cpu().numpy() for name, tensor in trainable_state(model).items()}
