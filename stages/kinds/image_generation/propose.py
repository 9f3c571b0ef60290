"""Propose the params of a task for a folder of images."""

from pathlib import Path

from stages.datasets.images.survey import survey_images
from stages.kinds.image_proposal import image_proposal
from stages.kinds.proposal import DataOptions, Proposal, Setting

LARGEST = 32  # pixels a side; the time of a sample grows with the square


def propose(path: Path, name: str, options: DataOptions) -> Proposal:
    """Return the params of a task for the images in the folder `path`.

    Raises:
        UserError: it is not a folder of images with a sub-folder for each class.
    """
    survey = survey_images(path, str(path))
    proposal, _ = image_proposal(survey, path, name, LARGEST, options)
    steps = Setting("train.checkpoint_steps", "100 to 500", "each is reviewed, and one selected")
    return Proposal(proposal.values, proposal.data, (*proposal.settings, steps), proposal.remarks)
