"""The workshop's network: two convolutions, small enough to follow a number through it."""

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn

from stages.shared.images.network import Classifier, normalise_by
from stages.shared.runtime import device, seed_for
from stages.shared.weights import load_learnt

if TYPE_CHECKING:
    from stages.shared.dataset import Dataset
    from stages.shared.task import Task


def build(channels: list[int], classes: int) -> Classifier:
    """Return a tiny CNN: for each of `channels` a 3x3 convolution, ReLU and, but for the last, a 2x2 pool.

    The mean over all places is judged: where a stripe lies does not matter, only that it is there.
    """
    layers: list[nn.Module] = []
    for before, after in zip([1, *channels], channels, strict=False):
        if layers:
            layers.append(nn.MaxPool2d(2))
        layers += [nn.Conv2d(before, after, 3, padding=1), nn.ReLU()]
    features = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())
    return Classifier(features, channels[-1], classes, 1)


def fresh_model(task: "Task", dataset: "Dataset", images: np.ndarray, seed: int) -> Classifier:
    """Return the model before its first step: initialised, and normalised by the training images."""
    torch.manual_seed(seed_for(seed, "initial weights"))
    model = build(task.params.train.channels, len(dataset.classes))
    normalise_by(model, images, dataset.rows("train"))
    return model


def load(task: "Task", dataset: "Dataset", seed: int) -> Classifier:
    """Return the trained model of one seed, ready to predict.

    Raises:
        Refusal: its weights are missing, damaged, or of another model.
    """
    model = build(task.params.train.channels, len(dataset.classes))
    load_learnt(model, task.folder("train") / f"weights-{seed}.safetensors")
    return model.eval().to(device(task.runtime))
