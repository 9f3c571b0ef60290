"""The proposed params of the stage prepare for images, shared by the kinds that use them."""

from stages.core.errors import UserError
from stages.datasets.images.survey import ImageSurvey
from stages.kinds.proposal import MIN_SAMPLES, Proposal, describe_counts, min_per_class

SIZES = (8, 16, 28, 32, 64, 96, 128)


def image_proposal(survey: ImageSurvey, name: str, largest: int) -> tuple[Proposal, int]:
    """Return the params of the stage prepare, and the size of an image among them.

    The size is the one of `SIZES`, up to `largest`, that is nearest to the median side.

    Raises:
        UserError: a class has too few images to split.
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
    }
    colour = "grey" if survey.grey else "colour"
    return Proposal(
        values,
        {"files": describe_counts(survey.counts, "files"), "images": survey.describe()},
        {"prepare.size": str(size), "prepare.channels": f"{channels} ({colour})"},
        tuple(remarks),
    ), size
