"""The files of evidence of a text classifier."""

from pathlib import Path
from typing import TYPE_CHECKING

from stages.report.artifacts import CLASSIFICATION, Artifact

if TYPE_CHECKING:
    from stages.core.task import Task
    from stages.datasets.dataset import Dataset

_TEXT_ARTIFACTS = (
    Artifact("flow", "check", "flow.csv", "transformer_flow.csv"),
    Artifact("buckets", "evaluate", "buckets.csv", "error_buckets.csv", ("bucket",)),
    Artifact("word_weights", "failures", "words.json", "driving_words.json"),
)


def artifacts(task: "Task") -> tuple[Artifact, ...]:  # noqa: ARG001 (the same for every task)
    """Return the files that the stages of `task` write and its pack holds."""
    return (*CLASSIFICATION, *_TEXT_ARTIFACTS)


def picture_arrays(task: "Task", dataset: "Dataset") -> dict[Path, dict[str, tuple[int, ...]]]:  # noqa: ARG001
    """Return the arrays that the pack draws and git does not hold: none."""
    return {}
