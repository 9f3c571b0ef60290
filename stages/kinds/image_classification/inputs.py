"""The inputs of the image classifier: batches of training images, randomly changed."""

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from stages.training.image_networks import to_tensor

if TYPE_CHECKING:
    from stages.kinds.image_classification.schema import Augment

MAX_DEVICE_BYTES = 8 * 2**30  # of training images that are kept in a GPU's memory


def batch_reader(
    images: np.ndarray, rows: np.ndarray, device: torch.device
) -> Callable[[np.ndarray], Tensor]:
    """Return sorted indices of `rows` -> those images on `device`, float32, 0 to 1.

    On a CPU a batch is read from the memory map. A GPU keeps all images in its memory where they take at
    most `MAX_DEVICE_BYTES`, so that no step waits for its input.

    Args:
        images: the packed array.
        rows: of the training images.
        device: where the network is trained.
    """
    if device.type == "cpu" or len(rows) * images[0].nbytes > MAX_DEVICE_BYTES:
        return lambda indices: to_tensor(images[rows[indices]]).to(device)
    resident = torch.from_numpy(images[rows]).to(device)
    return lambda indices: resident[torch.from_numpy(indices).to(device)].float() / 255


def augment(images: Tensor, params: "Augment", random: torch.Generator) -> Tensor:
    """Return randomly changed images, (batch, channel, height, width), on the same device.

    Args:
        images: (batch, channel, height, width).
        params: the limits of each change.
        random: on the CPU, so that a device draws the same numbers as another.
    """
    if params.rotate or params.scale or params.shear:
        return _transform(images, params, random)
    return _shift(images, params, random)


def _shift(images: Tensor, params: "Augment", random: torch.Generator) -> Tensor:
    """Shift each image by whole pixels, and mirror half of them.

    Pixels from outside the image repeat it as in a mirror.
    """
    count, _, height, width = images.shape
    limits = torch.tensor([round(params.translate * side) for side in (height, width)])
    shifts = (torch.rand(count, 2, generator=random) * (2 * limits + 1)).long() - limits
    down, across = shifts.to(images.device).unbind(1)
    y = _reflect(torch.arange(height, device=images.device) + down[:, None], height)
    x = _reflect(torch.arange(width, device=images.device) + across[:, None], width)
    if params.flip:
        mirrored = (torch.rand(count, generator=random) < 0.5).to(images.device)  # noqa: PLR2004
        x = torch.where(mirrored[:, None], x.flip(1), x)
    samples = torch.arange(count, device=images.device)
    return images[samples[:, None, None], :, y[:, :, None], x[:, None, :]].permute(0, 3, 1, 2)


def _reflect(positions: Tensor, length: int) -> Tensor:
    """Return positions that lie outside 0 to `length` - 1 as if mirrored at the outermost pixels."""
    positions = positions.abs()
    return torch.where(positions < length, positions, 2 * (length - 1) - positions)


def _transform(images: Tensor, params: "Augment", random: torch.Generator) -> Tensor:
    """Return each image under a random affine transformation.

    Pixels from outside the image are 0. One `grid_sample` transforms the whole batch; torchvision's
    transforms draw one transformation for a batch, or need a Python call for each image.
    """
    count = len(images)

    def uniform(limit: float) -> Tensor:
        return (torch.rand(count, generator=random) * 2 - 1) * limit

    angle = uniform(math.radians(params.rotate))
    shear = uniform(params.shear)
    scale = 1 + uniform(params.scale)
    # In the coordinates of affine_grid, a side is 2 long.
    across, down = uniform(2 * params.translate), uniform(2 * params.translate)
    mirror = torch.ones(count)
    if params.flip:
        mirror = torch.where(torch.rand(count, generator=random) < 0.5, -1.0, 1.0)  # noqa: PLR2004
    cosine, sine = torch.cos(angle), torch.sin(angle)
    first = torch.stack([mirror * cosine / scale, (shear * cosine - sine) / scale, across], dim=1)
    second = torch.stack([mirror * sine / scale, (shear * sine + cosine) / scale, down], dim=1)
    matrices = torch.stack([first, second], dim=1).to(images.device)
    grid = functional.affine_grid(matrices, list(images.shape), align_corners=False)
    return functional.grid_sample(images, grid, align_corners=False)


def resize(images: Tensor, size: int) -> Tensor:
    """Return images of `size` by `size` pixels, bilinear with antialiasing."""
    return functional.interpolate(images, (size, size), mode="bilinear", antialias=True)
