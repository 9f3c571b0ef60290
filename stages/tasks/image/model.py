"""The networks for images: a small residual CNN, and torchvision's ResNet-18."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from stages.shared.refusal import Refusal
from stages.shared.runtime import device, seed_for
from stages.shared.weights import load_learnt, read_weights
from stages.tasks.image.inputs import as_tensors

if TYPE_CHECKING:
    from stages.params import TrainImages
    from stages.shared.dataset import Dataset
    from stages.shared.task import Task

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
_HEAD_SCALE = 0.01


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


class _GreyToColour(nn.Module):
    """Repeat a grey channel, for a network that was trained on colour."""

    def forward(self, images: Tensor) -> Tensor:
        return images.expand(-1, 3, -1, -1)


def build(params: "TrainImages", channels: int, classes: int) -> Classifier:
    """Return the network that the params name, freshly initialised from torch's current seed."""
    if params.model == "residual":
        return Classifier(
            residual(params.channels, channels), params.channels[-1], classes, channels
        )
    from torchvision.models import resnet18

    network = resnet18(weights=None)
    width = network.fc.in_features
    network.fc = nn.Identity()
    features = network if channels == 3 else nn.Sequential(_GreyToColour(), network)  # noqa: PLR2004
    return Classifier(features, width, classes, channels)


def normalise(model: Classifier, mean: Tensor, std: Tensor) -> None:
    """Set the mean and standard deviation, (channel,) each, that the model takes off first."""
    model.mean.copy_(mean.view(1, -1, 1, 1))
    model.std.copy_(std.clamp_min(1e-3).view(1, -1, 1, 1))


def start_from(model: Classifier, params: "TrainImages") -> None:
    """Load the weights that the params start from into `model`.

    Raises:
        Refusal: they cannot be fetched, are missing or damaged, or do not fit.
    """
    if params.start_from is None:
        return
    if params.start_from == "imagenet":
        network, mean, std = model.features, torch.tensor(IMAGENET_MEAN), torch.tensor(IMAGENET_STD)
        if isinstance(network, nn.Sequential):  # grey images: the colours' mean for each
            network, mean, std = network[1], mean.mean().view(1), std.mean().view(1)
        network.load_state_dict({k: v for k, v in _imagenet().items() if not k.startswith("fc.")})
        normalise(model, mean, std)
        return
    _transfer(model, read_weights(Path(params.start_from)), params.start_from)


def _imagenet() -> Mapping[str, Tensor]:
    from torch.hub import load_state_dict_from_url
    from torchvision.models import ResNet18_Weights

    url = ResNet18_Weights.IMAGENET1K_V1.url
    try:
        weights: Mapping[str, Tensor] = load_state_dict_from_url(
            url, check_hash=True, weights_only=True, progress=False, map_location="cpu"
        )
    except (OSError, RuntimeError) as error:
        raise Refusal(
            f"image.train.start_from: imagenet: the weights could not be fetched ({error}); connect "
            f"to the network, or lay {url.rsplit('/', 1)[-1]} into torch's hub folder "
            f"({torch.hub.get_dir()}/checkpoints), or set start_from: null"
        ) from None
    return weights


def _transfer(model: Classifier, weights: Mapping[str, Tensor], name: str) -> None:
    """Load the features, which must fit; the head starts anew, the normalisation if it differs."""
    own = model.state_dict()
    if not own.keys() & weights.keys():  # a bare network's file, as torchvision names its tensors
        grey = any(isinstance(module, _GreyToColour) for module in model.features.children())
        weights = {f"features.{'1.' if grey else ''}{key}": value for key, value in weights.items()}
    fresh = ("head.", "mean", "std")
    fitting = {
        key: value
        for key, value in weights.items()
        if key in own and own[key].shape == value.shape and not key.startswith("head.")
    }
    missing = [key for key in own if key not in fitting and not key.startswith(fresh)]
    if missing:
        raise Refusal(
            f"image.train.start_from: {name} does not fit the model: {missing[0]} has shape "
            f"{_shape(own[missing[0]])} there should be, {_shape(weights.get(missing[0]))} given "
            f"({len(missing)} of {len(own)} tensors do not fit); train with the model, channels and "
            "prepare.channels that made it"
        )
    model.load_state_dict(fitting, strict=False)


def _shape(tensor: Tensor | None) -> str:
    return "none" if tensor is None else str(tuple(tensor.shape))


def fresh_model(task: "Task", dataset: "Dataset", images: np.ndarray, seed: int) -> Classifier:
    """Return the model before its first step: initialised, normalised, and started from weights."""
    torch.manual_seed(seed_for(seed, "initial weights"))
    model = build(task.params.train, dataset.note["shape"][0], len(dataset.classes))
    rows = dataset.rows("train")
    total = torch.zeros(2, images.shape[1], dtype=torch.float64)
    for part in as_tensors(images, rows):
        pixels = part.double()
        total += torch.stack([pixels.mean((2, 3)).sum(0), pixels.square().mean((2, 3)).sum(0)])
    mean, square = total / len(rows)
    normalise(model, mean.float(), (square - mean**2).clamp_min(0).sqrt().float())
    start_from(model, task.params.train)
    return model


def load(task: "Task", dataset: "Dataset", seed: int) -> Classifier:
    """Return the trained model of one seed, ready to predict.

    Raises:
        Refusal: its weights are missing, damaged, or of another model.
    """
    model = build(task.params.train, dataset.note["shape"][0], len(dataset.classes))
    load_learnt(model, task.folder("train") / f"weights-{seed}.safetensors")
    return model.eval().to(device(task.runtime))


def asked(
    answer: Callable[[Tensor], Tensor], images: np.ndarray, rows: np.ndarray, where: torch.device
) -> np.ndarray:
    """Return `answer` for the images at `rows`, (n, ...), float32."""
    with torch.inference_mode():
        parts = [answer(part.to(where)).float().cpu() for part in as_tensors(images, rows)]
    result: np.ndarray = torch.cat(parts).numpy()
    return result
