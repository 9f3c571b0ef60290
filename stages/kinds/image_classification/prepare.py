"""Prepare images for classification: no group is in two splits."""

from pathlib import Path
from typing import TYPE_CHECKING

from stages.datasets.images.preparing import prepare_images

if TYPE_CHECKING:
    from stages.core.task import Task
    from stages.datasets.preparing import PreparedData


def prepare(task: "Task", folder: Path) -> "PreparedData":
    """Pack the source's images, split them by group, and describe the result."""
    return prepare_images(task, folder)
