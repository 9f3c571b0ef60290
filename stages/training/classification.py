"""Training a classifier: batches, cross entropy, AdamW or SGD, one cycle."""

import math
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from stages.training.batches import random_batches
from stages.training.loop import Scores, TrainingRun
from stages.training.schedules import RISE, SCHEDULES

if TYPE_CHECKING:
    from lightning_fabric import Fabric

    from stages.core.schema import FitClassifier

_MOMENTUM = 0.9  # of SGD
_SGD_OVER_ADAM = 100  # usual learning rates: 0.1 to 0.4 of SGD, 0.001 to 0.004 of Adam

Batch = tuple[tuple[Tensor, ...], Tensor]


def shuffled_batches(
    count: int, size: int, seed: int, epoch: int, fabric: "Fabric"
) -> Iterator[np.ndarray]:
    """Yield this process's share of each batch of an epoch, as sorted indices of `count` samples.

    The last, smaller batch is dropped; its samples differ from epoch to epoch.

    Args:
        count: training samples.
        size: of a batch, over all processes; at most `count`.
        seed: the run's.
        epoch: from 0.
        fabric: rank and number of processes.
    """
    share = size // fabric.world_size
    for batch in random_batches(count, size, seed, epoch):
        indices = batch[fabric.global_rank * share :][:share]
        yield np.sort(indices)  # the memory map is read forwards


def classification_run(
    model: nn.Module,
    batches: Callable[[int], Iterable[Batch]],
    validation_batches: Callable[[], Iterable[Batch]],
    steps: int,
    params: "FitClassifier",
    classes: int,
    class_weights: np.ndarray | None = None,
) -> TrainingRun:
    """Return the run that trains `model` to classify, by cross entropy, on one cycle.

    Args:
        model: inputs -> logits (batch, classes).
        batches: epoch -> batches of (inputs, labels), each process its own.
        validation_batches: the validation data, in batches.
        steps: batches an epoch.
        params: optimizer, epochs, learning_rate (the peak), schedule, weight_decay, label_smoothing.
        classes: how many.
        class_weights: the weight of each class in both losses, (classes,); None: all weigh the same.
    """
    class_weight = None if class_weights is None else torch.from_numpy(class_weights)

    def cross_entropy(logits: Tensor, labels: Tensor, smoothing: float = 0.0) -> Tensor:
        weight = None if class_weight is None else class_weight.to(logits.device, logits.dtype)
        return functional.cross_entropy(logits, labels, weight, label_smoothing=smoothing)

    def scores(network: nn.Module, batch: Batch) -> Scores:
        inputs, labels = batch
        logits = network(*inputs)
        loss = cross_entropy(logits, labels, params.label_smoothing)
        return {"loss": loss, "accuracy": (logits.argmax(dim=1) == labels).float().mean()}

    def validate(network: nn.Module) -> dict[str, float]:
        parts = [
            (network(*inputs).float().cpu(), labels.cpu())
            for inputs, labels in validation_batches()
        ]
        logits, labels = (torch.cat(column) for column in zip(*parts, strict=True))
        return {
            "loss": cross_entropy(logits, labels).item(),
            "accuracy": (logits.argmax(dim=1) == labels).float().mean().item(),
        }

    return TrainingRun(
        model,
        make_optimizer(model, params),
        SCHEDULES[params.schedule](params.learning_rate, steps * params.epochs, RISE),
        batches,
        scores,
        validate,
        params.epochs,
        chance_loss=math.log(classes),
        steps=steps,
    )


def adam_rate(params: "FitClassifier") -> float:
    """Return a learning rate for Adam that suits a network which the params train, about."""
    return params.learning_rate / (1 if params.optimizer == "adamw" else _SGD_OVER_ADAM)


def make_optimizer(model: nn.Module, params: "FitClassifier") -> torch.optim.Optimizer:
    """Return the optimizer of a classifier's trainable parameters.

    "adamw" is AdamW (Loshchilov and Hutter, 2019). "sgd" is SGD with Nesterov's momentum of 0.9, which does
    not decay biases and the parameters of norms (He et al., 2019, section 3.1).

    Args:
        model: the classifier.
        params: optimizer, learning_rate, weight_decay.
    """
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    rate, decay = params.learning_rate, params.weight_decay
    if params.optimizer == "adamw":
        return torch.optim.AdamW(parameters, lr=rate, weight_decay=decay, fused=True)
    groups = [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.SGD(groups, lr=rate, momentum=_MOMENTUM, nesterov=True, fused=True)
