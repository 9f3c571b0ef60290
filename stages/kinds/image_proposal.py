"""The proposed params of the stage prepare for images, shared by the kinds that use them."""

import re
import time
from contextlib import suppress
from itertools import islice
from pathlib import Path

from stages.core.errors import UserError
from stages.datasets.images.folder import class_files
from stages.datasets.images.survey import ImageSurvey
from stages.kinds.probe import write_dataset
from stages.kinds.proposal import (
    MIN_SAMPLES,
    NO_GROUPS,
    DataOptions,
    Proposal,
    Setting,
    describe_counts,
    min_per_class,
    yaml_scalar,
)

SIZES = (8, 16, 28, 32, 64, 96, 128)
_LISTED_GROUPS = 3
_TIMED_FILES = 20
_MAX_PIXELS = 50_000_000
_COMPARING_SECONDS = 5e-4  # of one image: packing it, looking for its near duplicates


def image_proposal(
    survey: ImageSurvey, path: Path, name: str, largest: int, options: DataOptions
) -> tuple[Proposal, int]:
    """Return the params of the stage prepare, and the size of an image among them.

    The size is the one of `SIZES`, up to `largest`, that is nearest to the median side.

    Args:
        survey: of the images.
        path: the folder of the images.
        name: of the task.
        largest: pixels a side, at most.
        options: of the command line.

    Raises:
        UserError: a class has too few images to split, or `options.groups` does not fit the paths.
    """
    for label, count in survey.counts.items():
        if count < MIN_SAMPLES:
            raise UserError(
                f"class {label!r} has {count} images; at least {MIN_SAMPLES} are needed, one for each "
                "split: add some, or remove its folder"
            )
    size = min(
        (size for size in SIZES if size <= largest), key=lambda size: abs(size - survey.side)
    )
    channels = 1 if survey.grey else 3
    remarks = []
    if survey.side > largest:
        remarks.append(
            f"images are reduced from {survey.side:g} to {size} pixels a side; a larger "
            f"tasks.{name}.prepare.size keeps more detail and takes longer"
        )
    values = {
        "size": str(size),
        "colours": str(channels),
        "min_per_class": str(min_per_class(survey.counts)),
        "groups": "null",
    }
    settings = []
    if options.groups not in {None, NO_GROUPS}:
        assert options.groups is not None  # noqa: S101 (for the type checker)
        values["groups"] = yaml_scalar(options.groups)
        groups = describe_groups(path, options.groups)
        settings = [Setting("prepare.group_pattern", options.groups, groups)]
    colour = "grey" if survey.grey else "colour"
    return Proposal(
        values,
        {"files": describe_counts(survey.counts, "files"), "images": survey.describe()},
        (
            Setting("prepare.size", str(size), f"the median side is {survey.side:g} pixels"),
            Setting("prepare.channels", str(channels), f"the sampled images are {colour}"),
            *settings,
        ),
        tuple(remarks),
    ), size


def describe_groups(root: Path, pattern: str) -> str:
    """Return how many groups a pattern finds in the paths of the files below `root`, and some of them.

    Raises:
        UserError: it is no regular expression with a group, or does not match each path.
    """
    try:
        expression = re.compile(pattern)
    except (re.error, OverflowError, RecursionError) as error:
        raise UserError(f"--groups: given {pattern!r}; no regular expression ({error})") from None
    if not expression.groups:
        raise UserError(
            f"--groups: given {pattern!r}; must contain a group in parentheses, which names what must not "
            "be in two splits"
        )
    names = [file.relative_to(root).as_posix() for file, _ in class_files(root, str(root))]
    matches = [expression.search(name) for name in names]
    for name, match in zip(names, matches, strict=True):
        if not (match and match[1]):
            count = sum(1 for match in matches if not (match and match[1]))
            raise UserError(
                f"--groups: given {pattern!r}; {count} of {len(names)} files have no group, such as {name}"
            )
    groups = sorted({match[1] for match in matches if match})
    return f"{len(groups)} groups, such as {', '.join(groups[:_LISTED_GROUPS])}"


def preparing_seconds(root: Path, count: int, size: int, channels: int) -> float:
    """Return the estimated time of preparing the `count` images below `root`, from reading some of them.

    Args:
        root: a folder with image files at any depth.
        count: of all files.
        size: pixels a side.
        channels: 1 or 3.
    """
    from stages.datasets.images.files import read_image_file

    files = [*islice((file for file in root.rglob("*") if file.is_file()), _TIMED_FILES)]
    start = time.perf_counter()
    for file in files:
        with suppress(ValueError):  # no image
            read_image_file(file, size, channels, _MAX_PIXELS)
    seconds = (time.perf_counter() - start) / max(1, len(files))
    return count * (seconds + _COMPARING_SECONDS)


def write_noise_images(
    folder: Path, training: int, validation: int, *, size: int, channels: int, classes: int
) -> None:
    """Write images of noise, as the stage prepare writes images.

    Args:
        folder: of the stage prepare.
        training: number of training images.
        validation: number of validation images.
        size: pixels a side.
        channels: 1 or 3.
        classes: how many.
    """
    import numpy as np

    shape = (channels, size, size)
    names = [f"class {number}" for number in range(classes)]
    write_dataset(folder, names, training, validation, shape=list(shape))
    images = np.random.default_rng(0).integers(0, 256, (training + validation, *shape), np.uint8)
    np.save(folder / "images.npy", images, allow_pickle=False)
