"""Weights on disk: safetensors only, so that reading them runs nothing."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from stages.shared.files import write
from stages.shared.refusal import Refusal


def write_weights(
    path: Path, weights: Mapping[str, Tensor], metadata: dict[str, str] | None = None
) -> None:
    """Write `weights` whole, with `metadata` (text by name) in the same file."""
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in weights.items()}
    write(path, save(plain, metadata))


def read_weights(path: Path) -> dict[str, Tensor]:
    """Return the tensors in the safetensors file `path`.

    Raises:
        Refusal: it is missing, or is no whole safetensors file.
    """
    return read_weights_and_metadata(path)[0]


def read_weights_and_metadata(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Return the tensors and the metadata in the safetensors file `path`.

    Raises:
        Refusal: as `read_weights`.
    """
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}  # noqa: SIM118
    except FileNotFoundError:
        raise Refusal(f"{path}: no such file of weights; train it with `dvc repro`") from None
    except (SafetensorError, OSError) as error:
        raise Refusal(
            f"{path}: not a whole safetensors file ({error}); train it again, or fetch it again"
        ) from None


def learnt(model: nn.Module) -> dict[str, Tensor]:
    """Return the model's state but for the parameters that training leaves as they were."""
    frozen = {name for name, p in model.named_parameters() if not p.requires_grad}
    return {name: tensor for name, tensor in model.state_dict().items() if name not in frozen}


def load_learnt(model: nn.Module, path: Path) -> None:
    """Put what was learnt, as the safetensors file `path` holds it, into a model built anew.

    Raises:
        Refusal: the weights are missing, damaged, or of another model.
    """
    weights, own = read_weights(path), learnt(model)
    for name in sorted({*weights, *own}):
        given = tuple(weights[name].shape) if name in weights else "none"
        wanted = tuple(own[name].shape) if name in own else "none"
        if given != wanted:
            raise Refusal(
                f"{path} does not fit the model that params.yaml describes ({name}: expected shape "
                f"{wanted}, given {given}); train it again with `dvc repro`"
            )
    model.load_state_dict(weights, strict=False)


def judged(head: nn.Module, features: np.ndarray) -> np.ndarray:
    """Return the probabilities (n, classes), float32, that a classifier's head gives to features."""
    where = next(head.parameters()).device
    with torch.inference_mode():
        logits: Tensor = head(torch.from_numpy(features).to(where))
        probabilities: np.ndarray = logits.softmax(dim=1).cpu().numpy()
    return probabilities
