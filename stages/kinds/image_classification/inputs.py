"""The inputs of the image classifier: batches of training images, randomly changed."""

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from stages.core.runtime import seed_for
from stages.datasets.images.packed import in_batches
from stages.training.image_networks import PREDICTED_AT_ONCE

if TYPE_CHECKING:
    from stages.kinds.image_classification.schema import Augment

_DEVICE_SHARE = 0.5  # of a GPU's free memory that the images of one split may take
_BLOCK = 4096  # images that are copied to a GPU at a time


class SplitReader:
    """The images and labels of one split, for a network on `device`.

    On a CPU, batches are read from the memory map. A GPU keeps all images in its memory, as bytes, if they
    take at most half of what is free, so that no step waits for its input.

    Args:
        images: the packed array.
        rows: of the split.
        labels: of the split, (n,).
        device: where the network is.
    """

    def __init__(
        self, images: np.ndarray, rows: np.ndarray, labels: Tensor, device: torch.device
    ) -> None:
        self._images, self._rows, self._device = images, rows, device
        self._labels = labels.to(device)
        self._resident = _copy_to_device(images, rows, device)

    def batch(self, indices: np.ndarray) -> tuple[Tensor, Tensor]:
        """Return the images (batch, channel, height, width), 0 to 1, and labels at sorted `indices`."""
        on_device = torch.from_numpy(indices).to(self._device, non_blocking=True)
        if self._resident is not None:
            pixels = self._resident[on_device]
        else:
            pixels = torch.from_numpy(self._images[self._rows[indices]]).to(self._device)
        return pixels.float() / 255, self._labels[on_device]

    def in_order(self) -> Iterator[tuple[tuple[Tensor], Tensor]]:
        """Yield batches of the whole split, in order: a network's inputs, and their labels."""
        for part in in_batches(np.arange(len(self._rows)), self._images, PREDICTED_AT_ONCE):
            pixels, labels = self.batch(part)
            yield (pixels,), labels


def _copy_to_device(images: np.ndarray, rows: np.ndarray, device: torch.device) -> Tensor | None:
    """Return the images at `rows` in a GPU's memory, uint8; None on a CPU, or if they take too much."""
    if device.type != "cuda":
        return None
    free, _ = torch.cuda.mem_get_info(device)
    if len(rows) * images[0].nbytes > _DEVICE_SHARE * free:
        return None
    resident = torch.empty((len(rows), *images.shape[1:]), dtype=torch.uint8, device=device)
    for start in range(0, len(rows), _BLOCK):
        resident[start : start + _BLOCK] = torch.from_numpy(images[rows[start : start + _BLOCK]])
    return resident


def mirrored_in_turn(count: int, seed: int, epoch: int) -> Tensor:
    """Return which of `count` images an epoch mirrors, (count,), bool: half of them, in turn.

    Drawn anew in each epoch, half of the images would look in the next one as they did in this one
    (Jordan, 2024, section 3.6).
    """
    first = np.random.default_rng(seed_for(seed, "mirror")).integers(0, 2, count)
    return torch.from_numpy((first + epoch) % 2 == 1)


def augment(images: Tensor, params: "Augment", random: torch.Generator, mirrored: Tensor) -> Tensor:
    """Return randomly changed images, (batch, channel, height, width), on the same device.

    Args:
        images: (batch, channel, height, width).
        params: the limits of each change.
        random: on the CPU, so that a device draws the same numbers as another.
        mirrored: which images to mirror, if the params say so, (batch,), bool.
    """
    mirrored = mirrored & params.flip
    if params.rotate or params.scale or params.shear:
        return _transform(images, params, random, mirrored)
    return _shift(images, params, random, mirrored)


def _shift(images: Tensor, params: "Augment", random: torch.Generator, mirrored: Tensor) -> Tensor:
    """Shift each image by whole pixels, and mirror some.

    Pixels from outside the image repeat it as in a mirror.
    """
    count, _, height, width = images.shape
    limits = torch.tensor([round(params.translate * side) for side in (height, width)])
    shifts = (torch.rand(count, 2, generator=random) * (2 * limits + 1)).long() - limits
    down, across = shifts.to(images.device, non_blocking=True).unbind(1)
    y = _reflect(torch.arange(height, device=images.device) + down[:, None], height)
    x = _reflect(torch.arange(width, device=images.device) + across[:, None], width)
    mirrored = mirrored.to(images.device, non_blocking=True)
    x = torch.where(mirrored[:, None], x.flip(1), x)
    samples = torch.arange(count, device=images.device)
    return images[samples[:, None, None], :, y[:, :, None], x[:, None, :]].permute(0, 3, 1, 2)


def _reflect(positions: Tensor, length: int) -> Tensor:
    """Return positions that lie outside 0 to `length` - 1 as if mirrored at the outermost pixels."""
    positions = positions.abs()
    return torch.where(positions < length, positions, 2 * (length - 1) - positions)


def _transform(
    images: Tensor, params: "Augment", random: torch.Generator, mirrored: Tensor
) -> Tensor:
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
    mirror = torch.where(mirrored, -1.0, 1.0)
    cosine, sine = torch.cos(angle), torch.sin(angle)
    first = torch.stack([mirror * cosine / scale, (shear * cosine - sine) / scale, across], dim=1)
    second = torch.stack([mirror * sine / scale, (shear * sine + cosine) / scale, down], dim=1)
    matrices = torch.stack([first, second], dim=1).to(images.device, non_blocking=True)
    grid = functional.affine_grid(matrices, list(images.shape), align_corners=False)
    return functional.grid_sample(images, grid, align_corners=False)


def resize(images: Tensor, size: int) -> Tensor:
    """Return images of `size` by `size` pixels, bilinear with antialiasing."""
    return functional.interpolate(images, (size, size), mode="bilinear", antialias=True)
