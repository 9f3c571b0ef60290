"""Baseline: simple methods first; the strongest on validation data is the one to beat."""

from stages.core.task import Task
from stages.kinds.entry import run_stage


def run(task: Task) -> None:
    """Write the fitted baselines and their predictions, of each fold."""
    from stages.core.files import write_all

    fits = [task.module("baseline").fit(fold) for fold in task.folds()]
    for fold, fitted in zip(task.folds(), fits, strict=True):
        write_all(fold.folder("baseline"), fitted.files())
    if len(fits) > 1:
        from stages.evaluation.folds import pool_baselines

        write_all(task.folder("baseline"), pool_baselines(fits))


if __name__ == "__main__":
    run_stage("baseline", run)
