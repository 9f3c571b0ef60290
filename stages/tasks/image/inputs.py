"""What the image classifier is given: tensors of pixels, changed at random in training."""

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from stages.shared.images.packed import in_parts

if TYPE_CHECKING:
    from stages.params import Augment

_AT_ONCE = 2048


def as_tensor(images: np.ndarray) -> Tensor:
    """Return uint8 images as float32, 0 to 1."""
    return torch.from_numpy(images.astype(np.float32) / 255)


def as_tensors(images: np.ndarray, rows: np.ndarray) -> Iterator[Tensor]:
    """Yield the images at `rows` in order, as tensors of at most 2,048."""
    for part in in_parts(rows, images, _AT_ONCE):
        yield as_tensor(images[part])


def augment(images: Tensor, params: "Augment", random: torch.Generator) -> Tensor:
    """Return images under a random affine change each, (batch, channel, height, width).

    What comes in from outside is 0.

    The whole batch goes through one `grid_sample`; torchvision's transforms draw one change for a
    batch, or need a Python call for each image.
    """
    count = len(images)

    def uniform(reach: float) -> Tensor:
        return (torch.rand(count, generator=random) * 2 - 1) * reach

    angle = uniform(math.radians(params.rotate))
    shear = uniform(params.shear)
    scale = 1 + uniform(params.scale)
    across, down = (
        uniform(2 * params.translate),
        uniform(2 * params.translate),
    )  # the side is 2 here
    mirror = torch.ones(count)
    if params.flip:
        mirror = torch.where(torch.rand(count, generator=random) < 0.5, -1.0, 1.0)  # noqa: PLR2004
    cosine, sine = torch.cos(angle), torch.sin(angle)
    first = torch.stack([mirror * cosine / scale, (shear * cosine - sine) / scale, across], dim=1)
    second = torch.stack([mirror * sine / scale, (shear * sine + cosine) / scale, down], dim=1)
    matrices = torch.stack([first, second], dim=1).to(images.device)
    grid = functional.affine_grid(matrices, list(images.shape), align_corners=False)
    return functional.grid_sample(images, grid, align_corners=False)
