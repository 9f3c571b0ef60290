"""Compare two runs of a task by the Fréchet distance to validation images."""

from typing import TYPE_CHECKING

import numpy as np

from stages.core.files import read_json
from stages.evaluation.experiments import ExperimentResult

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from stages.core.task import Task

# These change the samples, and not how they are measured.
COMPARABLE = ("evaluate.guidance", "evaluate.solver_steps")
RESULTS = "metrics.json"


def compare(before: "Path", after: "Path", task: "Task") -> ExperimentResult:
    """Return the comparison of two evaluations.

    Args:
        before: the metrics.json before the change.
        after: the metrics.json after it.
        task: with the params before the change.

    Raises:
        UserError: a file is missing or damaged.
    """
    old, new = (read_json(path)["selection"]["frechet_validation"] for path in (before, after))
    return compare_distances(old, new, task.params.evaluate.confidence)


def compare_distances(
    before: "Mapping[str, float]", after: "Mapping[str, float]", confidence: float
) -> ExperimentResult:
    """Return the verdict of Welch's t test over sampling seeds.

    The test is not paired: samples from the same noise differ so evenly that another training seed
    alone would count as a change.

    Args:
        before: the selected checkpoint's distance by sampling seed.
        after: the same after the change.
        confidence: of the verdict.
    """
    from scipy.stats import ttest_ind

    old, new = (np.array(list(distances.values())) for distances in (before, after))
    verdict, p = "not distinguishable", None
    if min(len(old), len(new)) > 1:
        equal = np.array_equal(old, new)
        p = 1.0 if equal else float(ttest_ind(old, new, equal_var=False).pvalue)
        if p < 1 - confidence:
            verdict = "better" if new.mean() < old.mean() else "worse"
    return ExperimentResult(_description(old), _description(new), verdict, p)


def _description(distances: np.ndarray) -> str:
    return (
        f"Fréchet distance {distances.mean():.3f} ({distances.min():.3f} to {distances.max():.3f} over "
        f"{len(distances)} seeds)"
    )
