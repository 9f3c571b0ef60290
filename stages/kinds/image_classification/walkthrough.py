"""The first training step of a task with every value: tensor, layers, logits, loss, gradient, step."""

import copy
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from stages.core.runtime import seed_of_fold
from stages.datasets.dataset import read_dataset
from stages.kinds.image_classification.train import training_runs
from stages.report.formatting import table_rows
from stages.report.rendering import escape_markdown
from stages.training.devices import launch_fabric
from stages.training.sanity_checks.network import layer_shapes

if TYPE_CHECKING:
    from stages.core.task import Task

TEMPLATE = "walkthrough.md.j2"
PATCH = 5  # pixels a side of the part of an image that is printed
_STEP = 1e-4  # of the central difference


def walkthrough_values(task: "Task") -> dict[str, Any]:
    """Return the values of the first training step: primary seed, first batch, on the CPU in float32.

    Raises:
        UserError: the data have not been prepared.
    """
    cpu = {"device": "cpu", "precision": "32-true"}
    task = task.folds()[0]
    dataset = read_dataset(task)
    fabric = launch_fabric(task.runtime.alone.model_copy(update=cpu))
    params = task.params.train
    run = training_runs(task, fabric)(seed_of_fold(params.seeds[0], task.fold))
    (images,), labels = next(iter(run.batches(0)))
    layers = layer_shapes(run.model, images)
    model = run.model.train()
    middle = images.shape[-1] // 2
    smoothing = params.label_smoothing
    return {
        "task": task.name,
        "seed": params.seeds[0],
        "classes": dataset.classes,
        "count": len(images),
        "image_shape": tuple(images.shape),
        "patch": images[0, 0, middle:, middle:][:PATCH, :PATCH].tolist(),
        "augmented": params.augment is not None,
        "imagenet": params.initial_weights == "imagenet",
        "initial_weights": params.initial_weights,
        "layers": table_rows(layers),
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "labels": labels.tolist(),
        "first_label": dataset.classes[int(labels[0])],
        "smoothing": smoothing,
        "chance": math.log(len(dataset.classes)),
        "peak": params.learning_rate,
        "step": _STEP,
        **_training_step(model, run.optimizer, images, labels, run.learning_rate(0), smoothing),
    }


def _training_step(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    images: Tensor,
    labels: Tensor,
    rate: float,
    smoothing: float,
) -> dict[str, Any]:
    """Take one step; return logits, losses and gradients, beside the same computed by hand."""
    group = optimizer.param_groups[0]
    group["lr"] = rate
    logits = model(images)
    logits.retain_grad()
    loss = functional.cross_entropy(logits, labels, label_smoothing=smoothing)
    loss.backward()  # type: ignore[no-untyped-call]
    layer = _first_convolution(model)
    weights = model.get_parameter(layer)
    assert weights.grad is not None  # noqa: S101 (set by backward)
    assert logits.grad is not None  # noqa: S101
    gradients = weights.grad
    largest = torch.unravel_index(gradients.abs().argmax(), gradients.shape)
    index = tuple(int(coordinate) for coordinate in largest)
    gradient = gradients[index].item()
    difference = _central_difference(model, layer, index, images, labels, smoothing)
    before = weights[index].item()
    optimizer.step()
    with torch.no_grad():
        loss_after = functional.cross_entropy(
            model(images), labels, label_smoothing=smoothing
        ).item()
    probabilities = logits.detach().softmax(dim=1)
    targets = _targets(labels, probabilities.shape[1], smoothing)
    return {
        "logits": logits[0].tolist(),
        "probabilities": probabilities[0].tolist(),
        "first_loss": -(targets[0] * probabilities[0].log()).sum().item(),
        "loss": loss.item(),
        "logit_gradient": logits.grad[0].tolist(),
        "logit_gradient_by_hand": ((probabilities - targets) / len(labels))[0].tolist(),
        "name": f"{layer}[{', '.join(map(str, index))}]",
        "gradient": gradient,
        "gradient_by_hand": difference,
        "rate": rate,
        "weight_decay": group["weight_decay"],
        "before": before,
        "after": weights[index].item(),
        "after_by_hand": _first_adamw_step(before, gradient, rate, group),
        "loss_after": loss_after,
    }


def _first_convolution(model: nn.Module) -> str:
    """Return the name of the weights of the first convolution."""
    return next(name for name, weights in model.named_parameters() if weights.ndim == 4)  # noqa: PLR2004


def _targets(labels: Tensor, classes: int, smoothing: float) -> Tensor:
    """Return the target distributions, (batch, classes), as cross entropy smooths them."""
    return functional.one_hot(labels, classes) * (1 - smoothing) + smoothing / classes


def _central_difference(
    model: nn.Module,
    layer: str,
    index: tuple[int, ...],
    images: Tensor,
    labels: Tensor,
    smoothing: float,
) -> float:
    """Return d loss / d weight, from the losses on both sides of that weight, in double precision."""
    copied = copy.deepcopy(model).double()
    weights = copied.get_parameter(layer)
    losses = []
    with torch.no_grad():
        for change in (_STEP, -2 * _STEP):
            weights[index] += change
            logits = copied(images.double())
            losses.append(
                functional.cross_entropy(logits, labels, label_smoothing=smoothing).item()
            )
    return (losses[0] - losses[1]) / (2 * _STEP)


def _first_adamw_step(before: float, gradient: float, rate: float, group: dict[str, Any]) -> float:
    """Return a weight after AdamW's first step (Loshchilov and Hutter, 2019, algorithm 2).

    At the first step the bias corrections cancel the averaging: the moments are the gradient and its
    square.
    """
    decayed = before * (1 - rate * group["weight_decay"])
    after: float = decayed - rate * gradient / (abs(gradient) + float(group["eps"]))
    return after


def render_walkthrough(values: dict[str, Any]) -> str:
    """Return the walkthrough as Markdown."""
    from jinja2 import Environment, StrictUndefined

    environment = Environment(
        undefined=StrictUndefined,
        autoescape=False,  # noqa: S701 (Markdown; names are escaped by the filter)
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["text"] = escape_markdown
    text = (Path(__file__).parent / TEMPLATE).read_text(encoding="utf-8")
    return environment.from_string(text).render(values)
