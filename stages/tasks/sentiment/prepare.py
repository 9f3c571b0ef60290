"""Prepare texts for the classifier: a contrast pair is in one split."""

from pathlib import Path
from typing import TYPE_CHECKING

from stages.shared.texts.preparing import prepare_texts

if TYPE_CHECKING:
    from stages.shared.preparing import Prepared
    from stages.shared.task import Task


def prepare(task: "Task", folder: Path) -> "Prepared":
    """Pack the file's texts, split them by group, and describe the result."""
    return prepare_texts(task.name, task.params.prepare, folder)
