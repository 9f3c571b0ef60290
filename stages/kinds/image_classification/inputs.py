"""Random augmentation of training images."""

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional

if TYPE_CHECKING:
    from stages.kinds.image_classification.schema import Augment


def augment(images: Tensor, params: "Augment", random: torch.Generator) -> Tensor:
    """Return each image under a random affine transformation, (batch, channel, height, width).

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
