"""What the flow is given: images from -1 to 1, and points on the path from noise to them."""

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch import Tensor

from stages.shared.runtime import seed_for

if TYPE_CHECKING:
    from stages.shared.dataset import Dataset

HELD = 1000  # validation images whose loss is taken


class Point(NamedTuple):
    """A point of the path from noise to an image, and which way the path runs there.

    Attributes:
        images: (batch, channel, height, width), where the path is.
        times: (batch,), 0 at the noise, 1 at the image.
        velocity: as images, the path's derivative, which the network is to say.
    """

    images: Tensor
    times: Tensor
    velocity: Tensor


class Held(NamedTuple):
    """The validation data: points on paths, the same at every epoch, and the images' labels."""

    point: Point
    labels: Tensor


def as_signed(pixels: np.ndarray) -> Tensor:
    """Return uint8 pixels as float32 from -1 to 1."""
    return torch.from_numpy(pixels.astype(np.float32) / 127.5 - 1)


def as_pixels(images: Tensor) -> np.ndarray:
    """Return images from -1 to 1 as uint8; what lies outside is cut off."""
    pixels: np.ndarray = ((images + 1) * 127.5).round().clamp(0, 255).to(torch.uint8).numpy()
    return pixels


def on_path(noise: Tensor, images: Tensor, times: Tensor) -> Point:
    """Return the points at `times` of the straight paths from `noise` to `images`.

    The conditional optimal-transport path without added noise (Lipman et al., 2023, section 4.1,
    example II, with sigma_min 0).
    """
    share = times.view(-1, 1, 1, 1)
    return Point((1 - share) * noise + share * images, times, images - noise)


def drawn_point(images: Tensor, random: torch.Generator) -> Point:
    """Return a random point on a random path to each of `images`.

    Times are one from each of as many equal parts of 0 to 1 as there are images: as uniform as
    independent ones, with less spread of a batch's loss (stratified sampling).
    """
    count = len(images)
    noise = torch.randn(images.shape, generator=random)
    times = (torch.randperm(count, generator=random) + torch.rand(count, generator=random)) / count
    return on_path(noise, images, times)


def held_out(dataset: "Dataset", images: np.ndarray) -> Held:
    """Return a point on a path to each validation image (of `HELD` of them, where there are more)."""
    chosen = dataset.draw("validation", HELD, seed_for("held"))
    random = torch.Generator().manual_seed(seed_for("held noise"))
    point = drawn_point(as_signed(images[dataset.rows("validation")[chosen]]), random)
    return Held(point, torch.from_numpy(dataset.labels("validation")[chosen]))
