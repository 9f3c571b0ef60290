"""Inputs of the flow: images from -1 to 1, and points on the paths from noise to images."""

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch import Tensor

from stages.core.runtime import seed_for

if TYPE_CHECKING:
    from stages.datasets.dataset import Dataset

MAX_VALIDATION_POINTS = 1000
Sampler = Callable[[np.ndarray, int], np.ndarray]  # (labels (n,), seed) -> samples, uint8


class PathPoint(NamedTuple):
    """Points on paths from noise to images, with the velocity there.

    Attributes:
        images: (batch, channel, height, width), the points.
        times: (batch,), 0 at the noise, 1 at the image.
        velocity: as images, the derivative of the path: the target of the network.
    """

    images: Tensor
    times: Tensor
    velocity: Tensor


class ValidationPoints(NamedTuple):
    """The validation data: points on paths, the same at every epoch, and the images' labels."""

    point: PathPoint
    labels: Tensor


def to_signed(pixels: np.ndarray) -> Tensor:
    """Return uint8 pixels as float32 from -1 to 1."""
    return torch.from_numpy(pixels.astype(np.float32) / 127.5 - 1)


def to_pixels(images: Tensor) -> np.ndarray:
    """Return images from -1 to 1 as uint8; values outside are clipped."""
    pixels: np.ndarray = ((images + 1) * 127.5).round().clamp(0, 255).to(torch.uint8).numpy()
    return pixels


def flat_to_pixels(values: np.ndarray, shape: tuple[int, int, int]) -> np.ndarray:
    """Return flat images (n, values), 0 to 1, as uint8 (n, channel, height, width)."""
    pixels: np.ndarray = (values * 255).round().clip(0, 255).astype(np.uint8)
    return pixels.reshape(-1, *shape)


def point_on_path(noise: Tensor, images: Tensor, times: Tensor) -> PathPoint:
    """Return the points at `times` of the straight paths from `noise` to `images`.

    The conditional optimal-transport path without added noise (Lipman et al., 2023, section 4.1,
    example II, with sigma_min 0).
    """
    share = times.view(-1, 1, 1, 1)
    return PathPoint((1 - share) * noise + share * images, times, images - noise)


def random_point(images: Tensor, generator: torch.Generator) -> PathPoint:
    """Return a random point on a random path to each of `images`.

    The times are a stratified sample: one from each of n equal parts of 0 to 1, which lowers the
    variance of a batch's loss.
    """
    count = len(images)
    noise = torch.randn(images.shape, generator=generator)
    strata = torch.randperm(count, generator=generator)
    times = (strata + torch.rand(count, generator=generator)) / count
    return point_on_path(noise, images, times)


def validation_points(dataset: "Dataset", images: np.ndarray) -> ValidationPoints:
    """Return a point on a path to each validation image, of at most 1,000 of them."""
    drawn = dataset.draw("validation", MAX_VALIDATION_POINTS, seed_for("held"))
    generator = torch.Generator().manual_seed(seed_for("held noise"))
    pixels = to_signed(images[dataset.rows("validation")[drawn]])
    labels = torch.from_numpy(dataset.labels("validation")[drawn])
    return ValidationPoints(random_point(pixels, generator), labels)
