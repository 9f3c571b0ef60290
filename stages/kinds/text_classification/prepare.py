"""Prepare texts for classification: no group is in two splits."""

from pathlib import Path
from typing import TYPE_CHECKING

from stages.datasets.texts.preparing import prepare_texts

if TYPE_CHECKING:
    from stages.core.task import Task
    from stages.datasets.preparing import PreparedData


def prepare(task: "Task", folder: Path) -> "PreparedData":
    """Pack the file's texts, split them by group, and describe the result."""
    return prepare_texts(task, folder)
