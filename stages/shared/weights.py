"""Weights on disk: safetensors only, so that reading them runs nothing."""

from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

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
