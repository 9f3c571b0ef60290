"""Prepare images for the classifier: whoever wrote in one split wrote in no other."""

from pathlib import Path
from typing import TYPE_CHECKING

from stages.shared.images.preparing import prepare_images

if TYPE_CHECKING:
    from stages.shared.preparing import Prepared
    from stages.shared.task import Task


def prepare(task: "Task", folder: Path) -> "Prepared":
    """Pack the source's images, split them by group, and describe the result."""
    return prepare_images(task.name, task.params.prepare, folder)
