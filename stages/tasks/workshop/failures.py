"""Failure cases of the tiny CNN, and the one change that they ask for first."""

from typing import TYPE_CHECKING

from stages.shared.cases import AMONG, BETWEEN, DRAWN, UNLIKE, Cases, Change, failing
from stages.shared.dataset import read_dataset

if TYPE_CHECKING:
    from stages.shared.schema import TrainStripes
    from stages.shared.task import Task


def failures(task: "Task") -> Cases:
    """Return the failure cases, some successes, and the next step."""
    dataset = read_dataset(task.folder("prepare"))
    return failing(task, dataset, changes(task.params.train))


def changes(params: "TrainStripes") -> dict[str, Change]:
    """Return for a cause the param to change, its new value, and what that should do."""
    wider: Change = (
        "channels",
        [2 * width for width in params.channels],
        "more filters can tell apart directions whose samples lie side by side in the features",
    )
    longer: Change = (
        "epochs",
        2 * params.epochs,
        "more steps let the filters settle on what tells the directions apart",
    )
    return {BETWEEN: wider, DRAWN: wider, UNLIKE: longer, AMONG: longer}
