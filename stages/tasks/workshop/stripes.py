"""The workshop's data: stripes, drawn from a seed.

DVC takes this file as the raw data of the task, since the images are what it draws.
"""

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from stages.shared.images.source import Picture, Source
from stages.shared.packing import Origin
from stages.shared.runtime import seed_for

if TYPE_CHECKING:
    from stages.shared.schema import PrepareStripes

# Degrees by which the stripes' normal is turned from the horizontal axis.
DIRECTIONS = {"vertical": 0.0, "diagonal": 45.0, "horizontal": 90.0}
PERIOD = 4.0  # pixels from one stripe to the next
# At difficulty 1; in proportion below.
STRETCH = 1.0  # pixels by which the period differs, at most
SHIFT = 0.4  # share of a period by which stripes are shifted, either way, at most
LEAN = 30.0  # degrees by which stripes lean off their direction, at most
NOISE = 1.0  # standard deviation of the noise, as a share of the range of brightness
COVERED = 1.0  # side of the grey square that hides a part, as a share of the image's, at most
CONTRAST = 1.0  # how much of the contrast may be lost


def drawn(params: "PrepareStripes") -> Source:
    """Return the stripes that the params ask for, and what the dataset note says of them."""
    return Source(
        _pictures(params),
        Origin(
            origin=f"stripes drawn by stages/tasks/workshop/stripes.py from seed {params.seed} at "
            f"difficulty {params.difficulty:g} of 1: shifted by up to "
            f"{SHIFT * params.difficulty:g} of a period, leaning up to {LEAN * params.difficulty:g} "
            f"degrees, under noise of {NOISE * params.difficulty:g} of the range, behind a grey square "
            f"of up to {COVERED * params.difficulty:.0%} of the side; synthetic: "
            "they stand for nothing but themselves",
            licence="CC0 1.0 (public domain)",
            label_rules="the direction that the stripes were drawn in, before they lean: "
            + ", ".join(DIRECTIONS),
        ),
    )


def _pictures(params: "PrepareStripes") -> Iterator[Picture]:
    for label, degrees in DIRECTIONS.items():
        random = np.random.default_rng(seed_for(params.seed, "stripes", label))
        for number in range(params.per_class):
            pixels = stripes(degrees, params.size, params.difficulty, random)
            yield Picture(f"{label}-{number:04}", label, pixels=pixels)


def stripes(
    degrees: float, size: int, difficulty: float, random: np.random.Generator
) -> np.ndarray:
    """Return one image of stripes, uint8 (1, size, size).

    Args:
        degrees: the direction of the stripes' normal.
        size: pixels a side.
        difficulty: 0 to 1; how far stripes shift, stretch, lean, fade, and hide under noise and a square.
        random: draws lean, period, shift, contrast, noise and the square.
    """
    angle = math.radians(degrees + random.uniform(-1, 1) * LEAN * difficulty)
    period = PERIOD + random.uniform(-1, 1) * STRETCH * difficulty
    phase = 2 * math.pi * random.uniform(-1, 1) * SHIFT * difficulty
    contrast = 1 - random.uniform(0, CONTRAST) * difficulty
    y, x = np.mgrid[:size, :size]
    wave = np.sin(2 * math.pi * (x * math.cos(angle) + y * math.sin(angle)) / period + phase)
    image = 0.5 + 0.5 * contrast * wave
    side = round(random.uniform(0, COVERED) * difficulty * size)
    top, left = random.integers(0, size - side + 1, 2)
    image[top : top + side, left : left + side] = 0.5
    image += random.normal(0, NOISE * difficulty, image.shape)
    pixels: np.ndarray = np.rint(255 * image.clip(0, 1)).astype(np.uint8)[None]
    return pixels
