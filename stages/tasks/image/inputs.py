"""What the image classifier is given in training: images, each changed at random."""

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional

if TYPE_CHECKING:
    from stages.shared.schema import Augment


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
