"""Propose the params of a task for a folder of images."""

from functools import partial
from pathlib import Path

from stages.datasets.images.survey import survey_images
from stages.kinds.image_proposal import image_proposal, preparing_seconds, write_noise_images
from stages.kinds.plans import Plan, SplitSizes
from stages.kinds.proposal import (
    DataOptions,
    Ladder,
    Proposal,
    common_settings,
    split_shares,
    split_sizes,
    training_length,
    yaml_list,
)

LARGEST = 64  # pixels a side; larger images train for long on a CPU
_GROUPS = "if several images show the same subject, keep it out of two splits with"
_REGRESSIONS = 0.01  # evaluate.assumed_regressions of the template
_DEEPER_FROM = 28  # pixels a side from which a third residual block is added
_BASELINE_SECONDS = 4e-7  # for each value of each training image: 60 s for 50,000 images of 32x32x3


def plans(size: int, sizes: SplitSizes) -> list[Plan]:
    """Return the plans for images of `size` pixels a side, from the largest network to the smallest."""
    batch_size, epochs = training_length(sizes.train, (64, 32, 16), 300, (16, 60))
    ladder = [["16", "32"]]
    if size >= _DEEPER_FROM:
        ladder.insert(0, ["16", "32", "64"])
    return [
        Plan(
            f"residual, channels {', '.join(channels)}, batches of {batch_size}",
            {"channels": yaml_list(channels, 8), "batch_size": str(batch_size)},
            epochs,
            min_epochs=epochs // 4,
        )
        for channels in ladder
    ]


def propose(path: Path, name: str, options: DataOptions) -> Proposal:
    """Return the params of a task for the images in the folder `path`.

    Raises:
        UserError: it is not a folder of images with a sub-folder for each class.
    """
    survey = survey_images(path, str(path))
    proposal, size = image_proposal(survey, path, name, LARGEST, options)
    count, channels = sum(survey.counts.values()), int(proposal.values["colours"])
    sizes = split_sizes(count, split_shares(count), {})
    values, settings = common_settings(survey.counts, sizes, _REGRESSIONS)
    baseline_seconds = _BASELINE_SECONDS * sizes.train * channels * size**2
    groups = () if options.groups else (f"{_GROUPS} tasks.{name}.prepare.group_pattern",)
    return Proposal(
        {**proposal.values, **values},
        proposal.data,
        (*proposal.settings, *settings),
        (*groups, *proposal.remarks),
        Ladder(
            plans(size, sizes),
            sizes,
            partial(write_noise_images, size=size, channels=channels, classes=len(survey.counts)),
            preparing_seconds(path, count, size, channels) + baseline_seconds,
        ),
    )
