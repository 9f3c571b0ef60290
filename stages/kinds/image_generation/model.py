"""The flow: a small U-Net that predicts a velocity field, and the solver that integrates it."""

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from stages.core.files import read_json
from stages.core.runtime import seed_for, torch_device
from stages.kinds.image_generation.inputs import PathPoint, ValidationPoints, to_pixels
from stages.training.weights import load_trainable

if TYPE_CHECKING:
    from stages.core.task import Task
    from stages.datasets.dataset import Dataset
    from stages.kinds.image_generation.schema import EvaluateFlow, TrainFlow

GROUP = 8  # channels normalised together; the schema requires multiples of it
_FREQUENCIES = 32  # of the time embedding
_HEAD_SCALE = 0.01
_PIXELS_PER_BATCH = 16_000  # of samples drawn at once
_RANDN_BLOCK = 16
Velocity = Callable[[Tensor, Tensor], Tensor]


class Block(nn.Module):
    """Two 3x3 convolutions with a shortcut, modulated in between by time and label.

    Ho et al. (2020), appendix B, with the scale and shift of Dhariwal and Nichol (2021), section 3.
    """

    def __init__(self, inputs: int, outputs: int, condition: int) -> None:
        super().__init__()
        self.norm1 = nn.GroupNorm(inputs // GROUP, inputs)
        self.act = nn.SiLU()
        self.convolution1 = nn.Conv2d(inputs, outputs, 3, padding=1)
        self.modulate = nn.Linear(condition, 2 * outputs)
        self.norm2 = nn.GroupNorm(outputs // GROUP, outputs)
        self.convolution2 = nn.Conv2d(outputs, outputs, 3, padding=1)
        self.shortcut: nn.Module = nn.Identity()
        if inputs != outputs:
            self.shortcut = nn.Conv2d(inputs, outputs, 1)

    def forward(self, images: Tensor, condition: Tensor) -> Tensor:
        """Return (batch, outputs, height, width).

        Args:
            images: (batch, inputs, height, width).
            condition: (batch, condition), of time and label.
        """
        change = self.convolution1(self.act(self.norm1(images)))
        scale, shift = self.modulate(condition)[:, :, None, None].chunk(2, dim=1)
        change = self.norm2(change) * (1 + scale) + shift
        change = self.convolution2(self.act(change))
        result: Tensor = self.shortcut(images) + change
        return result


class Flow(nn.Module):
    """A U-Net (Ronneberger et al., 2015) from a point, its time and a label to a velocity.

    Each level halves the sides; its output on the way down is concatenated on the way up.
    """

    def __init__(self, channels: list[int], inputs: int, classes: int) -> None:
        super().__init__()
        self.classes = classes
        condition = 2 * channels[0]
        self.time = nn.Sequential(
            nn.Linear(2 * _FREQUENCIES, condition), nn.SiLU(), nn.Linear(condition, condition)
        )
        self.label = nn.Embedding(classes + 1, condition)  # the last one: no label
        self.act, self.shrink, self.enlarge = (
            nn.SiLU(),
            nn.AvgPool2d(2),
            nn.Upsample(scale_factor=2),
        )
        self.stem = nn.Conv2d(inputs, channels[0], 3, padding=1)
        before = [channels[0], *channels[:-1]]
        self.down = nn.ModuleList(
            Block(a, b, condition) for a, b in zip(before, channels, strict=True)
        )
        self.middle = Block(channels[-1], channels[-1], condition)
        self.up = nn.ModuleList(
            Block(2 * b, a, condition) for a, b in zip(before, channels, strict=True)
        )
        self.norm = nn.GroupNorm(channels[0] // GROUP, channels[0])
        self.head = nn.Conv2d(channels[0], inputs, 3, padding=1)
        # Small, so that the first loss is that of predicting 0; not zero, so that gradients pass.
        nn.init.normal_(self.head.weight, std=_HEAD_SCALE)

    def forward(self, images: Tensor, times: Tensor, labels: Tensor) -> Tensor:
        """Return the velocity at `images`, (batch, channel, height, width).

        Args:
            images: points between noise and data.
            times: (batch,), 0 to 1.
            labels: (batch,), int64; `classes` stands for no label.
        """
        condition = self.act(self.time(time_embedding(times)) + self.label(labels))
        state = self.stem(images)
        skips = []
        for index, block in enumerate(self.down):
            if index:
                state = self.shrink(state)
            state = block(state, condition)
            skips.append(state)
        state = self.middle(state, condition)
        for index in reversed(range(len(self.up))):
            state = self.up[index](torch.cat([state, skips[index]], dim=1), condition)
            if index:
                state = self.enlarge(state)
        velocity: Tensor = self.head(self.act(self.norm(state)))
        return velocity


def time_embedding(times: Tensor) -> Tensor:
    """Return sines and cosines of times (batch,), (batch, 64): Vaswani et al. (2017), section 3.5."""
    frequencies = torch.exp(torch.linspace(0, math.log(1000), _FREQUENCIES, device=times.device))
    angles = times[:, None] * frequencies
    return torch.cat([angles.sin(), angles.cos()], dim=1)


def velocity_loss(network: nn.Module, point: PathPoint, labels: Tensor) -> Tensor:
    """Return the mean square error of the predicted velocity (Lipman et al., 2023, equation 9)."""
    predicted = network(point.images, point.times, labels)
    return functional.mse_loss(predicted, point.velocity)


def validation_loss(
    network: nn.Module, points: ValidationPoints, batch_size: int, device: torch.device
) -> float:
    """Return the mean loss over the validation points."""
    columns = (torch.split(column, batch_size) for column in (*points.point, points.labels))
    total = 0.0
    for *parts, labels in zip(*columns, strict=True):
        point = PathPoint(*(part.to(device) for part in parts))
        total += velocity_loss(network, point, labels.to(device)).item() * len(labels)
    return total / len(points.labels)


def guided_velocity(network: nn.Module, labels: Tensor, guidance: float, no_label: int) -> Velocity:
    """Return the velocity towards `labels`, (images, times) -> as images.

    Classifier-free guidance (Ho and Salimans, 2022, equation 6, with guidance = 1 + w): the velocity
    without a label, plus `guidance` times the difference that the label makes. With guidance 1 it is
    the conditional velocity, for which the network is evaluated once instead of twice.

    Args:
        network: (images, times, labels) -> velocity.
        labels: (batch,).
        guidance: 0 or more.
        no_label: the label that stands for none.
    """
    if guidance == 1:
        return lambda images, times: network(images, times, labels)
    doubled = torch.cat([labels, torch.full_like(labels, no_label)])

    def velocity(images: Tensor, times: Tensor) -> Tensor:
        conditional, unconditional = network(
            images.repeat(2, 1, 1, 1), times.repeat(2), doubled
        ).chunk(2)
        result: Tensor = unconditional + guidance * (conditional - unconditional)
        return result

    return velocity


def solve_heun(velocity: Velocity, start: Tensor, steps: int) -> Tensor:
    """Return the state at time 1, by Heun's method of second order in equal steps.

    Args:
        velocity: (state, times (batch,)) -> as state.
        start: the state at time 0, the batch first.
        steps: each evaluates the velocity twice.
    """
    state, step = start, 1 / steps
    for index in range(steps):
        time = torch.full((len(start),), index / steps, device=start.device)
        first = velocity(state, time)
        second = velocity(state + step * first, time + step)
        state = state + step * (first + second) / 2
    return state


def build(params: "TrainFlow", dataset: "Dataset") -> Flow:
    """Return the network that the params describe, initialised from torch's current seed."""
    return Flow(params.channels, dataset.note["shape"][0], len(dataset.classes))


def fresh_model(task: "Task", dataset: "Dataset", seed: int) -> Flow:
    """Return the network before its first training step."""
    torch.manual_seed(seed_for(seed, "initial weights"))
    return build(task.params.train, dataset)


def load_checkpoint(task: "Task", dataset: "Dataset", seed: int, step: int) -> Flow:
    """Return the network of one checkpoint, in evaluation mode, on the task's device.

    Raises:
        UserError: the weights are missing, damaged, or of another network.
    """
    model = build(task.params.train, dataset)
    epoch = step // task.params.train.log_every - 1
    load_trainable(model, task.folder("train") / f"weights-{seed}-epoch-{epoch}.safetensors")
    return model.eval().to(torch_device(task.runtime))


def load_selected(task: "Task", dataset: "Dataset") -> Flow:
    """Return the model of the primary seed at the step that the stage evaluate selected.

    Raises:
        UserError: the task has not been trained or evaluated yet.
    """
    step: int = read_json(task.folder("evaluate") / "metrics.json")["selection"]["step"]
    return load_checkpoint(task, dataset, task.params.train.seeds[0], step)


def draw_samples(
    model: Flow, labels: np.ndarray, shape: Sequence[int], seed: int, params: "EvaluateFlow"
) -> np.ndarray:
    """Return samples of `labels`, uint8 (n, channel, height, width), the same for the same seed.

    The first k samples do not depend on n, up to rounding.

    Args:
        model: the trained flow.
        labels: (n,).
        shape: of one image.
        seed: of the initial noise.
        params: guidance and solver_steps.
    """
    device = next(model.parameters()).device
    generator = torch.Generator().manual_seed(seed_for(seed, "noise"))
    values = math.prod(shape)
    # torch draws 16 numbers at a time: rows of whole blocks make the first ones the same for any n.
    width = -(-values // _RANDN_BLOCK) * _RANDN_BLOCK
    rows = torch.randn(len(labels), width, generator=generator)
    noise = rows[:, :values].reshape(-1, *shape).to(device)
    size = max(1, _PIXELS_PER_BATCH // values)
    batches = zip(
        torch.split(torch.from_numpy(labels).to(device), size),
        torch.split(noise, size),
        strict=True,
    )
    with torch.inference_mode():
        parts = [
            solve_heun(
                guided_velocity(model, batch_labels, params.guidance, model.classes),
                start,
                params.solver_steps,
            ).cpu()
            for batch_labels, start in batches
        ]
    return to_pixels(torch.cat(parts))


def interpolate(
    model: Flow, label: int, shape: Sequence[int], seed: int, count: int, params: "EvaluateFlow"
) -> np.ndarray:
    """Return `count` samples of one label along the great circle between two noises.

    Spherical interpolation (Shoemake, 1985): a straight line between two normal vectors passes closer
    to 0 than noise ever lies.
    """
    device = next(model.parameters()).device
    generator = torch.Generator().manual_seed(seed_for(seed, "ends"))
    first, last = torch.randn((2, *shape), generator=generator)
    angle = torch.arccos(functional.cosine_similarity(first.flatten(), last.flatten(), dim=0))
    shares = torch.linspace(0, 1, count).view(-1, *[1] * len(shape))
    weighted = torch.sin((1 - shares) * angle) * first + torch.sin(shares * angle) * last
    start = (weighted / torch.sin(angle)).to(device)
    labels = torch.full((count,), label, device=device)
    with torch.inference_mode():
        velocity = guided_velocity(model, labels, params.guidance, model.classes)
        return to_pixels(solve_heun(velocity, start, params.solver_steps).cpu())
