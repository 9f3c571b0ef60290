"""Prepare images for the generator: each split holds its share of every group and class."""

from pathlib import Path
from typing import TYPE_CHECKING

from stages.datasets.images.preparing import prepare_images

if TYPE_CHECKING:
    from stages.core.task import Task
    from stages.datasets.preparing import PreparedData


def prepare(task: "Task", folder: Path) -> "PreparedData":
    """Pack the source's images, split them within group and class, and describe the result.

    Samples are measured against the distribution of the data, groups included (writers, for the digits);
    a split that held out whole groups would measure whether the model generates groups it never saw.
    """
    return prepare_images(task, folder, stratified=True)
