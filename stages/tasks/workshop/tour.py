"""One step of the training loop with every value: tensor, layers, logits, loss, gradient, step."""

import copy
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from stages.shared.checks import shapes
from stages.shared.dataset import read_dataset
from stages.shared.training import launched
from stages.shared.wording import rows_of
from stages.tasks.workshop.train import jobs

if TYPE_CHECKING:
    from stages.shared.task import Task

LAYER = "features.0.weight"
PATCH = 5
_NUDGE = 1e-4


def followed(task: "Task") -> dict[str, Any]:
    """Return the values of the first step that training takes: first seed, first batch.

    Raises:
        Refusal: the data have not been prepared.
    """
    fabric = launched(task.runtime)
    dataset = read_dataset(task.folder("prepare"))
    job = jobs(task, fabric)(task.params.train.seeds[0])
    model = job.model.train()
    (images,), labels = next(iter(job.batches(0)))
    table = shapes(model, images)
    model.train()
    rate = job.learning_rate(0)
    group = job.optimizer.param_groups[0]
    group["lr"] = rate

    logits = model(images)
    logits.retain_grad()
    loss = functional.cross_entropy(logits, labels)
    loss.backward()  # type: ignore[no-untyped-call]
    weights = model.get_parameter(LAYER)
    gradient = weights.grad
    assert gradient is not None  # noqa: S101 (backward has just filled it)
    place = tuple(int(i) for i in torch.unravel_index(gradient.abs().argmax(), gradient.shape))
    by_hand = _by_hand_slope(model, LAYER, place, images, labels)
    before = weights[place].item()
    job.optimizer.step()
    after = weights[place].item()
    with torch.no_grad():
        loss_after = functional.cross_entropy(model(images), labels).item()

    probabilities = logits.detach().softmax(dim=1)
    slope = gradient[place].item()
    assert logits.grad is not None  # noqa: S101
    middle = images.shape[-1] // 2
    return {
        "classes": dataset.classes,
        "count": len(images),
        "image_shape": tuple(images.shape),
        "patch": images[0, 0, middle : middle + PATCH, middle : middle + PATCH].tolist(),
        "layers": rows_of(table),
        "labels": labels.tolist(),
        "first_label": dataset.classes[int(labels[0])],
        "logits": logits[0].tolist(),
        "probabilities": probabilities[0].tolist(),
        "first_loss": -math.log(probabilities[0, labels[0]].item()),
        "loss": loss.item(),
        "chance": math.log(len(dataset.classes)),
        "logit_gradient": logits.grad[0].tolist(),
        "logit_gradient_by_hand": _by_hand_logits(probabilities, labels)[0].tolist(),
        "name": f"{LAYER}[{', '.join(map(str, place))}]",
        "gradient": slope,
        "gradient_by_hand": by_hand,
        "nudge": _NUDGE,
        "rate": rate,
        "peak": task.params.train.learning_rate,
        "weight_decay": group["weight_decay"],
        "before": before,
        "after": after,
        "after_by_hand": _by_hand_adamw(before, slope, rate, group),
        "loss_after": loss_after,
        "seed": task.params.train.seeds[0],
        "parameters": sum(p.numel() for p in model.parameters()),
    }


def _by_hand_logits(probabilities: Tensor, labels: Tensor) -> Tensor:
    """Return d loss / d logits of the mean cross entropy: (p - 1 at the true class) / batch."""
    found = probabilities.clone()
    found[torch.arange(len(labels)), labels] -= 1
    return found / len(labels)


def _by_hand_slope(
    model: nn.Module, name: str, place: tuple[int, ...], images: Tensor, labels: Tensor
) -> float:
    """Return d loss / d weight by nudging that one weight both ways, in double precision."""
    nudged = copy.deepcopy(model).double()
    weight = nudged.get_parameter(name)
    found = []
    with torch.no_grad():
        for nudge in (_NUDGE, -2 * _NUDGE):
            weight[place] += nudge
            found.append(functional.cross_entropy(nudged(images.double()), labels).item())
    return (found[0] - found[1]) / (2 * _NUDGE)


def _by_hand_adamw(before: float, slope: float, rate: float, group: dict[str, Any]) -> float:
    """Return a weight after AdamW's first step (Loshchilov and Hutter, 2019, algorithm 2).

    At the first step the bias corrections undo the averaging: both moments are the gradient's own.
    """
    decayed = before * (1 - rate * group["weight_decay"])
    moved: float = decayed - rate * slope / (abs(slope) + float(group["eps"]))
    return moved


def rendered(values: dict[str, Any]) -> str:
    """Return the tour as Markdown, its figures from `values`."""
    from jinja2 import Environment, StrictUndefined

    text = (Path(__file__).parent / "tour.md.j2").read_text(encoding="utf-8")
    environment = Environment(
        undefined=StrictUndefined,
        autoescape=False,  # noqa: S701 (figures and class names of ours, into Markdown)
        trim_blocks=True,
        keep_trailing_newline=True,
    )
    return environment.from_string(text).render(values)
