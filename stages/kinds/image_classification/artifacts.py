"""The files of evidence of an image classifier."""

from pathlib import Path
from typing import TYPE_CHECKING

from stages.report.artifacts import CLASSIFICATION, Artifact

if TYPE_CHECKING:
    from stages.core.task import Task
    from stages.datasets.dataset import Dataset

AUGMENTATION = "augmentation.safetensors"
AUGMENTED_IMAGES = 8  # images before and after augmentation, at most
_BASELINE_LOG = Artifact("baseline_log", "baseline", "log.csv", "baseline_log.csv")


def artifacts(task: "Task") -> tuple[Artifact, ...]:
    """Return the files that the stages of `task` write and its pack holds."""
    trained = "flatten_linear" in task.params.baseline.methods
    return (*CLASSIFICATION, *((_BASELINE_LOG,) if trained else ()))


def picture_arrays(task: "Task", dataset: "Dataset") -> dict[Path, dict[str, tuple[int, ...]]]:
    """Return the arrays that the pack draws and git does not hold: file -> name -> shape."""
    if task.params.train.augment is None:
        return {}
    count = min(AUGMENTED_IMAGES, task.params.check.batch_size, dataset.note["counts"]["train"])
    shape = (count, *dataset.note["shape"])
    return {task.folder("check") / AUGMENTATION: {"before": shape, "after": shape}}
