"""A survey of a folder of images, from which the params of a new task are proposed."""

import re
import warnings
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageChops

from stages.core.errors import UserError
from stages.datasets.dataset import SPLITS
from stages.datasets.images.files import FORMATS, FULL_DEPTH, LEAST_SIDE
from stages.datasets.images.folder_tree import escape
from stages.datasets.images.layouts import LayoutChoice, read_folder
from stages.datasets.images.problems import summarise_problems
from stages.datasets.images.sample import ImageFile

if TYPE_CHECKING:
    from stages.core.schema import Labels

SAMPLE_SIZE = 100  # files that are opened
_THUMBNAIL = 64  # pixels a side at which colours are compared
_GREY_DIFFERENCE = 2  # of 255, up to which two channels count as equal
_RANGELESS = ("I", "F")  # modes that prepare cannot read
_EIGHT_BITS = 8
# The name up to its last number, and the folder: patient12_003.png, IMG_0042-2.jpg, scene3/frame1.png.
_GROUP_PATTERNS = (r"([^/]+)/[^/]+$", r"([^/]+?)[ _.-]+[A-Za-z]{0,8}\d+(?:\.\w+)?$")
_MATCHING = 0.9  # share of files that a pattern must match
_REPEATING = 0.5  # share of files that must share their group with another one
_WHOLE_CLASS = 0.5  # share of a class's files in one group, from which groups are classes


@dataclass(frozen=True)
class ImageSurvey:
    """The layout and classes of a folder of images, and the sizes and colours of a sample of them.

    Official test data are counted and not looked at.

    Attributes:
        layout: "classes", "splits" or "table".
        labels: the table of labels and its columns: path, file, label, and group and split where it
            has them; None where the layout is not "table".
        files: those that the layout gives a class.
        counts: files to train on by class, undivided ones included.
        split_counts: files of each official split by class, for those that exist.
        remarks: sentences on what is left out or unusual.
        group_hint: a pattern that finds groups in the paths, such as patients; None for none. Names
            only suggest groups: somebody who knows the data must say what they mean.
        sizes: (width, height) of the sampled images.
        modes: Pillow's mode of each.
        grey: whether all sampled images are grey, whatever their mode.
        unreadable: the number of sampled files that cannot be read as images.
    """

    layout: str
    labels: dict[str, str] | None
    files: list[ImageFile]
    counts: dict[str, int]
    split_counts: dict[str, dict[str, int]]
    remarks: list[str]
    group_hint: str | None
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


def survey_images(
    root: Path, name: str, layout: str | None = None, labels: "Labels | None" = None
) -> ImageSurvey:
    """Return the survey of a folder of images.

    Args:
        root: the folder.
        name: of the folder, for messages.
        layout: of the folder; None: detected.
        labels: the table of labels and its columns; None: detected.

    Raises:
        UserError: it is no such folder, has several layouts to choose from, or no sampled file is an
            image.
    """
    choice = LayoutChoice(name, "--layout", "prepare.labels", layout, labels, guess=True)
    contents = read_folder(root, choice)
    usable = [file for file in contents.files if not file.problem]
    inspectable = [file for file in usable if file.split != "test"]
    samples = [
        _inspect(root / file.path)
        for file in inspectable[:: -(-len(inspectable) // SAMPLE_SIZE) or 1]
    ]
    images = [image for image in samples if image is not None]
    if not images:
        raise UserError(
            f"{name}: none of {len(samples)} sampled files is a readable image; each class needs a "
            "sub-folder of image files (PNG, JPEG, ...), or each file a row in a table of labels"
        )
    sizes, modes, grey, bits = zip(*images, strict=True)
    splits = {file.split for file in usable} - {""}
    return ImageSurvey(
        contents.layout,
        contents.labels.model_dump(exclude_none=True) if contents.labels else None,
        usable,
        _count([file for file in usable if file.split in {"", "train"}]),
        {
            split: _count([f for f in usable if f.split == split])
            for split in SPLITS
            if split in splits
        },
        [*contents.remarks, *_problem_remarks(contents.files), *_depth_remarks(max(bits))],
        None if contents.labels and contents.labels.group else _group_hint(inspectable),
        [*sizes],
        Counter(modes),
        all(grey),
        len(samples) - len(images),
    )


def _count(files: list[ImageFile]) -> dict[str, int]:
    """Return the number of files of each class, in the order of the classes."""
    counts = Counter(escape(file.label) for file in files)
    return {label: counts[label] for label in sorted(counts)}


def _problem_remarks(files: list[ImageFile]) -> list[str]:
    problems = [(file.path, file.problem) for file in files if file.problem]
    if not problems:
        return []
    return [f"{len(problems)} of {len(files)} rows cannot be used: {summarise_problems(problems)}"]


def _depth_remarks(bits: int) -> list[str]:
    if not _EIGHT_BITS < bits < FULL_DEPTH:
        return []
    return [
        f"16-bit grey files use {bits} bits, as far as sampled; prepare scales by the bits in use"
    ]


def _group_hint(files: list[ImageFile]) -> str | None:
    """Return the first pattern whose groups could be subjects: several files each, and no classes."""
    for pattern in _GROUP_PATTERNS:
        matches = [re.search(pattern, file.path) for file in files]
        groups = [match[1] if match else "" for match in matches]
        sizes = Counter(filter(None, groups))
        repeating = [size for size in sizes.values() if size > 1]
        if (
            sizes.total() >= _MATCHING * len(files)
            and sum(repeating) >= _REPEATING * len(files)
            and 2 <= len(repeating) <= len(files) / 2  # noqa: PLR2004
            and _largest_share(groups, [file.label for file in files]) <= _WHOLE_CLASS
        ):
            return pattern
    return None


def _largest_share(groups: list[str], labels: list[str]) -> float:
    """Return the share of a class's files that its largest group has, as a mean over the classes."""
    largest: dict[str, int] = {}
    for (label, _), count in Counter(zip(labels, groups, strict=True)).items():
        largest[label] = max(count, largest.get(label, 0))
    sizes = Counter(labels)
    return sum(count / sizes[label] for label, count in largest.items()) / len(sizes)


def _inspect(file: Path) -> tuple[tuple[int, int], str, bool, int] | None:
    """Return an image's size and mode, whether it is grey, and its 16-bit depth; None if unreadable."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(file, formats=FORMATS) as image:
                size, mode = image.size, image.mode
                if mode in _RANGELESS or max(size) < LEAST_SIDE:
                    return None
                deep = mode.startswith("I;16")
                bits = int(np.asarray(image, dtype=np.uint16).max()).bit_length() if deep else 0
                return size, mode, _is_grey(image), bits
    except Exception:  # noqa: BLE001 (each decoder raises its own types)
        return None


def _is_grey(image: Image.Image) -> bool:
    if image.mode.startswith("I;16"):
        return True
    image.thumbnail((_THUMBNAIL, _THUMBNAIL))
    red, green, blue = image.convert("RGB").split()
    extremes = [ImageChops.difference(red, channel).getextrema() for channel in (green, blue)]
    return all(np.max(extreme) <= _GREY_DIFFERENCE for extreme in extremes)
