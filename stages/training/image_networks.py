"""Networks for images: a residual classifier, pixels as tensors, prediction in batches."""

from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from stages.core.progress import progress
from stages.datasets.images.packed import batch_size, in_batches
from stages.training.weights import head_probabilities

_HEAD_SCALE = 0.01  # standard deviation of the head's initial weights
_MIN_STD = 1e-3  # of a channel, so that an empty one is not divided by 0
PREDICTED_AT_ONCE = 2048  # images, at most


def to_tensor(images: np.ndarray) -> Tensor:
    """Return uint8 images as a float32 tensor, 0 to 1."""
    return torch.from_numpy(images.astype(np.float32) / 255)


def tensor_batches(images: np.ndarray, rows: np.ndarray) -> Iterator[Tensor]:
    """Yield the images at `rows`, in order, as tensors (at most 2048, channel, height, width)."""
    for batch in in_batches(rows, images, PREDICTED_AT_ONCE):
        yield to_tensor(images[batch])


def labelled_batches(
    images: np.ndarray, rows: np.ndarray, labels: Tensor
) -> Iterator[tuple[tuple[Tensor], Tensor]]:
    """Yield batches of the images at `rows`, in order: a network's inputs, and their labels."""
    start = 0
    for batch in tensor_batches(images, rows):
        yield (batch,), labels[start : start + len(batch)]
        start += len(batch)


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions with batch norm, and a shortcut (He et al., 2016, section 3).

    Args:
        inputs: channels.
        outputs: channels.
        stride: by which the sides are divided.
        pooled: whether a shortcut that divides them averages pixels, instead of leaving some out (He et
            al., 2019, figure 2c).
    """

    def __init__(self, inputs: int, outputs: int, stride: int, *, pooled: bool = False) -> None:
        super().__init__()
        self.convolution1 = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(outputs)
        self.convolution2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(outputs)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 and pooled:
            self.shortcut = nn.Sequential(
                nn.AvgPool2d(stride, ceil_mode=True, count_include_pad=False),
                nn.Conv2d(inputs, outputs, 1, bias=False),
                nn.BatchNorm2d(outputs),
            )
        elif stride != 1 or inputs != outputs:
            self.shortcut = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)
            )

    def forward(self, images: Tensor) -> Tensor:
        """Return (batch, outputs, height / stride, width / stride)."""
        residual = functional.relu(self.norm1(self.convolution1(images)))
        residual = self.norm2(self.convolution2(residual))
        return functional.relu(residual + self.shortcut(images))


class ImageClassifier(nn.Module):
    """Normalisation, a feature extractor, and a linear head.

    The mean and standard deviation are buffers, so they are saved with the weights.

    Attributes:
        mirror: whether the features of an image are, once the model is trained, the mean of two views:
            the image moved by a pixel, and its mirror image moved the opposite way. Where training shows
            mirror images, this raises the accuracy (docs/log.md).
    """

    mean: Tensor
    std: Tensor
    features: nn.Module

    def __init__(
        self,
        features: nn.Module,
        width: int,
        classes: int,
        channels: int,
        *,
        mirror: bool = False,
    ) -> None:
        super().__init__()
        self.mirror = mirror
        self.register_buffer("mean", torch.zeros(1, channels, 1, 1))
        self.register_buffer("std", torch.ones(1, channels, 1, 1))
        self.features = features
        self.head = nn.Linear(width, classes)
        # Small, so that the first logits are near 0 and the first loss is near ln(classes); not zero,
        # so that a gradient reaches the layers below.
        nn.init.normal_(self.head.weight, std=_HEAD_SCALE)
        nn.init.zeros_(self.head.bias)

    def embed(self, images: Tensor) -> Tensor:
        """Return the features of images, (batch, width): the input of the head."""
        images = (images - self.mean) / self.std
        if self.mirror and not self.training:
            padded = functional.pad(images, (1, 1, 1, 1), mode="reflect")
            moved, moved_back = padded[..., :-2, :-2], padded[..., 2:, 2:]
            mean: Tensor = (self.features(moved) + self.features(moved_back.flip(-1))) / 2
            return mean
        features: Tensor = self.features(images)
        return features

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (batch, classes) of images (batch, channel, height, width), 0 to 1."""
        logits: Tensor = self.head(self.embed(images))
        return logits


def residual_features(
    channels: list[int],
    inputs: int,
    blocks: list[int] | None = None,
    stem_stride: int = 1,
    *,
    pooled: bool = False,
) -> nn.Sequential:
    """Return a stem, levels of residual blocks, and global average pooling.

    Args:
        channels: of each level. The first block of each level after the first halves the sides.
        inputs: channels of an image.
        blocks: of each level; None: one each. The first may be 0: the stem alone is that level.
        stem_stride: by which the stem's convolution divides the sides: 1, 2 or 4.
        pooled: as of `ResidualBlock`.
    """
    layers: list[nn.Module] = []
    width = channels[0]
    for level, (outputs, count) in enumerate(
        zip(channels, blocks or [1] * len(channels), strict=True)
    ):
        for block in range(count):
            stride = 2 if level and not block else 1
            layers.append(ResidualBlock(width, outputs, stride, pooled=pooled))
            width = outputs
    kernel, padding = (3, 1) if stem_stride == 1 else (2 * stem_stride, stem_stride // 2)
    return nn.Sequential(
        nn.Conv2d(inputs, channels[0], kernel, stem_stride, padding, bias=False),
        nn.BatchNorm2d(channels[0]),
        nn.ReLU(),
        *layers,
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
    )


def set_normalisation(model: ImageClassifier, mean: Tensor, std: Tensor) -> None:
    """Set the mean and standard deviation, (channel,) each, by which the model normalises."""
    model.mean.copy_(mean.view(1, -1, 1, 1))
    model.std.copy_(std.clamp_min(_MIN_STD).view(1, -1, 1, 1))


def fit_normalisation(model: ImageClassifier, images: np.ndarray, rows: np.ndarray) -> None:
    """Normalise by the mean and standard deviation of each channel of the images at `rows`."""
    total = torch.zeros(2, images.shape[1], dtype=torch.float64)
    for batch in tensor_batches(images, rows):
        pixels = batch.double()
        total += torch.stack([pixels.mean((2, 3)).sum(0), pixels.square().mean((2, 3)).sum(0)])
    mean, square = total / len(rows)
    set_normalisation(model, mean.float(), (square - mean**2).clamp_min(0).sqrt().float())


def predict_batches(
    predict: Callable[[Tensor], Tensor], images: np.ndarray, rows: np.ndarray, device: torch.device
) -> np.ndarray:
    """Return `predict` of the images at `rows`, computed in batches on `device`, (n, ...), float32."""
    with torch.inference_mode():
        outputs = [
            predict(to_tensor(images[batch]).to(device)).float().cpu()
            for batch in progress(
                in_batches(rows, images, PREDICTED_AT_ONCE),
                "predicting",
                -(-len(rows) // batch_size(images, PREDICTED_AT_ONCE)),
            )
        ]
    result: np.ndarray = torch.cat(outputs).numpy()
    return result


def predictors(
    model: ImageClassifier,
    images: np.ndarray,
    rows: Callable[[str], np.ndarray],
    device: torch.device,
) -> tuple[Callable[[str], np.ndarray], Callable[[np.ndarray], np.ndarray]]:
    """Return split -> features (n, width), and features -> probabilities (n, classes).

    Args:
        model: a trained classifier.
        images: the packed array.
        rows: split -> its rows of the packed array.
        device: where the model is.
    """
    return (
        lambda split: predict_batches(model.embed, images, rows(split), device),
        lambda features: head_probabilities(model.head, features),
    )
