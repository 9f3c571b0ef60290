"""Propose the params of a task for a folder of images."""

from pathlib import Path

from stages.datasets.images.survey import survey_images
from stages.kinds.image_proposal import image_proposal
from stages.kinds.proposal import Proposal

LARGEST = 32  # pixels a side; the time of a sample grows with the square


def propose(path: Path, name: str) -> Proposal:
    """Return the params of a task for the images in the folder `path`.

    Raises:
        UserError: it is not a folder of images with a sub-folder for each class.
    """
    proposal, _ = image_proposal(survey_images(path, str(path)), name, LARGEST)
    settings = {
        **proposal.settings,
        "train.checkpoint_steps": "100 to 500, reviewed one by one",
    }
    return Proposal(proposal.values, proposal.data, settings, proposal.remarks)
