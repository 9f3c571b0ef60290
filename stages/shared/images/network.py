"""What networks for images are built of and given: a residual classifier, pixels as tensors."""

from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from stages.shared.images.packed import in_parts
from stages.shared.weights import judged

_HEAD_SCALE = 0.01
_AT_ONCE = 2048


def as_tensor(images: np.ndarray) -> Tensor:
    """Return uint8 images as float32, 0 to 1."""
    return torch.from_numpy(images.astype(np.float32) / 255)


def as_tensors(images: np.ndarray, rows: np.ndarray) -> Iterator[Tensor]:
    """Yield the images at `rows` in order, as tensors of at most 2,048."""
    for part in in_parts(rows, images, _AT_ONCE):
        yield as_tensor(images[part])


def labelled(
    images: np.ndarray, rows: np.ndarray, labels: Tensor
) -> Iterator[tuple[tuple[Tensor], Tensor]]:
    """Yield the images at `rows` in order, as a network's inputs, with their labels."""
    done = 0
    for part in as_tensors(images, rows):
        yield (part,), labels[done : done + len(part)]
        done += len(part)


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions beside a shortcut (He et al., 2016, section 3; batch norm as there)."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.convolution1 = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(outputs)
        self.convolution2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(outputs)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)
            )

    def forward(self, images: Tensor) -> Tensor:
        """Return (batch, outputs, height / stride, width / stride)."""
        change = functional.relu(self.norm1(self.convolution1(images)))
        change = self.norm2(self.convolution2(change))
        return functional.relu(change + self.shortcut(images))


class Classifier(nn.Module):
    """Normalise, extract features, judge.

    The mean and standard deviation of the training images are buffers, so that the weights' file
    is all that a prediction needs.
    """

    mean: Tensor
    std: Tensor
    features: nn.Module

    def __init__(self, features: nn.Module, width: int, classes: int, channels: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(1, channels, 1, 1))
        self.register_buffer("std", torch.ones(1, channels, 1, 1))
        self.features = features
        self.head = nn.Linear(width, classes)
        # Small, so that the first logits are near 0 and the first loss near ln(classes); not zero,
        # so that a gradient reaches what lies below.
        nn.init.normal_(self.head.weight, std=_HEAD_SCALE)
        nn.init.zeros_(self.head.bias)

    def embed(self, images: Tensor) -> Tensor:
        """Return the features on which the head judges, (batch, width)."""
        features: Tensor = self.features((images - self.mean) / self.std)
        return features

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (batch, classes) of images (batch, channel, height, width), 0 to 1."""
        logits: Tensor = self.head(self.embed(images))
        return logits


def residual(channels: list[int], inputs: int) -> nn.Sequential:
    """Return a stem and a block for each of `channels`, the first at full size, each next at half."""
    blocks = [
        ResidualBlock(before, after, 1 if index == 0 else 2)
        for index, (before, after) in enumerate(
            zip([channels[0], *channels], channels, strict=False)
        )
    ]
    return nn.Sequential(
        nn.Conv2d(inputs, channels[0], 3, padding=1, bias=False),
        nn.BatchNorm2d(channels[0]),
        nn.ReLU(),
        *blocks,
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
    )


def normalise(model: Classifier, mean: Tensor, std: Tensor) -> None:
    """Set the mean and standard deviation, (channel,) each, that the model takes off first."""
    model.mean.copy_(mean.view(1, -1, 1, 1))
    model.std.copy_(std.clamp_min(1e-3).view(1, -1, 1, 1))


def normalise_by(model: Classifier, images: np.ndarray, rows: np.ndarray) -> None:
    """Set the mean and standard deviation that the model takes off to those of the images at `rows`."""
    total = torch.zeros(2, images.shape[1], dtype=torch.float64)
    for part in as_tensors(images, rows):
        pixels = part.double()
        total += torch.stack([pixels.mean((2, 3)).sum(0), pixels.square().mean((2, 3)).sum(0)])
    mean, square = total / len(rows)
    normalise(model, mean.float(), (square - mean**2).clamp_min(0).sqrt().float())


def asked(
    answer: Callable[[Tensor], Tensor], images: np.ndarray, rows: np.ndarray, where: torch.device
) -> np.ndarray:
    """Return `answer` for the images at `rows`, (n, ...), float32."""
    with torch.inference_mode():
        parts = [answer(part.to(where)).float().cpu() for part in as_tensors(images, rows)]
    result: np.ndarray = torch.cat(parts).numpy()
    return result


def questions(
    model: Classifier,
    images: np.ndarray,
    rows: Callable[[str], np.ndarray],
    where: torch.device,
) -> tuple[Callable[[str], np.ndarray], Callable[[np.ndarray], np.ndarray]]:
    """Return split -> features (n, width), and features -> probabilities (n, classes).

    Args:
        model: a trained classifier.
        images: the packed array.
        rows: split -> rows of it.
        where: the device on which the model lies.
    """
    return (
        lambda split: asked(model.embed, images, rows(split), where),
        lambda features: judged(model.head, features),
    )
