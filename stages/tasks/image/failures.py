"""Failure cases of the image classifier, and the one change that they ask for first."""

from typing import TYPE_CHECKING

from stages.shared.cases import BETWEEN, DRAWN, UNLIKE, Cases, Change, failing, smoothing
from stages.shared.dataset import read_dataset

if TYPE_CHECKING:
    from stages.shared.schema import TrainImages
    from stages.shared.task import Task


def failures(task: "Task") -> Cases:
    """Return the failure cases, some successes, and the next step."""
    dataset = read_dataset(task.folder("prepare"))
    return failing(task, dataset, changes(task.params.train))


def changes(params: "TrainImages") -> dict[str, Change]:
    """Return for a cause the param to change, its new value, and what that should do."""
    given = params.augment
    found: dict[str, Change] = {
        UNLIKE: (
            "augment.rotate",
            min(180.0, round(given.rotate * 1.5, 3) or 10.0),
            "wider changes of the training images reach further towards samples unlike any of them",
        ),
        DRAWN: (
            "augment.shear",
            min(1.0, round(given.shear * 2, 3) or 0.1),
            "other slants of the training images keep a slant from deciding the class",
        ),
        **smoothing(params),
    }
    if params.model == "residual" and params.start_from is None:
        found[BETWEEN] = (
            "channels",
            [2 * width for width in params.channels],
            "a wider network can tell apart classes whose samples lie side by side in its features",
        )
    return found
