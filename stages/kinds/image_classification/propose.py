"""Propose the params of a task for a folder of images."""

from pathlib import Path

from stages.datasets.images.survey import survey_images
from stages.kinds.image_proposal import image_proposal
from stages.kinds.proposal import Proposal, training_length, yaml_list

LARGEST = 64  # pixels a side; larger images train for long on a CPU
_GROUPS = "if several images show the same subject, keep it out of two splits with"
_TRAINING_SHARE = 0.55  # what the template's split leaves to train on
_DEEPER_FROM = 28  # pixels a side from which a third residual block is added


def propose(path: Path, name: str) -> Proposal:
    """Return the params of a task for the images in the folder `path`.

    Raises:
        UserError: it is not a folder of images with a sub-folder for each class.
    """
    survey = survey_images(path, str(path))
    proposal, size = image_proposal(survey, name, LARGEST)
    batch_size, epochs = training_length(
        int(_TRAINING_SHARE * sum(survey.counts.values())), (64, 32, 16), 300, (16, 60)
    )
    channels = ["16", "32", "64"] if size >= _DEEPER_FROM else ["16", "32"]
    return Proposal(
        {
            **proposal.values,
            "channels": yaml_list(channels, 8),
            "batch_size": str(batch_size),
            "epochs": str(epochs),
        },
        proposal.data,
        {
            **proposal.settings,
            "train.model": f"residual, channels {', '.join(channels)}",
            "train.epochs": f"{epochs}, batches of {batch_size}, three seeds",
        },
        (f"{_GROUPS} tasks.{name}.prepare.group_pattern", *proposal.remarks),
    )
