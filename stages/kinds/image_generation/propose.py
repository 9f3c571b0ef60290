"""Propose the params of a task for a folder of images."""

from dataclasses import replace
from pathlib import Path

from stages.kinds.image_proposal import image_proposal
from stages.kinds.proposal import DataOptions, Proposal, Setting

LARGEST = 32  # pixels a side; the time of a sample grows with the square


def propose(path: Path, name: str, options: DataOptions) -> Proposal:
    """Return the params of a task for the images in the folder `path`.

    Raises:
        UserError: it is not a folder of images with a sub-folder for each class.
    """
    proposal = image_proposal(path, name, LARGEST, options).proposal
    steps = Setting("train.checkpoint_steps", "100 to 500", "each is reviewed, and one selected")
    return replace(proposal, settings=(*proposal.settings, steps))
