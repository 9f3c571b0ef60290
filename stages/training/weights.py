"""Weights on disk, as safetensors only: unlike pickle, reading them cannot run code."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from stages.core.errors import UserError
from stages.core.files import write


def write_weights(
    path: Path, weights: Mapping[str, Tensor], metadata: dict[str, str] | None = None
) -> None:
    """Write `weights` and `metadata` (text by name) to the safetensors file `path`, atomically."""
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in weights.items()}
    write(path, save(tensors, metadata))


def read_weights(path: Path) -> dict[str, Tensor]:
    """Return the tensors in the safetensors file `path`.

    Raises:
        UserError: it is missing or damaged.
    """
    return read_weights_and_metadata(path)[0]


def read_weights_and_metadata(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Return the tensors and the metadata in the safetensors file `path`.

    Raises:
        UserError: it is missing or damaged.
    """
    if path.exists() and not path.is_file():  # reading a pipe or a device may never end
        raise UserError(f"{path}: not a file; name a .safetensors file")
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}  # noqa: SIM118
    except FileNotFoundError:
        raise UserError(f"{path}: no such file of weights; train it with `dvc repro`") from None
    except (SafetensorError, OSError) as error:
        raise UserError(
            f"{path}: not a whole safetensors file ({error}); train it again, or fetch it again"
        ) from None


def trainable_state(model: nn.Module) -> dict[str, Tensor]:
    """Return the model's state without its frozen parameters."""
    frozen = {name for name, p in model.named_parameters() if not p.requires_grad}
    return {name: tensor for name, tensor in model.state_dict().items() if name not in frozen}


def load_trainable(model: nn.Module, path: Path) -> None:
    """Load a `trainable_state` from the safetensors file `path` into a newly built model.

    Raises:
        UserError: the weights are missing, damaged, or of another model.
    """
    weights, state = read_weights(path), trainable_state(model)
    for name in sorted({*weights, *state}):
        shape = tuple(weights[name].shape) if name in weights else "none"
        expected = tuple(state[name].shape) if name in state else "none"
        if shape != expected:
            raise UserError(
                f"{path} does not fit the model that params.yaml describes ({name}: expected shape "
                f"{expected}, given {shape}); train it again with `dvc repro`"
            )
    model.load_state_dict(weights, strict=False)


def head_probabilities(head: nn.Module, features: np.ndarray) -> np.ndarray:
    """Return a classifier head's probabilities for features (n, width): (n, classes), float32."""
    device = next(head.parameters()).device
    with torch.inference_mode():
        logits: Tensor = head(torch.from_numpy(features).to(device))
        probabilities: np.ndarray = logits.softmax(dim=1).cpu().numpy()
    return probabilities
