"""The sources of images, by the value of `prepare.source`.

A source yields one image after another, so a large data set is never in memory as a whole. To add a
source, write a function `Task -> ImageSource`, list it here and add its name to `PrepareImages`.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

from stages.datasets.images.digits import digits_source
from stages.datasets.images.folder import folder_source
from stages.datasets.images.sample import ImageSource
from stages.datasets.images.stripes import stripes_source
from stages.datasets.images.torchvision_sets import torchvision_source

if TYPE_CHECKING:
    from stages.core.task import Task

SOURCES: dict[str, Callable[["Task"], ImageSource]] = {
    "digits": digits_source,
    "folder": folder_source,
    "stripes": stripes_source,
    "torchvision": torchvision_source,
}


def open_source(task: "Task") -> ImageSource:
    """Return the source that `prepare.source` names.

    Raises:
        UserError: it is missing, is empty, or cannot be downloaded.
    """
    return SOURCES[task.params.prepare.source](task)
