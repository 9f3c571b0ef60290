"""Propose the params of a task for a folder of images."""

from dataclasses import replace
from functools import partial
from pathlib import Path

from stages.kinds.image_proposal import image_proposal, preparing_seconds, write_noise_images
from stages.kinds.plans import Plan, SplitSizes
from stages.kinds.proposal import (
    DataOptions,
    Ladder,
    Proposal,
    common_settings,
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
        UserError: it is no folder of images in a known layout, a class has too few, or the options do
            not fit.
    """
    images = image_proposal(path, name, LARGEST, options)
    survey, size, channels = images.survey, images.size, images.channels
    official = {split: sum(counts.values()) for split, counts in survey.split_counts.items()}
    held_out = sum(official.get(split, 0) for split in ("validation", "test"))
    count = sum(survey.counts.values()) + held_out
    sizes = split_sizes(count, official)
    values, settings = common_settings(survey.counts, sizes, official, _REGRESSIONS)
    hinted = options.groups or images.proposal.group_hint or survey.labels
    remarks = () if hinted else (f"{_GROUPS} tasks.{name}.prepare.group_pattern",)
    baselines = _BASELINE_SECONDS * sizes.train * channels * size**2
    return replace(
        images.proposal,
        values={**images.proposal.values, **values},
        settings=(*images.proposal.settings, *settings),
        remarks=(*remarks, *images.proposal.remarks),
        ladder=Ladder(
            plans(size, sizes),
            sizes,
            partial(write_noise_images, size=size, channels=channels, classes=len(survey.counts)),
            preparing_seconds(path, count, size, channels) + baselines,
        ),
    )
