"""The networks for images: a small residual CNN, and torchvision's ResNet-18."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from stages.shared.files import sha256
from stages.shared.images.network import Classifier, normalise, normalise_by, residual
from stages.shared.refusal import Refusal
from stages.shared.runtime import device, seed_for
from stages.shared.weights import load_learnt, read_weights

if TYPE_CHECKING:
    from stages.shared.dataset import Dataset
    from stages.shared.schema import TrainImages
    from stages.shared.task import Task

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
IMAGENET_SHA256 = (
    "f37072fd47e89c5e827621c5baffa7500819f7896bbacec160b1a16c560e07ec"  # ResNet-18, V1
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
    from torch.hub import download_url_to_file, get_dir
    from torchvision.models import ResNet18_Weights

    url = ResNet18_Weights.IMAGENET1K_V1.url
    path = Path(get_dir(), "checkpoints", url.rsplit("/", 1)[-1])
    try:
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            download_url_to_file(url, str(path), IMAGENET_SHA256, progress=False)
        found = sha256(path)
    except (OSError, RuntimeError) as error:
        raise Refusal(
            f"image.train.start_from: imagenet: the weights could not be fetched ({error}); connect "
            f"to the network, or lay {path.name} into {path.parent}, or set start_from: null"
        ) from None
    if found != IMAGENET_SHA256:
        raise Refusal(
            f"image.train.start_from: imagenet: {path} has SHA-256 {found}; must be {IMAGENET_SHA256}; "
            "remove it"
        )
    # They come in torch's own format only: bytes that are known, by a reader held to tensors.
    weights: Mapping[str, Tensor] = torch.load(path, map_location="cpu", weights_only=True)
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
            f"image.train.start_from: {name} does not fit the model: {missing[0]}: expected shape "
            f"{_shape(own[missing[0]])}, given {_shape(weights.get(missing[0]))} ({len(missing)} of "
            f"{len(own)} tensors do not fit); train with the model, channels and prepare.channels that "
            "made it"
        )
    model.load_state_dict(fitting, strict=False)


def _shape(tensor: Tensor | None) -> str:
    return "none" if tensor is None else str(tuple(tensor.shape))


def fresh_model(task: "Task", dataset: "Dataset", images: np.ndarray, seed: int) -> Classifier:
    """Return the model before its first step: initialised, normalised, and started from weights."""
    torch.manual_seed(seed_for(seed, "initial weights"))
    model = build(task.params.train, dataset.note["shape"][0], len(dataset.classes))
    normalise_by(model, images, dataset.rows("train"))
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
