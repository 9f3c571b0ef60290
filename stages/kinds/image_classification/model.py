"""The networks: a tiny CNN, residual networks of any size, torchvision's ResNet-18 and ConvNeXt-Tiny."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from stages.core.errors import UserError
from stages.core.files import sha256
from stages.core.runtime import seed_for, torch_device
from stages.kinds.image_classification.inputs import resize
from stages.training.image_networks import (
    ImageClassifier,
    fit_normalisation,
    residual_features,
    set_normalisation,
)
from stages.training.weights import load_trainable, read_weights

if TYPE_CHECKING:
    from stages.core.task import Task
    from stages.datasets.dataset import Dataset
    from stages.kinds.image_classification.schema import FrozenFeatures, TrainImages

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
IMAGENET_SHA256 = {  # of torchvision's weights IMAGENET1K_V1, by model
    "resnet18": "f37072fd47e89c5e827621c5baffa7500819f7896bbacec160b1a16c560e07ec",
    "convnext_tiny": "983f1562536e84ff750a1576fb08e54de751dbf2e17c0d8a4a13704341fdcd3d",
}
_LAST_LAYER = {"resnet18": "fc", "convnext_tiny": "classifier.2"}


class _GreyToColour(nn.Module):
    """Repeat the grey channel, for a network that was trained on colour images."""

    def forward(self, images: Tensor) -> Tensor:
        return images.expand(-1, 3, -1, -1)


def tiny_cnn_features(channels: list[int], inputs: int) -> nn.Sequential:
    """Return a 3x3 convolution with ReLU for each of `channels`, and 2x2 max pooling between them.

    Global average pooling follows, so that a pattern counts wherever it is in the image.
    """
    layers: list[nn.Module] = []
    for before, after in zip([inputs, *channels], channels, strict=False):
        if layers:
            layers.append(nn.MaxPool2d(2))
        layers += [nn.Conv2d(before, after, 3, padding=1), nn.ReLU()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())


def build(params: "TrainImages | FrozenFeatures", channels: int, classes: int) -> ImageClassifier:
    """Return the network that the params describe, initialised from torch's current seed."""
    features: nn.Module
    widths = params.channels or []
    if params.model == "tiny_cnn":
        features, width = tiny_cnn_features(widths, channels), widths[-1]
    elif params.model == "residual":
        features = residual_features(
            widths, channels, params.blocks, params.stem_stride, pooled=True
        )
        width = widths[-1]
    else:
        features, width = _torchvision_features(params.model)
        if channels == 1:
            features = nn.Sequential(_GreyToColour(), features)
    augment = getattr(params, "augment", None)  # frozen features are not trained
    mirror = augment is not None and augment.flip
    return ImageClassifier(features, width, classes, channels, mirror=mirror).to(
        memory_format=torch.channels_last
    )


def _torchvision_features(model: str) -> tuple[nn.Module, int]:
    """Return torchvision's network without its last layer, and the width of its features."""
    from torchvision import models

    network: nn.Module = getattr(models, model)(weights=None)
    parent, _, name = _LAST_LAYER[model].rpartition(".")
    width: int = network.get_submodule(_LAST_LAYER[model]).in_features  # type: ignore[assignment]
    setattr(network.get_submodule(parent), name, nn.Identity())
    return network, width


def load_initial_weights(
    model: ImageClassifier, params: "TrainImages | FrozenFeatures", key: str
) -> None:
    """Load the weights that `initial_weights` names into `model`.

    Args:
        model: a newly built network.
        params: of the stage train.
        key: the full key of `initial_weights`, for errors.

    Raises:
        UserError: they cannot be fetched, are missing or damaged, or do not fit.
    """
    if params.initial_weights is None:
        return
    if params.initial_weights == "imagenet":
        network, mean, std = model.features, torch.tensor(IMAGENET_MEAN), torch.tensor(IMAGENET_STD)
        if isinstance(network, nn.Sequential):  # grey images: the mean over the colours
            network, mean, std = network[1], mean.mean().view(1), std.mean().view(1)
        weights = _imagenet_weights(params.model, key)
        last_layer = f"{_LAST_LAYER[params.model]}."
        network.load_state_dict({k: v for k, v in weights.items() if not k.startswith(last_layer)})
        set_normalisation(model, mean, std)
        return
    path = Path(params.initial_weights)
    _transfer(model, read_weights(path), f"{key}: {path}")


def imagenet_file(model: str) -> Path:
    """Return where torch keeps ImageNet's weights of `model`, whether they are there or not."""
    from torch.hub import get_dir
    from torchvision.models import get_model_weights

    url: str = get_model_weights(model)["IMAGENET1K_V1"].url
    return Path(get_dir(), "checkpoints", url.rsplit("/", 1)[-1])


def _imagenet_weights(model: str, key: str) -> Mapping[str, Tensor]:
    from torch.hub import download_url_to_file
    from torchvision.models import get_model_weights

    url, expected = get_model_weights(model)["IMAGENET1K_V1"].url, IMAGENET_SHA256[model]
    path = imagenet_file(model)
    try:
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            download_url_to_file(url, str(path), expected, progress=False)
        digest = sha256(path)
    except (OSError, RuntimeError) as error:
        raise UserError(
            f"{key}: imagenet: the weights could not be fetched ({error}); connect to the network, "
            f"copy {path.name} to {path.parent}, or set it to null"
        ) from None
    if digest != expected:
        raise UserError(
            f"{key}: imagenet: {path} has SHA-256 {digest}; must be {expected}; delete it"
        )
    # They are published in torch's pickle format only: the hash is checked, and only tensors are read.
    weights: Mapping[str, Tensor] = torch.load(path, map_location="cpu", weights_only=True)
    return weights


def _transfer(model: ImageClassifier, weights: Mapping[str, Tensor], source: str) -> None:
    """Load the features from `weights`, and the normalisation where it fits; the head stays random.

    Raises:
        UserError: the features do not fit; the line starts with `source`.
    """
    state = model.state_dict()
    if not state.keys() & weights.keys():  # a bare network, with torchvision's names
        grey = any(isinstance(module, _GreyToColour) for module in model.features.children())
        weights = {f"features.{'1.' if grey else ''}{key}": value for key, value in weights.items()}
    fitting = {
        key: value
        for key, value in weights.items()
        if key in state and state[key].shape == value.shape and not key.startswith("head.")
    }
    optional = ("head.", "mean", "std")
    missing = [key for key in state if key not in fitting and not key.startswith(optional)]
    if missing:
        raise UserError(
            f"{source} does not fit the model: {missing[0]}: expected shape "
            f"{_shape(state[missing[0]])}, given {_shape(weights.get(missing[0]))} ({len(missing)} of "
            f"{len(state)} tensors do not fit); set train.model, train.channels and prepare.channels to "
            "those of the weights"
        )
    model.load_state_dict(fitting, strict=False)


def _shape(tensor: Tensor | None) -> str:
    return "none" if tensor is None else str(tuple(tensor.shape))


def fresh_model(task: "Task", dataset: "Dataset", images: np.ndarray, seed: int) -> ImageClassifier:
    """Return the model before its first training step, with normalisation and initial weights set."""
    torch.manual_seed(seed_for(seed, "initial weights"))
    model = build(task.params.train, dataset.note["shape"][0], len(dataset.classes))
    fit_normalisation(model, images, dataset.rows("train"))
    load_initial_weights(model, task.params.train, task.key("train.initial_weights"))
    return model


def frozen_network(
    params: "FrozenFeatures",
    dataset: "Dataset",
    images: np.ndarray,
    key: str,
    device: torch.device,
) -> Callable[[Tensor], Tensor]:
    """Return images (batch, channel, height, width), 0 to 1 -> features (batch, width), no gradient.

    Args:
        params: model, channels, initial_weights, and the size to which images are enlarged or reduced.
        dataset: the prepared samples.
        images: the packed array.
        key: the full key of `initial_weights`, for errors.
        device: where the network runs.

    Raises:
        UserError: the weights cannot be fetched, are missing or damaged, or do not fit.
    """
    torch.manual_seed(0)  # of the head, which is not used
    model = build(params, dataset.note["shape"][0], len(dataset.classes))
    fit_normalisation(model, images, dataset.rows("train"))
    load_initial_weights(model, params, key)
    model.eval().to(device)

    def embed(batch: Tensor) -> Tensor:
        if params.size is not None:
            batch = resize(batch, params.size)
        return model.embed(batch)

    return embed


def load(task: "Task", dataset: "Dataset", seed: int) -> ImageClassifier:
    """Return the trained model of one seed, in evaluation mode, on the task's device.

    Raises:
        UserError: its weights are missing, damaged, or of another model.
    """
    model = build(task.params.train, dataset.note["shape"][0], len(dataset.classes))
    load_trainable(model, task.folder("train") / f"weights-{seed}.safetensors")
    return model.eval().to(torch_device(task.runtime))
