"""A synthetic source of images: stripes, drawn from a seed."""

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from stages.core.runtime import seed_for
from stages.datasets.images.sample import ImageSample, ImageSource
from stages.datasets.ledger import SourceNote

if TYPE_CHECKING:
    from stages.core.schema import Stripes
    from stages.core.task import Task

# The angle between the normal of the stripes and the horizontal axis, in degrees.
DIRECTIONS = {"vertical": 0.0, "diagonal": 45.0, "horizontal": 90.0}
PERIOD = 4.0  # pixels from one stripe to the next
# The random changes at difficulty 1, to which they are proportional. All but the noise are maxima.
STRETCH = 1.0  # change of the period, pixels
SHIFT = 0.4  # shift of the stripes, share of a period
LEAN = 30.0  # change of the direction, degrees
NOISE = 1.0  # standard deviation of the noise, share of the brightness range
COVERED = 1.0  # side of a grey square that hides a part, share of the image's side
CONTRAST = 1.0  # loss of contrast, share


def stripes_source(task: "Task") -> ImageSource:
    """Return the stripes of `prepare.stripes`."""
    params: Stripes = task.params.prepare.stripes
    difficulty = params.difficulty
    note = SourceNote(
        origin=f"stripes drawn from seed {params.seed} at difficulty {difficulty:g} of 1: shifted by up "
        f"to {SHIFT * difficulty:g} of a period, leaning by up to {LEAN * difficulty:g} degrees, with "
        f"noise of {NOISE * difficulty:g} of the range and a grey square of up to "
        f"{COVERED * difficulty:.0%} of the side (data/raw/stripes/README.md)",
        licence="CC0 1.0 (public domain)",
        label_rules="the direction of the stripes before the random lean: " + ", ".join(DIRECTIONS),
        limits={
            "Synthetic": "stripes are drawn by a few lines of code; a result on them does not carry over "
            "to photographs",
            "Difficulty": f"{difficulty:g} of 1, on a scale made for this exercise; at another "
            "difficulty the gain differs",
        },
        synthetic=True,
    )
    return ImageSource(_draw_all(params, task.params.prepare.size), note)


def _draw_all(params: "Stripes", size: int) -> Iterator[ImageSample]:
    for label, degrees in DIRECTIONS.items():
        random = np.random.default_rng(seed_for(params.seed, "stripes", label))
        for number in range(params.per_class):
            pixels = draw_stripes(degrees, size, params.difficulty, random)
            yield ImageSample(f"{label}-{number:04}", label, pixels=pixels)


def draw_stripes(
    degrees: float, size: int, difficulty: float, random: np.random.Generator
) -> np.ndarray:
    """Return one image of stripes, uint8 (1, size, size).

    Args:
        degrees: the angle between the normal of the stripes and the horizontal axis.
        size: pixels a side.
        difficulty: 0 to 1; scales the random changes.
        random: draws direction, period, shift, contrast, the grey square and the noise, in this order.
    """
    angle = math.radians(degrees + random.uniform(-1, 1) * LEAN * difficulty)
    period = PERIOD + random.uniform(-1, 1) * STRETCH * difficulty
    phase = 2 * math.pi * random.uniform(-1, 1) * SHIFT * difficulty
    contrast = 1 - random.uniform(0, CONTRAST) * difficulty
    y, x = np.mgrid[:size, :size]
    wave = np.sin(2 * math.pi * (x * math.cos(angle) + y * math.sin(angle)) / period + phase)
    image = 0.5 + 0.5 * contrast * wave
    side = round(random.uniform(0, COVERED) * difficulty * size)
    row, column = random.integers(0, size - side + 1, 2)
    image[row : row + side, column : column + side] = 0.5
    image += random.normal(0, NOISE * difficulty, image.shape)
    pixels: np.ndarray = np.rint(255 * image.clip(0, 1)).astype(np.uint8)[None]
    return pixels
