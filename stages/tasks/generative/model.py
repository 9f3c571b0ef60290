"""The flow: a small U-Net that says which way noise has to move, and the solver that moves it."""

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from stages.shared.files import read_json
from stages.shared.runtime import device, seed_for
from stages.shared.weights import load_learnt
from stages.tasks.generative.inputs import Held, Point, as_pixels

if TYPE_CHECKING:
    from stages.shared.dataset import Dataset
    from stages.shared.schema import EvaluateFlow, TrainFlow
    from stages.shared.task import Task

GROUP = 8  # channels that are normalised together; the schema asks for multiples of it
_TIMES = 32  # sines and cosines of the time
_SMALL = 0.01
_AT_ONCE = 16_000  # pixels of samples drawn at once
_DRAWN = 16
Velocity = Callable[[Tensor, Tensor], Tensor]


class Block(nn.Module):
    """Two 3x3 convolutions beside a shortcut; time and label scale and shift what is between.

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
        """Return (batch, outputs, height, width)."""
        change = self.convolution1(self.act(self.norm1(images)))
        scale, shift = self.modulate(condition)[:, :, None, None].chunk(2, dim=1)
        change = self.norm2(change) * (1 + scale) + shift
        change = self.convolution2(self.act(change))
        result: Tensor = self.shortcut(images) + change
        return result


class Flow(nn.Module):
    """A U-Net (Ronneberger et al., 2015) from a point, its time and a label to a velocity.

    Each level halves the sides; what goes down is laid beside what comes up.
    """

    def __init__(self, channels: list[int], inputs: int, classes: int) -> None:
        super().__init__()
        self.classes = classes
        condition = 2 * channels[0]
        self.time = nn.Sequential(
            nn.Linear(2 * _TIMES, condition), nn.SiLU(), nn.Linear(condition, condition)
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
        # Small, so that the first loss is that of a network that says 0; not zero, so that a
        # gradient reaches what lies below.
        nn.init.normal_(self.head.weight, std=_SMALL)

    def forward(self, images: Tensor, times: Tensor, labels: Tensor) -> Tensor:
        """Return the velocity at `images` (batch, channel, height, width).

        Args:
            images: points between noise and data.
            times: (batch,), 0 to 1.
            labels: (batch,), int64; `classes` stands for no label.
        """
        condition = self.act(self.time(waves(times)) + self.label(labels))
        state = self.stem(images)
        kept = []
        for index, block in enumerate(self.down):
            if index:
                state = self.shrink(state)
            state = block(state, condition)
            kept.append(state)
        state = self.middle(state, condition)
        for index in reversed(range(len(self.up))):
            state = self.up[index](torch.cat([state, kept[index]], dim=1), condition)
            if index:
                state = self.enlarge(state)
        velocity: Tensor = self.head(self.act(self.norm(state)))
        return velocity


def waves(times: Tensor) -> Tensor:
    """Return sines and cosines of times (batch,), (batch, 64): Vaswani et al. (2017), section 3.5."""
    frequencies = torch.exp(torch.linspace(0, math.log(1000), _TIMES, device=times.device))
    angles = times[:, None] * frequencies
    return torch.cat([angles.sin(), angles.cos()], dim=1)


def velocity_loss(network: nn.Module, point: Point, labels: Tensor) -> Tensor:
    """Return the mean square difference to the path's velocity (Lipman et al., 2023, equation 9)."""
    said = network(point.images, point.times, labels)
    return functional.mse_loss(said, point.velocity)


def held_loss(network: nn.Module, held: Held, size: int, where: torch.device) -> float:
    """Return the mean loss of held-out points, asked in batches of `size`."""
    total = 0.0
    for *point, labels in zip(
        *(torch.split(one, size) for one in (*held.point, held.labels)), strict=True
    ):
        given = Point(*(one.to(where) for one in point))
        total += velocity_loss(network, given, labels.to(where)).item() * len(labels)
    return total / len(held.labels)


def guided(network: nn.Module, labels: Tensor, guidance: float, none: int) -> Velocity:
    """Return the velocity towards `labels`, (images, times) -> as images.

    Classifier-free guidance (Ho and Salimans, 2022, equation 6, written with guidance = 1 + w): what
    the network says without a label, plus `guidance` times what the label changes. 1 is the
    network's own conditional velocity, and asks it once.

    Args:
        network: (images, times, labels) -> velocity.
        labels: (batch,).
        guidance: 0 or more.
        none: what stands for no label.
    """
    if guidance == 1:
        return lambda images, times: network(images, times, labels)
    both = torch.cat([labels, torch.full_like(labels, none)])

    def velocity(images: Tensor, times: Tensor) -> Tensor:
        given, free = network(images.repeat(2, 1, 1, 1), times.repeat(2), both).chunk(2)
        result: Tensor = free + guidance * (given - free)
        return result

    return velocity


def solved(velocity: Velocity, start: Tensor, steps: int) -> Tensor:
    """Return where `start` has moved to at time 1: Heun's method, of second order, in equal steps.

    Args:
        velocity: (state, times (batch,)) -> as state.
        start: the state at time 0, the batch first.
        steps: how many; the velocity is asked twice in each.
    """
    state, step = start, 1 / steps
    for index in range(steps):
        now = torch.full((len(start),), index / steps, device=start.device)
        first = velocity(state, now)
        second = velocity(state + step * first, now + step)
        state = state + step * (first + second) / 2
    return state


def build(params: "TrainFlow", dataset: "Dataset") -> Flow:
    """Return the network that the params name, freshly initialised from torch's current seed."""
    return Flow(params.channels, dataset.note["shape"][0], len(dataset.classes))


def fresh_model(task: "Task", dataset: "Dataset", seed: int) -> Flow:
    """Return the network before its first step."""
    torch.manual_seed(seed_for(seed, "initial weights"))
    return build(task.params.train, dataset)


def load(task: "Task", dataset: "Dataset", seed: int, step: int) -> Flow:
    """Return the network of one checkpoint, ready to be asked.

    Raises:
        Refusal: its weights are missing, damaged, or of another network.
    """
    model = build(task.params.train, dataset)
    epoch = step // task.params.train.log_every - 1
    load_learnt(model, task.folder("train") / f"weights-{seed}-epoch-{epoch}.safetensors")
    return model.eval().to(device(task.runtime))


def chosen(task: "Task", dataset: "Dataset") -> Flow:
    """Return the headline seed's network at the step that evaluate chose.

    Raises:
        Refusal: nothing has been trained or chosen yet.
    """
    step: int = read_json(task.folder("evaluate") / "metrics.json")["selection"]["step"]
    return load(task, dataset, task.params.train.seeds[0], step)


def drawn(
    model: Flow, labels: np.ndarray, shape: Sequence[int], seed: int, params: "EvaluateFlow"
) -> np.ndarray:
    """Return samples of `labels`, uint8 (n, channel, height, width), the same for the same seed.

    The first k of n samples are those that k labels alone would have given, up to rounding.

    Args:
        model: the trained flow.
        labels: (n,), what to draw.
        shape: of one image.
        seed: of the noise that the flow starts from.
        params: guidance and solver_steps.
    """
    where = next(model.parameters()).device
    random = torch.Generator().manual_seed(seed_for(seed, "noise"))
    values = math.prod(shape)
    # torch draws 16 at a time: rows of whole sixteens keep the first ones the same for any n.
    rows = torch.randn(len(labels), -(-values // _DRAWN) * _DRAWN, generator=random)
    noise = rows[:, :values].reshape(-1, *shape).to(where)
    given = torch.from_numpy(labels).to(where)
    size = max(1, _AT_ONCE // values)
    with torch.inference_mode():
        parts = [
            solved(
                guided(model, some, params.guidance, model.classes), start, params.solver_steps
            ).cpu()
            for some, start in zip(torch.split(given, size), torch.split(noise, size), strict=True)
        ]
    return as_pixels(torch.cat(parts))


def between(
    model: Flow, label: int, shape: Sequence[int], seed: int, count: int, params: "EvaluateFlow"
) -> np.ndarray:
    """Return `count` samples of one label along the great circle between two noises.

    On the sphere (Shoemake, 1985), as straight lines between normal vectors leave where noise lies.
    """
    where = next(model.parameters()).device
    random = torch.Generator().manual_seed(seed_for(seed, "ends"))
    one, other = torch.randn((2, *shape), generator=random)
    cosine = functional.cosine_similarity(one.flatten(), other.flatten(), dim=0)
    angle = torch.arccos(cosine)
    shares = torch.linspace(0, 1, count).view(-1, *[1] * len(shape))
    start = (torch.sin((1 - shares) * angle) * one + torch.sin(shares * angle) * other) / torch.sin(
        angle
    )
    labels = torch.full((count,), label, device=where)
    with torch.inference_mode():
        velocity = guided(model, labels, params.guidance, model.classes)
        return as_pixels(solved(velocity, start.to(where), params.solver_steps).cpu())
