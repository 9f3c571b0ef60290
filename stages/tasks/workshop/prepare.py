"""Prepare stripes: draw them from their seed, pack them, split them."""

from pathlib import Path
from typing import TYPE_CHECKING

from stages.shared.images.preparing import prepare_source
from stages.tasks.workshop.stripes import drawn

if TYPE_CHECKING:
    from stages.shared.preparing import Prepared
    from stages.shared.task import Task


def prepare(task: "Task", folder: Path) -> "Prepared":
    """Draw the images, pack them, split them at random within each class, and describe the result."""
    params = task.params.prepare
    return prepare_source(task.name, params, drawn(params), folder)
