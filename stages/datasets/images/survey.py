"""A survey of a folder of images, from which the params of a new task are proposed."""

import warnings
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np
from PIL import Image, ImageChops

from stages.core.errors import UserError
from stages.datasets.images.files import FORMATS
from stages.datasets.images.folder import class_files

SAMPLE_SIZE = 100  # files that are opened
_THUMBNAIL = 64  # pixels a side at which colours are compared
_GREY_DIFFERENCE = 2  # of 255, up to which two channels count as equal
_RANGELESS = ("I", "F")  # modes that prepare cannot read
_SPLIT_NAMES = {"train", "training", "val", "valid", "validation", "dev", "test", "testing"}


@dataclass(frozen=True)
class ImageSurvey:
    """The classes of a folder of images, and the sizes and colours of a sample of them.

    Attributes:
        counts: files by class.
        sizes: (width, height) of the sampled images.
        modes: Pillow's mode of each.
        grey: whether all sampled images are grey, whatever their mode.
        unreadable: the number of sampled files that cannot be read as images.
    """

    counts: dict[str, int]
    sizes: list[tuple[int, int]]
    modes: Counter[str]
    grey: bool
    unreadable: int

    @property
    def side(self) -> float:
        """Return the median side length in pixels: of each image the mean of width and height."""
        return median((width + height) / 2 for width, height in self.sizes)

    def describe(self) -> str:
        """Return sizes and modes in words."""
        widths, heights = zip(*self.sizes, strict=True)
        size = f"{min(widths)} to {max(widths)} pixels wide, {min(heights)} to {max(heights)} high"
        if len(set(self.sizes)) == 1:
            size = f"{widths[0]} x {heights[0]} pixels"
        modes = ", ".join(f"{mode} {count}" for mode, count in self.modes.most_common())
        unreadable = f", {self.unreadable} unreadable" if self.unreadable else ""
        return f"{len(self.sizes)} sampled: {size}; Pillow modes: {modes}{unreadable}"


def survey_images(root: Path, name: str) -> ImageSurvey:
    """Return the survey of a folder with a sub-folder of images for each class.

    Args:
        root: the folder.
        name: of the folder, for messages.

    Raises:
        UserError: it is no such folder, its sub-folders are splits, or no sampled file is an image.
    """
    files = class_files(root, name)
    counts = Counter(label for _, label in files)
    if {label.lower() for label in counts} <= _SPLIT_NAMES:
        raise UserError(
            f"{name}: its sub-folders are splits ({', '.join(counts)}), not classes; name the folder "
            f"that holds the classes, such as {root / next(iter(counts))}"
        )
    samples = [_inspect(file) for file, _ in files[:: -(-len(files) // SAMPLE_SIZE)]]
    images = [image for image in samples if image is not None]
    if not images:
        raise UserError(
            f"{name}: none of {len(samples)} sampled files is a readable image; each class needs a "
            "sub-folder of image files (PNG, JPEG, ...)"
        )
    sizes, modes, grey = zip(*images, strict=True)
    return ImageSurvey(
        dict(counts), [*sizes], Counter(modes), all(grey), len(samples) - len(images)
    )


def _inspect(file: Path) -> tuple[tuple[int, int], str, bool] | None:
    """Return the size and mode of an image and whether it is grey, or None for an unreadable file."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(file, formats=FORMATS) as image:
                size, mode = image.size, image.mode
                return None if mode in _RANGELESS else (size, mode, _is_grey(image))
    except Exception:  # noqa: BLE001 (each decoder raises its own types)
        return None


def _is_grey(image: Image.Image) -> bool:
    if image.mode.startswith("I;16"):
        return True
    image.thumbnail((_THUMBNAIL, _THUMBNAIL))
    red, green, blue = image.convert("RGB").split()
    extremes = [ImageChops.difference(red, channel).getextrema() for channel in (green, blue)]
    return all(np.max(extreme) <= _GREY_DIFFERENCE for extreme in extremes)
