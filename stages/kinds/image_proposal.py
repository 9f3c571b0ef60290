"""The proposed params of the stage prepare for images, shared by the kinds that use them."""

import re
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from stages.core.errors import UserError
from stages.core.schema import Labels
from stages.datasets.images.layouts import LayoutChoice
from stages.datasets.images.path_groups import match_paths
from stages.datasets.images.survey import ImageSurvey, survey_images
from stages.kinds.probe import write_dataset
from stages.kinds.proposal import (
    MIN_SAMPLES,
    NO_GROUPS,
    DataOptions,
    GroupHint,
    Proposal,
    Setting,
    describe_counts,
    min_per_class,
    yaml_scalar,
)

SIZES = (8, 16, 28, 32, 64, 96, 128)
_LISTED_GROUPS = 3
_TIMED_FILES = 20
_LAYOUTS = {
    "classes": "a sub-folder for each class",
    "splits": "folders of training and held-out data, each with a sub-folder for each class",
    "table": "a table names the files and their classes",
}
_COMPARING_SECONDS = 5e-4  # of one image: packing it, looking for its near duplicates


@dataclass(frozen=True)
class ImageProposal:
    """The proposed params of the stage prepare, and what further proposals need.

    Attributes:
        proposal: of the stage prepare.
        survey: of the images.
        groups: files of each (group, class), without official test data; empty where no groups are known.
        size: pixels a side.
        channels: 1 or 3.
    """

    proposal: Proposal
    survey: ImageSurvey
    groups: Counter[tuple[str, str]]
    size: int
    channels: int


def image_proposal(path: Path, name: str, largest: int, options: DataOptions) -> ImageProposal:
    """Return the params of the stage prepare that every kind for images needs.

    The size is the one of `SIZES`, up to `largest`, that is nearest to the median side.

    Args:
        path: the folder of the images.
        name: of the task.
        largest: pixels a side, at most.
        options: of the command line.

    Raises:
        UserError: it is no folder of images, its layout is ambiguous, a class has too few images to
            split, or `options.groups` does not fit the paths.
    """
    survey = survey_images(path, str(path), options.layout)
    _require_class_sizes(survey)
    size = min(
        (size for size in SIZES if size <= largest), key=lambda size: abs(size - survey.side)
    )
    channels = 1 if survey.grey else 3
    remarks = list(survey.remarks)
    if survey.side > largest:
        remarks.append(
            f"images are reduced from {survey.side:g} to {size} pixels a side; a larger "
            f"tasks.{name}.prepare.size keeps more detail and takes longer"
        )
    pattern = None if options.groups == NO_GROUPS else options.groups
    group_of, hint = _groups_of_files(survey, options.groups)
    values = {
        "layout": survey.layout,
        "labels": _labels_section(survey.labels),
        "size": str(size),
        "colours": str(channels),
        "min_per_class": str(min_per_class(survey.counts)),
        "groups": yaml_scalar(pattern) if pattern else "null",
    }
    colour = "grey" if survey.grey else "colour"
    proposal = Proposal(
        values,
        {"files": describe_counts(survey.counts, "files"), "images": survey.describe()},
        (
            Setting("prepare.layout", survey.layout, _LAYOUTS[survey.layout]),
            Setting("prepare.size", str(size), f"the median side is {survey.side:g} pixels"),
            Setting("prepare.channels", str(channels), f"the sampled images are {colour}"),
            *(
                [Setting("prepare.group_pattern", pattern, describe_groups(group_of))]
                if pattern
                else []
            ),
        ),
        tuple(remarks),
        group_hint=hint,
    )
    groups = Counter(
        (group, file.label)
        for file, group in zip(survey.files, group_of, strict=True)
        if group and file.split != "test"
    )
    return ImageProposal(proposal, survey, groups, size, channels)


def _groups_of_files(survey: ImageSurvey, option: str | None) -> tuple[list[str], GroupHint | None]:
    """Return the group of each file, "" for none, and the groups that names suggest.

    Args:
        survey: of the files.
        option: `--groups`; names are asked only without it.
    """
    paths = [file.path for file in survey.files]
    if option not in {None, NO_GROUPS}:
        return find_groups(paths, str(option)), None
    hint = None
    if survey.group_hint and option is None:
        suggested = find_groups(paths, survey.group_hint, partial=True)
        hint = GroupHint(survey.group_hint, describe_groups(suggested))
    return [file.group for file in survey.files], hint


def _require_class_sizes(survey: ImageSurvey) -> None:
    for label, count in survey.counts.items():
        if count < MIN_SAMPLES:
            raise UserError(
                f"class {label!r} has {count} images; at least {MIN_SAMPLES} are needed, one for each "
                "split: add some, or remove its folder"
            )


def _labels_section(labels: dict[str, str] | None) -> str:
    """Return the section `prepare.labels` as what follows its colon."""
    if labels is None:
        return "null"
    return "".join(f"\n        {key}: {yaml_scalar(value)}" for key, value in labels.items())


def find_groups(paths: Sequence[str], pattern: str, *, partial: bool = False) -> list[str]:
    """Return the group that a pattern finds in the path of each image; "" where it finds none.

    Args:
        paths: of the images.
        pattern: a regular expression.
        partial: whether images without a group are allowed.

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
    matches = match_paths(pattern, paths, "--groups")
    groups = [match[1] or "" if match else "" for match in matches]
    unmatched = [path for path, group in zip(paths, groups, strict=True) if not group]
    if unmatched and not partial:
        raise UserError(
            f"--groups: given {pattern!r}; {len(unmatched)} of {len(paths)} files have no group, such as "
            f"{unmatched[0]}"
        )
    return groups


def describe_groups(group_of: Sequence[str]) -> str:
    """Return how many groups there are, and some of them.

    Args:
        group_of: the group of each image; "" for none.
    """
    groups = sorted({*group_of} - {""})
    unmatched = group_of.count("")
    rest = f"; {unmatched} files have none" if unmatched else ""
    return f"{len(groups)} groups, such as {', '.join(groups[:_LISTED_GROUPS])}{rest}"


def layout_choice(root: Path, survey: ImageSurvey) -> LayoutChoice:
    """Return the layout that a survey has detected, for reading the folder again."""
    labels = Labels.model_validate(survey.labels) if survey.labels else None
    return LayoutChoice(str(root), "--layout", "prepare.labels", survey.layout, labels)


def preparing_seconds(root: Path, count: int, size: int, channels: int) -> float:
    """Return the estimated time of preparing the `count` images below `root`, from reading some of them.

    Args:
        root: a folder with image files at any depth.
        count: of all files.
        size: pixels a side.
        channels: 1 or 3.
    """
    from stages.datasets.images.files import SURVEY_PIXELS, read_image_file

    files = [*islice((file for file in root.rglob("*") if file.is_file()), _TIMED_FILES)]
    start = time.perf_counter()
    for file in files:
        with suppress(ValueError):  # no image
            read_image_file(file, size, channels, SURVEY_PIXELS)
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
