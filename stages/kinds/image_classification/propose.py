"""Propose the params of a task for a folder of images.

The networks, their training and the figures below were chosen on validation data (docs/log.md, 2026-11-26).
"""

from dataclasses import replace
from functools import partial
from pathlib import Path

from stages.datasets.images.symmetry import suits_mirroring
from stages.kinds.image_proposal import (
    image_proposal,
    layout_choice,
    preparing_seconds,
    write_noise_images,
)
from stages.kinds.plans import Plan, SplitSizes
from stages.kinds.proposal import (
    DataOptions,
    Ladder,
    Proposal,
    Setting,
    common_settings,
    yaml_list,
)
from stages.kinds.split_proposal import propose_split

LARGEST = 128  # pixels a side; larger images train for long on a CPU
_GROUPS = "if several images show the same subject, keep it out of two splits with"
_REGRESSIONS = 0.01  # evaluate.assumed_regressions of the template
_BASELINE_SECONDS = 4e-7  # for each value of each training image: 60 s for 50,000 images of 32x32x3

_METHODS = ("most_frequent_class", "nearest_prototype", "logistic_regression")
_FROZEN_SIDE, _FROZEN_SAMPLES = 64, 10_000  # pixels, at least; training images, at most
# Of a pixel: ResNet-18 multiplies and adds 1.8e9 times for 224 x 224 of them, at 40e9 a second.
_FROZEN_SECONDS = 1.8e9 / 224**2 / 40e9
_MAX_FROZEN_SECONDS = 60.0

_WIDTHS = (16, 32, 64, 128)  # of the levels
_LAST_SIDE = 3  # pixels of the last level, at least
_STEMS = ((96, 4), (48, 2), (0, 1))  # from so many pixels a side, the stride of the stem
_LARGE_DATA = (
    20_000  # training images, from which they are reduced in size at first, and wider networks pay
)
_BATCH_SIZES = ((20_000, 256), (8_000, 128), (1_000, 64), (200, 32), (0, 16))
_RATE = 0.4 / 256  # learning rate for each image of a batch
_DECAY, _MAX_DECAY = 5e-4, 5e-3  # weight decay for many images, and for few
_FULL = 45_000  # training images, from which epochs and weight decay stay the same
_EPOCHS, _MAX_EPOCHS = 20, 100  # for as many, and at most
_GROWTH = 0.38  # exponent by which the epochs grow as the images become fewer
_REDUCED_SHARE, _REDUCED_SIDE = 0.6, 0.75  # of the epochs, and of the side


def plans(size: int, sizes: SplitSizes) -> list[Plan]:
    """Return the plans for images of `size` pixels a side, from the largest network to the smallest."""
    count = sizes.train
    stem = next(stride for least, stride in _STEMS if size >= least)
    levels = 1
    while levels < len(_WIDTHS) and size // stem // 2**levels >= _LAST_SIDE:
        levels += 1
    batch_size = next(batch for least, batch in _BATCH_SIZES if count >= least)
    fewer = max(1.0, _FULL / count)
    epochs = min(_MAX_EPOCHS, round(_EPOCHS * fewer**_GROWTH))
    share = _REDUCED_SHARE if count >= _LARGE_DATA and _reduced(size) else 0.0
    values = {
        "blocks": yaml_list(["0"] + ["1"] * (levels - 1), 8),
        "stem_stride": str(stem),
        "batch_size": str(batch_size),
        "learning_rate": f"{_RATE * batch_size:g}",
        "weight_decay": f"{min(_MAX_DECAY, _DECAY * fewer):.2g}",
        "low_resolution": _low_resolution(share, _reduced(size)),
    }
    relative_cost = 1 - share * (1 - (_reduced(size) / size) ** 2)
    # A wider network needs the time for its epochs: with less of it, a narrow one ends higher.
    factors = ((2, 1.0), (1, 0.3), (0.5, 0.0)) if count >= _LARGE_DATA else ((1, 0.3), (0.5, 0.0))
    return [
        Plan(
            f"residual, channels {', '.join(channels)}, batches of {batch_size}",
            {**values, "channels": yaml_list(channels, 8)},
            epochs,
            min_epochs=max(1, round(least * epochs)),
            relative_cost=relative_cost,
        )
        for factor, least in factors
        for channels in [[str(int(factor * width)) for width in _WIDTHS[:levels]]]
    ]


def _reduced(size: int) -> int:
    """Return the side of the smaller images with which training begins; 0 where they are small already."""
    side = 4 * round(_REDUCED_SIDE * size / 4)
    return side if side >= 20 else 0  # noqa: PLR2004 (smaller images lose what they show)


def _low_resolution(share: float, size: int) -> str:
    """Return the section `train.low_resolution` as what follows its colon."""
    return f"\n        share: {share:g}\n        size: {size}" if share else "null"


def frozen_features(size: int, sizes: SplitSizes) -> tuple[int, float]:
    """Return the side to which images are brought for a frozen ResNet-18, and the seconds that it takes.

    It is proposed where ImageNet's weights lie in torch's cache and it takes at most a minute; otherwise
    both are 0.

    Args:
        size: pixels a side of the images.
        sizes: of the splits.
    """
    from stages.kinds.image_classification.model import imagenet_file

    side = max(size, _FROZEN_SIDE)
    count = sizes.folds * (min(sizes.train, _FROZEN_SAMPLES) + sizes.validation) + sizes.test
    seconds = count * side**2 * _FROZEN_SECONDS
    if seconds > _MAX_FROZEN_SECONDS or not imagenet_file("resnet18").exists():
        return 0, 0.0
    return side, seconds


def baseline_seconds(training: int, channels: int, size: int) -> float:
    """Return the estimated time of fitting the baselines, which see block means of large images.

    Args:
        training: number of training images.
        channels: 1 or 3.
        size: pixels a side of the images.
    """
    from stages.kinds.image_classification.baseline import SIDE

    return _BASELINE_SECONDS * training * channels * min(size, SIDE) ** 2


def _frozen_section(side: int) -> str:
    """Return the section `baseline.frozen_features` as what follows its colon."""
    if not side:
        return "null"
    settings = {
        "model": "resnet18",
        "initial_weights": "imagenet",
        "size": str(side),
        "max_iterations": "300",
        "max_samples": str(_FROZEN_SAMPLES),
        "regularisation": "\n" + yaml_list(["0.001", "0.01", "0.1", "1.0"], 10),
    }
    return "".join(f"\n        {key}: {value}" for key, value in settings.items())


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
    split = propose_split(count, official, images.groups)
    sizes = split.sizes
    values, settings = common_settings(survey.counts, sizes, _REGRESSIONS)
    hinted = options.groups or images.proposal.group_hint or survey.labels
    remarks = () if hinted else (f"{_GROUPS} tasks.{name}.prepare.group_pattern",)
    baselines = sizes.folds * baseline_seconds(sizes.train, channels, size)
    frozen_size, frozen_seconds = frozen_features(size, sizes)
    flip = suits_mirroring(path, layout_choice(path, survey))
    look = "look the same" if flip else "do not look the same"
    return replace(
        images.proposal,
        values={
            **images.proposal.values,
            **values,
            "split_section": split.section,
            "flip": str(flip).lower(),
            "methods": yaml_list([*_METHODS, *(["frozen_features"] if frozen_size else [])], 8),
            "frozen_features": _frozen_section(frozen_size),
        },
        settings=(
            *images.proposal.settings,
            split.setting,
            *settings,
            Setting("train.augment.flip", str(flip).lower(), f"the classes {look} in a mirror"),
        ),
        remarks=(*remarks, *images.proposal.remarks, *split.remarks),
        ladder=Ladder(
            plans(size, sizes),
            sizes,
            partial(write_noise_images, size=size, channels=channels, classes=len(survey.counts)),
            preparing_seconds(path, count, size, channels) + baselines + frozen_seconds,
        ),
    )
