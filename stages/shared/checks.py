"""What must hold before a model is trained; each check says what it saw."""

import inspect
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from torch.nn import functional

from stages.shared.dataset import Dataset

if TYPE_CHECKING:
    from stages.shared.files import Content
    from stages.shared.schema import CheckNetwork

Loss = Callable[[nn.Module], Tensor]
_SHAPES = ["layer", "kind", "output_shape", "parameters"]


@dataclass(frozen=True)
class Check:
    """A check's name, whether it held, and what it saw, with its figures."""

    name: str
    held: bool
    saw: str


@dataclass(frozen=True)
class Checked:
    """Each check's result, the shape of every layer's output, and what else a task looked at."""

    checks: list[Check]
    shapes: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=_SHAPES))
    more: "dict[str, Content]" = field(default_factory=dict)

    def files(self) -> "dict[str, Content]":
        """Return what the stage writes."""
        rows = [
            {"check": check.name, "held": check.held, "saw": check.saw} for check in self.checks
        ]
        return {"checks.json": rows, "shapes.csv": self.shapes, **self.more}


def of_data(dataset: Dataset, pairs: np.ndarray) -> list[Check]:
    """Return what must hold of prepared samples.

    Args:
        dataset: the samples.
        pairs: (m, 2), rows of the packed array that nearly repeat each other.
    """
    kept = dataset.samples["row"].to_numpy()
    position = np.full(max(kept.max(), pairs.max(initial=0)) + 1, -1)
    position[kept] = np.arange(len(kept))
    both = position[pairs]
    return [
        labels(dataset),
        groups(dataset),
        duplicates(dataset, both[(both >= 0).all(axis=1)]),
    ]


def of_classifier(
    model: nn.Module,
    batch: Tensor,
    truth: Tensor,
    classes: int,
    params: "CheckNetwork",
    rate: float,
) -> tuple[list[Check], pd.DataFrame]:
    """Return what must hold of a fresh classifier on one batch, and its layers' shapes.

    Args:
        model: gives logits (batch, classes).
        batch: what it is given.
        truth: (batch,), the labels.
        classes: how many.
        params: of the stage check.
        rate: the peak learning rate of training.
    """

    def loss(network: nn.Module) -> Tensor:
        return functional.cross_entropy(network(batch), truth)

    table = shapes(model, batch)
    return [
        output_shape(table, len(batch), classes),
        first_loss(model, loss, classes, params.first_loss_tolerance),
        gradients(model, loss),
        overfits(model, loss, params.overfit_steps, params.overfit_loss, rate),
    ], table


def labels(dataset: Dataset) -> Check:
    """Hold that every label names a class, and that every class is in the training data."""
    given = dataset.samples["label"].to_numpy()
    classes = len(dataset.classes)
    wrong = np.flatnonzero((given < 0) | (given >= classes))
    absent = sorted(set(range(classes)) - set(dataset.labels("train").tolist()))
    if len(wrong):
        first = dataset.samples.iloc[int(wrong[0])]
        saw = f"{len(wrong)} labels out of range, the first {first['label']} ({first['id']})"
    elif absent:
        saw = f"no training sample of class {dataset.classes[absent[0]]!r} ({len(absent)} absent)"
    else:
        saw = f"{len(given)} labels, all from 0 to {classes - 1}; every class is in train"
    return Check("labels in range, every class in train", not len(wrong) and not absent, saw)


def groups(dataset: Dataset) -> Check:
    """Hold that no group (a writer, a family of near duplicates) is in two splits."""
    per_group = dataset.samples.groupby("group")["split"].nunique()
    shared = per_group[per_group > 1].index
    saw = (
        f"groups in more than one split: {len(shared)}, the first {shared[0]!r}"
        if len(shared)
        else f"{len(per_group)} groups, each in one split"
    )
    return Check("no group across splits", not len(shared), saw)


def duplicates(dataset: Dataset, pairs: np.ndarray) -> Check:
    """Hold that no near-duplicate pair straddles two splits.

    Args:
        dataset: the samples.
        pairs: (m, 2), positions among the samples.
    """
    split = dataset.samples["split"].astype(str).to_numpy()
    across = pairs[split[pairs[:, 0]] != split[pairs[:, 1]]]
    saw = f"near-duplicate pairs: {len(pairs)}, across splits: 0"
    if len(across):
        one, other = (dataset.samples.iloc[int(index)]["id"] for index in across[0])
        saw = f"near-duplicate pairs across splits: {len(across)}, the first {one} and {other}"
    return Check("no duplicate across splits", not len(across), saw)


def shapes(model: nn.Module, *inputs: Tensor) -> pd.DataFrame:
    """Return each layer's kind, output shape and parameter count, in the order in which they run."""
    rows: list[dict[str, Any]] = [
        {"layer": name, "kind": "", "output_shape": _shape(one), "parameters": 0}
        for name, one in zip(_names(model, len(inputs)), inputs, strict=True)
    ]
    handles = []
    for name, module in model.named_modules():
        if next(module.children(), None) is not None:
            continue

        def note(module: nn.Module, _: Any, output: Tensor, name: str = name) -> None:
            rows.append(
                {
                    "layer": name,
                    "kind": type(module).__name__,
                    "output_shape": _shape(output),
                    "parameters": sum(parameter.numel() for parameter in module.parameters()),
                }
            )

        handles.append(module.register_forward_hook(note))
    try:
        with torch.no_grad():
            model.eval()(*inputs)
    finally:
        for handle in handles:
            handle.remove()
    return pd.DataFrame(rows)


def _names(model: nn.Module, count: int) -> list[str]:
    if count == 1:
        return ["input"]
    return [f"input {name}" for name in inspect.signature(model.forward).parameters][:count]


def _shape(tensor: Tensor) -> str:
    return "(" + ", ".join(str(size) for size in tensor.shape) + ")"


def output_shape(table: pd.DataFrame, batch: int, classes: int) -> Check:
    """Hold that the batch comes out of the last layer as (batch, classes)."""
    last = table.iloc[-1]["output_shape"]
    want = f"({batch}, {classes})"
    saw = f"{table.iloc[0]['output_shape']} → {last} through {len(table) - 1} layers"
    if last != want:
        saw += f"; must end in {want}"
    return Check("shapes through every layer", last == want, saw)


def first_loss(model: nn.Module, loss: Loss, classes: int, tolerance: float) -> Check:
    """Hold that an untrained model's loss is near ln(classes): it knows nothing, and knows that."""
    with torch.no_grad():
        found = loss(model.train()).item()
    expected = math.log(classes)
    saw = f"loss {found:.4f}, ln({classes}) = {expected:.4f}, tolerance {tolerance:g}"
    return Check("first loss near ln(classes)", abs(found - expected) <= tolerance, saw)


def gradients(model: nn.Module, loss: Loss) -> Check:
    """Hold that a finite gradient, not all zero, reaches every parameter that is to be trained."""
    model.train().zero_grad()
    loss(model).backward()  # type: ignore[no-untyped-call]
    trained = {name: p.grad for name, p in model.named_parameters() if p.requires_grad}
    lacking = [name for name, grad in trained.items() if grad is None or not grad.any()]
    wild = [
        name
        for name, grad in trained.items()
        if grad is not None and not torch.isfinite(grad).all()
    ]
    model.zero_grad()
    count = len(trained)
    saw = f"{count} parameter tensors, each with a finite gradient"
    if lacking:
        saw = f"no gradient reaches {lacking[0]} ({len(lacking)} of {count} tensors)"
    elif wild:
        saw = f"the gradient of {wild[0]} is not finite ({len(wild)} of {count} tensors)"
    return Check("a gradient reaches every parameter", not lacking and not wild, saw)


def overfits(model: nn.Module, loss: Loss, steps: int, target: float, rate: float) -> Check:
    """Hold that one small batch can be learnt by heart: else the model, loss or inputs are at fault.

    Adam (Kingma and Ba, 2015, algorithm 1), in a few lines: torch's optimizers take seconds to
    import on first use, more than all the checks together.
    """
    model.train()
    parameters = [p for p in model.parameters() if p.requires_grad]
    first = [torch.zeros_like(p) for p in parameters]
    second = [torch.zeros_like(p) for p in parameters]
    start = found = math.nan
    for step in range(1, steps + 1):
        value = loss(model)
        found = value.item()
        start = found if step == 1 else start
        if found <= target or not math.isfinite(found):
            break
        gradient = torch.autograd.grad(value, parameters, allow_unused=True, materialize_grads=True)
        with torch.no_grad():
            for p, g, m, v in zip(parameters, gradient, first, second, strict=True):
                m.lerp_(g, 0.1)
                v.lerp_(g * g, 0.001)
                p.sub_(rate * (m / (1 - 0.9**step)) / ((v / (1 - 0.999**step)).sqrt() + 1e-8))
    saw = f"loss {start:.4f} → {found:.4f} in {step} steps on one batch (at most {target:g} asked for)"
    return Check("one small batch can be overfitted", found <= target, saw)
