"""Recompute an image classifier's evaluation from its pack."""

from typing import TYPE_CHECKING

from stages.evaluation.comparison import compute_metrics
from stages.report.recompute import Recomputation, recompute_classifier

if TYPE_CHECKING:
    from stages.core.task import Task
    from stages.datasets.dataset import Dataset


def recompute(task: "Task", dataset: "Dataset") -> Recomputation:
    """Return the evaluation, computed again from the predictions in the pack.

    Raises:
        UserError: a file is missing or damaged, or predictions are of other samples.
    """
    return recompute_classifier(task, dataset, compute_metrics)
