"""What must hold before a model is trained; each check says what it saw."""

import inspect
import math
import os
import subprocess
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from torch.nn import functional

from stages.shared.dataset import Dataset
from stages.shared.refusal import Refusal
from stages.shared.runtime import seed_for
from stages.shared.training import Job, fit

if TYPE_CHECKING:
    from lightning_fabric import Fabric

    from stages.shared.files import Content
    from stages.shared.schema import CheckNetwork

Loss = Callable[[nn.Module], Tensor]
_SHAPES = ["layer", "kind", "output_shape", "parameters"]
# Pixels from 0 to 1 lie from -2.2 to 2.7 once ImageNet's mean and deviation are taken off, the widest
# normalisation here; a spread below 0.1 is what dividing by 255 twice leaves.
_FAR, _NARROW, _WIDE = 3.0, 0.1, 3.0


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


def of_code() -> list[Check]:
    """Return what must hold of the training loop and of the seeds, whatever the data."""
    return [steps_by_hand(), seeds_elsewhere()]


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
    found = [output_shape(table, len(batch), classes)]
    if batch.is_floating_point():  # tokens have no scale
        found.append(scaled(model, batch))
    return [
        *found,
        first_loss(model, loss, classes, params.first_loss_tolerance),
        gradients(model, loss),
        overfits(model, loss, params.overfit_steps, params.overfit_loss, rate),
    ], table


class _OneProcess:
    """What `fit` asks of Fabric, on one CPU."""

    is_global_zero = True

    def setup(self, model: nn.Module, optimizer: Any) -> tuple[nn.Module, Any]:
        return model, optimizer

    def backward(self, loss: Tensor) -> None:
        loss.backward()  # type: ignore[no-untyped-call]

    def all_reduce(self, values: Tensor, reduce_op: str) -> Tensor:  # noqa: ARG002
        return values


class _Descent:
    """Plain gradient descent; torch's own takes seconds to import on first use."""

    def __init__(self, parameters: Iterable[nn.Parameter]) -> None:
        self.param_groups: list[dict[str, Any]] = [{"params": list(parameters), "lr": math.nan}]

    def zero_grad(self) -> None:
        for parameter in self.param_groups[0]["params"]:
            parameter.grad = None

    def step(self) -> None:
        group = self.param_groups[0]
        with torch.no_grad():
            for parameter in group["params"]:
                parameter.sub_(group["lr"] * parameter.grad)


def steps_by_hand() -> Check:
    """Hold that the training loop takes two steps of gradient descent as they are taken by hand.

    One weight w, from 1, is to map 1 to 3 and then 2 to 1, by squared error. The first gradient is
    2(1 - 3) = -4, so a rate of 0.1 leads to 1.4; the second is 2(2.8 - 1)2 = 7.2, so a rate of 0.05
    leads to 1.04. A rate that is not the job's, a gradient that stays from the step before or that
    does not arrive leads elsewhere.
    """
    model = nn.Linear(1, 1, bias=False)
    nn.init.ones_(model.weight)
    pairs = [(1.0, 3.0), (2.0, 1.0)]
    met = [1.0]

    def scores(network: nn.Module, pair: tuple[float, float]) -> dict[str, Tensor]:
        return {"loss": (network(torch.tensor([pair[0]])) - pair[1]).square().mean()}

    job = Job(
        model,
        cast("torch.optim.Optimizer", _Descent(model.parameters())),
        lambda step: (0.1, 0.05)[step],
        lambda _: pairs,
        scores,
        lambda _: {"loss": 0.0},
        epochs=1,
    )
    model.register_forward_pre_hook(lambda *_: met.append(model.weight.item()))
    name, want = "the loop steps as by hand", "1 → 1.4 → 1.04"
    try:
        fit(job, cast("Fabric", _OneProcess()))
    except RuntimeError as error:  # of torch: there is no way back from the loss to the weight
        return Check(name, held=False, saw=f"{str(error).splitlines()[0]}; by hand {want}")
    found = [*met[1:], model.weight.item()]
    held = np.allclose(found, [1.0, 1.4, 1.04], rtol=1e-5, atol=0)
    path = " → ".join(f"{weight:.6g}" for weight in found)
    return Check(name, held, f"one weight went {path}" + ("" if held else f"; by hand {want}"))


def seeds_elsewhere() -> Check:
    """Hold that another process, with another hash seed of Python's, draws the same seed."""
    here = seed_for(0, "another process", 1)
    other = "2" if os.environ.get("PYTHONHASHSEED") == "1" else "1"
    root = Path(__file__).resolve().parents[2]
    asking = "from stages.shared.runtime import seed_for; print(seed_for(0, 'another process', 1))"
    done = subprocess.run(
        [sys.executable, "-c", asking],
        env={**os.environ, "PYTHONHASHSEED": other, "PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        check=False,
    )
    there = done.stdout.strip() or "nothing"
    saw = f"seed_for gives {here} here, {there} in another process"
    return Check("seeds are the same in another process", there == str(here), saw)


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
    """Return each layer's kind, output shape and parameter count, in the order in which they run.

    Raises:
        Refusal: a layer cannot take what it is given.
    """
    rows: list[dict[str, Any]] = [
        {"layer": name, "kind": "", "output_shape": _shape(one), "parameters": 0}
        for name, one in zip(_names(model, len(inputs)), inputs, strict=True)
    ]
    handles = []
    entered = ""
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

        def enter(module: nn.Module, given: tuple[Tensor, ...], name: str = name) -> None:
            nonlocal entered
            shown = ", ".join(_shape(one) for one in given)
            entered = f"{name} ({module}) cannot take {shown}"

        handles.append(module.register_forward_hook(note))
        handles.append(module.register_forward_pre_hook(enter))
    try:
        with torch.no_grad():
            model.eval()(*inputs)
    except RuntimeError as error:
        raise Refusal(
            f"shapes through every layer: {entered}: {str(error).splitlines()[0]}"
        ) from None
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


def scaled(model: nn.Module, *inputs: Tensor) -> Check:
    """Hold that the first layer is given numbers near 0 with a spread near 1.

    That is the first layer with parameters that is given as many dimensions as the model's first
    input has (or, without one, the first of all); what the model does to its inputs before is part
    of the scale.
    """
    met: list[tuple[bool, str, Tensor]] = []
    handles = []
    for name, module in model.named_modules():
        if next(module.children(), None) is not None or next(module.parameters(), None) is None:
            continue

        def note(_: nn.Module, given: tuple[Tensor, ...], name: str = name) -> None:
            if given[0].is_floating_point():
                met.append((given[0].ndim == inputs[0].ndim, name, given[0]))

        handles.append(module.register_forward_pre_hook(note))
    try:
        with torch.no_grad():
            model.eval()(*inputs)
    finally:
        for handle in handles:
            handle.remove()
    _, layer, first = max(met, key=lambda one: one[0])  # the first of equals
    mean, spread = first.mean().item(), first.std().item()
    saw = (
        f"{layer} is given numbers with mean {mean:.3g}, standard deviation {spread:.3g} "
        f"(at most {_FAR:g} from 0, from {_NARROW:g} to {_WIDE:g})"
    )
    return Check("inputs are scaled", abs(mean) <= _FAR and _NARROW <= spread <= _WIDE, saw)


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
