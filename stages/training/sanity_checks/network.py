"""Checks of an untrained network on one batch: shapes, input scale, first loss, gradients, overfitting."""

import inspect
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pandas as pd
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.hooks import RemovableHandle

from stages.core.errors import UserError
from stages.training.sanity_checks.results import Check

if TYPE_CHECKING:
    from stages.core.schema import CheckNetwork

Loss = Callable[[nn.Module], Tensor]

# Bounds for normalised inputs. ImageNet's normalisation, the widest here, maps pixels from 0 to 1 to
# values from -2.2 to 2.7. Pixels divided by 255 twice have a standard deviation below 0.1.
_MAX_MEAN, _MIN_STD, _MAX_STD = 3.0, 0.1, 3.0


def classifier_checks(
    model: nn.Module,
    batch: Tensor,
    labels: Tensor,
    classes: int,
    params: "CheckNetwork",
    learning_rate: float,
) -> tuple[list[Check], pd.DataFrame]:
    """Return the checks of an untrained classifier on one batch, and the shapes of its layers.

    Args:
        model: batch -> logits (batch, classes).
        batch: the model's input.
        labels: (batch,).
        classes: how many.
        params: of the stage check.
        learning_rate: the peak learning rate of training.
    """

    def loss(network: nn.Module) -> Tensor:
        return functional.cross_entropy(network(batch), labels)

    shapes = layer_shapes(model, batch)
    checks = [check_output_shape(shapes, len(batch), classes)]
    if batch.is_floating_point():  # tokens have no scale
        checks.append(check_input_scale(model, batch))
    checks += [
        check_first_loss(model, loss, classes, params.first_loss_tolerance),
        check_gradients(model, loss),
        check_overfitting(model, loss, params.overfit_steps, params.overfit_loss, learning_rate),
    ]
    return checks, shapes


def layer_shapes(model: nn.Module, *inputs: Tensor) -> pd.DataFrame:
    """Return the inputs and each layer, in the order of computation, with kind, output shape, parameters.

    Raises:
        UserError: a layer does not accept the shape of its input.
    """
    rows: list[dict[str, Any]] = [
        {"layer": name, "kind": "", "output_shape": _shape(tensor), "parameters": 0}
        for name, tensor in zip(_input_names(model, len(inputs)), inputs, strict=True)
    ]
    current = ""

    def before(name: str, module: nn.Module, tensors: tuple[Tensor, ...]) -> None:
        nonlocal current
        current = f"{name} ({module}) cannot take {', '.join(_shape(tensor) for tensor in tensors)}"

    def after(name: str, module: nn.Module, output: Tensor) -> None:
        if any(row["layer"] == name for row in rows):  # it ran again, for mirror images
            return
        parameters = sum(parameter.numel() for parameter in module.parameters())
        kind = type(module).__name__
        rows.append(
            {"layer": name, "kind": kind, "output_shape": _shape(output), "parameters": parameters}
        )

    try:
        _run_with_hooks(model, inputs, before, after)
    except RuntimeError as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"shapes through every layer: {current}: {reason}") from None
    return pd.DataFrame(rows)


def _run_with_hooks(
    model: nn.Module,
    inputs: tuple[Tensor, ...],
    before: Callable[[str, nn.Module, tuple[Tensor, ...]], None],
    after: Callable[[str, nn.Module, Tensor], None] = lambda *_: None,
) -> None:
    """Run the model in evaluation mode, without gradients.

    `before` is called with the name, the module and the inputs of each layer (a module without
    children), and `after` with its output.
    """

    def add_hooks(name: str, layer: nn.Module) -> list[RemovableHandle]:
        return [
            layer.register_forward_pre_hook(lambda module, tensors: before(name, module, tensors)),
            layer.register_forward_hook(lambda module, _, output: after(name, module, output)),
        ]

    layers = [
        (name, module)
        for name, module in model.named_modules()
        if next(module.children(), None) is None
    ]
    handles = [handle for name, layer in layers for handle in add_hooks(name, layer)]
    try:
        with torch.no_grad():
            model.eval()(*inputs)
    finally:
        for handle in handles:
            handle.remove()


def _input_names(model: nn.Module, count: int) -> list[str]:
    if count == 1:
        return ["input"]
    return [f"input {name}" for name in inspect.signature(model.forward).parameters][:count]


def _shape(tensor: Tensor) -> str:
    return "(" + ", ".join(str(size) for size in tensor.shape) + ")"


def check_output_shape(shapes: pd.DataFrame, batch: int, classes: int) -> Check:
    """Check that the output of the last layer is (batch, classes)."""
    output = shapes.iloc[-1]["output_shape"]
    expected = f"({batch}, {classes})"
    observed = f"{shapes.iloc[0]['output_shape']} → {output} through {len(shapes) - 1} layers"
    if output != expected:
        observed += f"; must end in {expected}"
    return Check("shapes through every layer", output == expected, observed)


def check_input_scale(model: nn.Module, *inputs: Tensor) -> Check:
    """Check that the input of the first layer has a mean near 0 and a standard deviation near 1.

    The first layer is the first with parameters whose input has as many dimensions as the first of
    `inputs` (if there is none, the first with parameters). Normalisation within the model is included.
    """
    candidates: list[tuple[bool, str, Tensor]] = []

    def before(name: str, module: nn.Module, tensors: tuple[Tensor, ...]) -> None:
        has_parameters = next(module.parameters(), None) is not None
        if has_parameters and tensors[0].is_floating_point():
            candidates.append((tensors[0].ndim == inputs[0].ndim, name, tensors[0]))

    _run_with_hooks(model, inputs, before)
    _, name, tensor = max(candidates, key=lambda candidate: candidate[0])  # the first of equals
    mean, std = tensor.mean().item(), tensor.std().item()
    observed = (
        f"the input of {name} has mean {mean:.3g} (allowed: -{_MAX_MEAN:g} to {_MAX_MEAN:g}) and "
        f"standard deviation {std:.3g} (allowed: {_MIN_STD:g} to {_MAX_STD:g})"
    )
    passed = abs(mean) <= _MAX_MEAN and _MIN_STD <= std <= _MAX_STD
    return Check("inputs are scaled", passed, observed)


def check_first_loss(model: nn.Module, loss: Loss, classes: int, tolerance: float) -> Check:
    """Check that the loss of an untrained classifier is near ln(classes), that of equal probabilities."""
    with torch.no_grad():
        value = loss(model.train()).item()
    expected = math.log(classes)
    observed = f"loss {value:.4f}, ln({classes}) = {expected:.4f}, tolerance {tolerance:g}"
    return Check("first loss near ln(classes)", abs(value - expected) <= tolerance, observed)


def check_gradients(model: nn.Module, loss: Loss) -> Check:
    """Check that every trainable parameter gets a gradient that is finite and not all zero."""
    model.train().zero_grad()
    loss(model).backward()  # type: ignore[no-untyped-call]
    gradients = {name: p.grad for name, p in model.named_parameters() if p.requires_grad}
    absent = [name for name, grad in gradients.items() if grad is None or not grad.any()]
    infinite = [
        name
        for name, grad in gradients.items()
        if grad is not None and not torch.isfinite(grad).all()
    ]
    model.zero_grad()
    count = len(gradients)
    observed = f"{count} parameter tensors, each with a finite gradient"
    if absent:
        observed = f"no gradient reaches {absent[0]} ({len(absent)} of {count} tensors)"
    elif infinite:
        observed = (
            f"the gradient of {infinite[0]} is not finite ({len(infinite)} of {count} tensors)"
        )
    return Check("a gradient reaches every parameter", not absent and not infinite, observed)


def check_overfitting(
    model: nn.Module, loss: Loss, steps: int, target: float, learning_rate: float
) -> Check:
    """Check that Adam can overfit one small batch; if not, the model, the loss or the inputs are wrong."""
    model.train()
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.Adam(parameters, lr=learning_rate)
    first = value = math.nan
    for step in range(1, steps + 1):
        optimizer.zero_grad()
        batch_loss = loss(model)
        value = batch_loss.item()
        first = value if step == 1 else first
        if value <= target or not math.isfinite(value):
            break
        batch_loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    observed = (
        f"loss {first:.4f} → {value:.4f} in {step} steps on one batch (at most {target:g} allowed)"
    )
    return Check("one small batch can be overfitted", value <= target, observed)
