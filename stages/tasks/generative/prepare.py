"""Prepare images for the generator: each split holds its share of every writer and class."""

from pathlib import Path
from typing import TYPE_CHECKING

from stages.shared.images.preparing import prepare_images

if TYPE_CHECKING:
    from stages.shared.preparing import Prepared
    from stages.shared.task import Task


def prepare(task: "Task", folder: Path) -> "Prepared":
    """Pack the source's images, split them within writer and class, and describe the result.

    The question is whether samples follow the distribution of the data, writers included; a split
    that holds out whole writers would ask for writers that no sample could know.
    """
    return prepare_images(task.name, task.params.prepare, folder, within=True)
